"""Compare the incremental engine with the full engine at every position of a scan."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from benchmarks.ties import Query, Witness, explain
from mindpad_mm.core.names import ModeSpec
from mindpad_mm.core.objects import ScanObject
from mindpad_mm.core.scenes import paste
from mindpad_mm.core.tables import Table
from mindpad_mm.incremental.windowed import WindowedTensor
from mindpad_mm.padding import swap_padding
from mindpad_mm.padding.modes import describe, get_modes
from mindpad_mm.scan.engines import FullEngine, IncrementalEngine
from mindpad_mm.scan.positions import axis_positions, position_boxes
from mindpad_mm.testing.detectors import (
    FAMILIES,
    dense_head,
    family_detector,
    family_label,
    random_object,
)

MODES: tuple[ModeSpec, ...] = (
    'zeros',
    'reflect',
    'symmetric',
    'replicate',
    'circular',
    'partial',
    ('reflect', 'circular'),
)
# Family -> (input size, None for the family's own; stride of the scan), pixels.
SCANS = {
    'SSD300': (None, 32),
    'SSD512': (None, 80),
    'SSDLite': (None, 20),
    'RetinaNet': (256, 32),
    'FCOS': (256, 32),
    'ATSS': (256, 32),
    'YOLOX': (256, 24),
    'YOLOv3': (256, 24),
    'Faster R-CNN': (256, 40),
    'zoo zeros': (None, 12),
    'zoo reflect': (None, 12),
}
# High enough that an object keeps its score even if many other detections score higher.
_MAX_PER_IMG = 1000
# By whether the detector is trained. Random weights rarely give a box with a high IoU.
_IOU_THR = {True: 0.5, False: 0.1}
_CHUNK = 64
# Of the difference of head outputs, relative.
_LIMIT = 1e-4
_BATCH = 8


@dataclass(frozen=True)
class Difference:
    """A position where the two engines' scores differ.

    Attributes:
        row: Row of the object's top-left pixel.
        col: Column of the object's top-left pixel.
        full: Score of the full engine, 0 to 1.
        incremental: Score of the incremental engine, 0 to 1.
        tie: Evidence that rounding decides a tie here; None if there is none.
    """

    row: int
    col: int
    full: float
    incremental: float
    tie: str | None


@dataclass
class Agreement:
    """Result of one scan with both engines.

    Attributes:
        family: A key of :data:`SCANS`.
        mode: Padding mode.
        positions: Number of positions compared.
        found: Number of these positions where the full engine finds the object.
        head: Largest difference between dense-head outputs, relative to the largest value of the
            same output.
        rounding: The full engine's own difference from a pass in float64, likewise, at eight of the
            positions. It is measured where ``head`` is above 1e-4.
        score: Largest difference in score, ties excluded.
        differences: The positions whose scores differ by more than 1e-4.
        notes: The incremental engine's notes.
        seconds: Wall time of both engines together.
    """

    family: str
    mode: str
    positions: int
    found: int = 0
    head: float = 0.0
    rounding: float = 0.0
    score: float = 0.0
    differences: list[Difference] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def unexplained(self) -> list[Difference]:
        """Differences without evidence of a tie."""
        return [difference for difference in self.differences if difference.tie is None]

    @property
    def holds(self) -> bool:
        """Whether head outputs and, ties excluded, scores agree to 1e-4.

        Head outputs may differ by more if whole passes in float32 are that far from float64.
        """
        return self.head <= max(_LIMIT, self.rounding) and not self.unexplained

    def to_json(self) -> dict[str, Any]:
        """All fields and ``holds`` as JSON types."""
        return {**asdict(self), 'holds': self.holds}


def bordered_positions(
    scene_size: tuple[int, int], box_size: tuple[int, int], stride: int
) -> np.ndarray:
    """A scan's positions, (N, 2) int64, extended to the last row and column of the scene."""
    rows, cols = (
        np.union1d(axis_positions(extent, box, stride), extent - box)
        for extent, box in zip(scene_size, box_size)
    )
    return np.stack(np.meshgrid(rows, cols, indexing='ij'), -1).reshape(-1, 2)


def compare_family(
    family: str, modes: Sequence[ModeSpec] = MODES, stride: int | None = None
) -> Iterator[Agreement]:
    """Scan with both engines in each padding mode.

    Args:
        family: A key of :data:`SCANS`.
        modes: Padding modes. The zoo's checkpoints also run in modes they were not trained in.
        stride: Pixels between positions. The last row and column are always included. Default: the
            family's in :data:`SCANS`.

    Yields:
        The result of each mode.
    """
    size, default_stride = SCANS[family]
    model, scene = family_detector(family, size, _MAX_PER_IMG)
    trained = FAMILIES[family].trained
    pixels = ScanObject.drawn(0).resized(32) if trained else random_object()
    query = Query(family_label(family), _IOU_THR[trained])
    positions = bordered_positions(scene.size, pixels.shape[:2], stride or default_stride)
    for mode in modes:
        swap_padding(model, mode)
        arguments = model, scene, pixels, _BATCH, query.label, query.iou_thr
        full, incremental = FullEngine(*arguments), IncrementalEngine(*arguments)
        yield compare_engines(family, mode, full, incremental, query, positions)


