"""Decide whether a difference in score between two engines is a tie or a bug.

Post-processing makes discrete decisions: whether a box's IoU with the pasted box reaches the
threshold, whether a box suppresses another, and whether it is among the best that are kept. If such
a decision depends on the last bits of float32 (a tie), two exact engines can decide differently, and
so can one engine with another batch size or thread count.
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
"""An IoU with the pasted box this close to the threshold is a tie."""

BATCHES, THREADS = (1, 2, 3, 8), (1, 2)
"""Batch sizes and thread counts that the full engine is run with."""

_TRIALS = 16


@dataclass(frozen=True)
class Query:
    """How the object's score at a position is read and compared.

    Attributes:
        label: Index of the class to look for.
        iou_thr: Smallest IoU with the pasted box for a detection to count.
        tolerance: Largest difference between scores that are considered equal.
    """

    label: int
    iou_thr: float
    tolerance: float = 1e-4

    def scores(self, detections: list[InstanceData], targets: np.ndarray) -> np.ndarray:
        """The best score at each target box, (N,) float32."""
        return match_each(detections, self.label, targets, self.iou_thr).scores


def on_the_threshold(
    detections: Sequence[InstanceData], target: np.ndarray, query: Query
) -> float | None:
    """Find a tie at the IoU threshold that explains a difference in score.

    Args:
        detections: The two engines' detections at one position.
        target: (4,) the pasted box, (x1, y1, x2, y2) pixels.
        query: How scores are read.

    Returns:
        The IoU, within :data:`IOU_MARGIN` of the threshold, of a detection that makes both scores
        equal if it is counted, or not counted, for both engines. None if there is none.
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
    """Checks whether the full engine's own score at a position is unstable.

    Args:
        full: The full engine.
        query: How scores are read.
    """

    def __init__(self, full: FullEngine, query: Query) -> None:
        self.full = full
        self.query = query

    def flips(self, position: np.ndarray) -> str | None:
        """Look for a batch size or thread count that changes the full engine's score.

        Args:
            position: (2,) int (row, col).

        Returns:
            A description of the change, or None if the score does not change.
        """
        scores = {
            f'batch {batch}, {threads} thread{"s"[: threads - 1]}': score
            for batch, threads, score in self._variants(position)
        }
        first, wanted = next(iter(scores.items()))
        for variant, score in scores.items():
            if abs(score - wanted) > self.query.tolerance:
                return f'full engine: {wanted:.6f} with {first}, {score:.6f} with {variant}'
        return None

    def flips_by_rounding(self, position: np.ndarray) -> str | None:
        """Look for noise at the level of the full engine's own rounding that changes its score.

        The noise level of each dense-head output is the largest difference that another batch size
        or thread count makes to it. Noise of this size is added to the outputs before
        post-processing.

        Args:
            position: (2,) int (row, col).

        Returns:
            A description of the change, or None if the score does not change.
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
    """Look for evidence that a difference between two engines' scores is a tie.

    Args:
        position: (2,) int (row, col).
        detections: The two engines' detections there.
        witness: Runs the full engine.

    Returns:
        A description of the evidence, or None if there is none.
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
    """Call ``take`` with the dense head's outputs of the first image, at each forward pass."""

    def hook(module: nn.Module, args: Any, output: Any) -> None:
        take([level[:1].clone() for level in tree_flatten(output)[0]])

    handle = dense_head(model).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def _noise(model: nn.Module, sizes: Sequence[float], seed: int) -> Iterator[None]:
    """Add uniform noise to the dense head's outputs; ``sizes`` has the amplitude of each output."""
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
