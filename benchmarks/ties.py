"""Why a score differs between two engines: a tie that rounding decides, or a fault.

Detection ends in yes-or-no questions: does this box overlap the pasted one enough, does that one
suppress it, is it among the best that are kept. Where an answer hangs on the last bits of float32,
two exact engines may answer differently, and so may one engine run twice in other ways.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map

from mindpad_mm.core.matching import match_each, paired_iou
from mindpad_mm.scan.engines import FullEngine
from mindpad_mm.scan.positions import position_boxes
from mindpad_mm.testing.detectors import dense_head

IOU_MARGIN = 1e-4
"""A box whose IoU with the pasted one is this close to the threshold may count or not."""

BATCHES, THREADS = (1, 2, 3, 8), (1, 2)
"""Other ways of running the full engine."""

_TRIALS = 16


@dataclass(frozen=True)
class Query:
    """What is asked of a position.

    Attributes:
        label: Index of the asked class.
        iou_thr: The IoU with the pasted box at which a detection counts.
        tolerance: Scores that differ by more than this differ.
    """

    label: int
    iou_thr: float
    tolerance: float = 1e-4

    def scores(self, detections: list[InstanceData], targets: np.ndarray) -> np.ndarray:
        """(N,) float32, the best score of each target box."""
        return match_each(detections, self.label, targets, self.iou_thr).scores


def on_the_threshold(
    detections: Sequence[InstanceData], target: np.ndarray, query: Query
) -> float | None:
    """The IoU with the pasted box that is a tie at the threshold and explains a difference.

    Args:
        detections: Two outcomes at one position.
        target: (4,) the pasted box.
        query: What is asked.

    Returns:
        An IoU within :data:`IOU_MARGIN` of the threshold whose detection, counted or not counted in
        both outcomes alike, makes their scores equal; None if there is none.
    """
    close = []
    scores = []
    for found in detections:
        wanted = found.labels == query.label
        overlaps = paired_iou(found.bboxes[wanted].float().cpu().numpy(), target)
        confidences = found.scores[wanted].float().cpu().numpy()
        near = np.abs(overlaps - query.iou_thr) <= IOU_MARGIN
        close += overlaps[near].tolist()
        scores.append([confidences[overlaps >= query.iou_thr + shift].max(initial=0)
                       for shift in (IOU_MARGIN, -IOU_MARGIN)])  # fmt: skip
    alike = np.abs(np.subtract(*scores)) <= query.tolerance
    return min(close, key=lambda iou: abs(iou - query.iou_thr)) if close and alike.any() else None


class Witness:
    """Runs the full engine at one position in other ways, and sees whether its own score flips.

    Args:
        full: The engine.
        query: What is asked.
    """

    def __init__(self, full: FullEngine, query: Query) -> None:
        self.full = full
        self.query = query

    def flips(self, position: np.ndarray) -> str | None:
        """Which way of running the full engine gives another score than batches of 1; None if none.

        Args:
            position: (2,) int (row, col).
        """
        scores = {
            f'batch {batch}, {threads} thread{"s"[: threads - 1]}': score
            for batch, threads, score in self._variants(position)
        }
        first, wanted = next(iter(scores.items()))
        for way, score in scores.items():
            if abs(score - wanted) > self.query.tolerance:
                return f'full engine: {wanted:.6f} with {first}, {score:.6f} with {way}'
        return None

    def flips_by_rounding(self, position: np.ndarray) -> str | None:
        """Whether changes no larger than the full engine's own rounding flip its score.

        The rounding is the largest difference that another batch size or thread count makes to an
        output of the dense head; noise of that size is added to the head's outputs, and the
        detector's own post-processing runs on.
        """
        outputs = []
        with _outputs(self.full.model, outputs.append):
            for _ in self._variants(position):
                pass
        rounding = [
            float(max((level - other).abs().max() for other in levels))
            for level, *levels in zip(*outputs)
        ]
        target = position_boxes(position[None], self.full.pixels.shape[:2])
        scores = set()
        for trial in range(_TRIALS):
            with _noise(self.full.model, rounding, trial):
                detections = self._detect(position, 1)
            scores.add(float(self.query.scores(detections, target)[0]))
        if max(scores) - min(scores) <= self.query.tolerance:
            return None
        largest = max(rounding)
        return (
            f'full engine: {min(scores):.6f} to {max(scores):.6f} where its head outputs change by '
            f'{largest:.1e}, as with another batch size or thread count'
        )

    def _variants(self, position: np.ndarray) -> Iterator[tuple[int, int, float]]:
        target = position_boxes(position[None], self.full.pixels.shape[:2])
        before = torch.get_num_threads()
        try:
            for threads in THREADS:
                torch.set_num_threads(threads)
                for batch in BATCHES:
                    detections = self._detect(position, batch)[:1]
                    yield batch, threads, float(self.query.scores(detections, target)[0])
        finally:
            torch.set_num_threads(before)

    def _detect(self, position: np.ndarray, batch: int) -> list[InstanceData]:
        self.full.batch_size = batch
        return self.full.detect(np.repeat(position[None], batch, 0))


def explain(
    position: np.ndarray,
    detections: Sequence[InstanceData],
    witness: Witness,
) -> str | None:
    """Show that a position where two engines' scores differ is a tie; None where it is not shown.

    Args:
        position: (2,) int (row, col).
        detections: The two engines' outcomes there.
        witness: For the full engine.
    """
    target = position_boxes(position[None], witness.full.pixels.shape[:2])[0]
    flips = witness.flips(position)
    if flips:
        return flips
    iou = on_the_threshold(detections, target, witness.query)
    if iou is not None:
        return f'IoU with the pasted box {iou:.6f}, threshold {witness.query.iou_thr:g}'
    return witness.flips_by_rounding(position)


@contextlib.contextmanager
def _outputs(model: nn.Module, take: Callable[[list[Tensor]], Any]) -> Iterator[None]:
    """Hand the first image's outputs of the dense head to ``take``, each forward pass."""

    def hook(module: nn.Module, args: Any, output: Any) -> None:
        take([level[:1].clone() for level in tree_flatten(output)[0]])

    handle = dense_head(model).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def _noise(model: nn.Module, sizes: Sequence[float], seed: int) -> Iterator[None]:
    """Add noise of a largest size each to the outputs of the dense head."""
    generator = torch.Generator().manual_seed(seed)

    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        left = iter(sizes)

        def shake(level: Tensor) -> Tensor:
            noise = torch.rand(level.shape, generator=generator) * 2 - 1
            return level + next(left) * noise.to(level)

        return tree_map(shake, output)

    handle = dense_head(model).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