def compare_engines(
    family: str,
    mode: ModeSpec,
    full: FullEngine,
    incremental: IncrementalEngine,
    query: Query,
    positions: np.ndarray,
) -> Agreement:
    """Run two engines at the same positions and compare their outputs."""
    begin = time.perf_counter()
    agreement = Agreement(family, describe(get_modes(mode)), len(positions))
    positions = positions[incremental.order(positions)]
    incremental.detect(positions[:1])  # records the operation graph
    for start in range(0, len(positions), _CHUNK):
        part = positions[start : start + _CHUNK]
        # The engine may order a chunk differently from the whole scan.
        part = part[incremental.order(part)]
        with head_outputs(full.model) as expected:
            wanted = full.detect(part)
        with head_outputs(incremental.model) as outputs:
            found = incremental.detect(part)
        agreement.head = max(agreement.head, _relative(expected, outputs))
        _compare_scores(agreement, part, [wanted, found], Witness(full, query))
        full.batch_size = _BATCH
    if agreement.head > _LIMIT:
        agreement.rounding = own_rounding(full, positions[:_BATCH])
    agreement.notes = incremental.notes()
    agreement.seconds = round(time.perf_counter() - begin, 1)
    return agreement


def own_rounding(full: FullEngine, positions: np.ndarray) -> float:
    """The largest relative difference of the full engine's head outputs from those in float64."""
    with head_outputs(full.model) as single:
        full.detect(positions)
    model: Any = copy.deepcopy(full.model).double()
    scene = full.scene
    images = [paste(scene.pixels, full.pixels, row, col) for row, col in positions]
    with head_outputs(model) as double, torch.no_grad():
        inputs = model.data_preprocessor(scene.pack(images), False)['inputs'].double()
        dense_head(model)(model.extract_feat(inputs))
    return _relative(double, single)


def _compare_scores(
    agreement: Agreement, part: np.ndarray, outcomes: list[list[InstanceData]], witness: Witness
) -> None:
    targets = position_boxes(part, witness.full.pixels.shape[:2])
    wanted, found = (witness.query.scores(outcome, targets) for outcome in outcomes)
    agreement.found += int((wanted > 0).sum())
    apart = np.abs(wanted - found)
    differing = apart > witness.query.tolerance
    agreement.score = max(agreement.score, float(apart[~differing].max(initial=0)))
    for index in np.flatnonzero(differing):
        tie = explain(part[index], [outcome[index] for outcome in outcomes], witness)
        row, col = map(int, part[index])
        scores = float(wanted[index]), float(found[index])
        agreement.differences.append(Difference(row, col, *scores, tie))
        if tie is None:
            agreement.score = max(agreement.score, float(apart[index]))


@contextlib.contextmanager
def head_outputs(model: nn.Module) -> Iterator[list[list[Tensor]]]:
    """Collect the dense head's outputs of each forward pass, as lists of tensors."""
    collected: list[list[Tensor]] = []

    def collect(module: nn.Module, args: Any, output: Any) -> None:
        flat = tree_flatten(output)[0]
        collected.append(
            [(t.dense() if isinstance(t, WindowedTensor) else t).clone() for t in flat]
        )

    hook = dense_head(model).register_forward_hook(collect)
    try:
        yield collected
    finally:
        hook.remove()


def _relative(expected: list[list[Tensor]], outputs: list[list[Tensor]]) -> float:
    """The largest difference between outputs, relative to the largest value of the same output."""
    largest = 0.0
    for levels in zip(*([torch.cat(level) for level in zip(*c)] for c in (expected, outputs))):
        wanted, found = levels
        largest = max(largest, float((wanted - found).abs().max() / wanted.abs().max()))
    return largest


def agreement_table(agreements: Sequence[Agreement]) -> Table:
    """One row per scan."""
    columns = (
        'detector', 'padding', 'positions', 'found', 'head outputs, relative', 'scores', 'ties',
        'unexplained', 'MACs saved', 'on whole maps',
    )  # fmt: skip
    rows = []
    for each in agreements:
        notes = each.notes
        own = f' (own {each.rounding:.1e})' if each.rounding else ''
        whole = notes.get('full_engine_because') or ', '.join(notes['whole_maps'])
        rows.append([
            each.family, each.mode, str(each.positions), str(each.found), f'{each.head:.1e}{own}',
            f'{each.score:.1e}', str(len(each.differences) - len(each.unexplained)),
            str(len(each.unexplained)), f'{notes.get("macs_saved", 0):.0%}', whole,
        ])  # fmt: skip
    return Table(columns, rows)
