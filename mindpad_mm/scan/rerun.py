"""Run the blind places of a scan again, for the causes of :mod:`mindpad_mm.scan.causes`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import get_rank, get_world_size
from torch import nn

from mindpad_mm.core.callable_detector import CallableDetector
from mindpad_mm.core.detector import all_boxes
from mindpad_mm.core.journal import Journal
from mindpad_mm.core.processes import gathered
from mindpad_mm.core.progress import ProgressBar
from mindpad_mm.core.scenes import detect_images
from mindpad_mm.scan.arrays import ScanArrays
from mindpad_mm.scan.causes import Causes, blind_limit, classify
from mindpad_mm.scan.chunks import ScanTask
from mindpad_mm.scan.engines.full import FullEngine
from mindpad_mm.scan.positions import position_boxes
from mindpad_mm.scan.statistics import ScanStatistics

# Places that are run and saved together. Few, because all boxes of an image are kept.
_BATCH = 4


@dataclass(frozen=True)
class BlindPlaces:
    """Blind places of one map that are run together.

    ``index`` is that of the map, ``cells`` (N, 2) their row and column in the arrays, ``positions``
    (N, 2) those in pixels, ``limit`` the score below which places are blind.
    """

    index: tuple[int, ...]
    cells: np.ndarray
    positions: np.ndarray
    limit: float


def blind_places(arrays: ScanArrays, statistics: ScanStatistics) -> list[BlindPlaces]:
    """All blind places of a scan; flagged positions are none.

    Args:
        arrays: The scan's arrays.
        statistics: The scan's statistics.
    """
    found = []
    for number, index in enumerate(np.ndindex(*arrays.scores.shape[:3])):
        limit = blind_limit(statistics['maps'][number])
        cells = np.argwhere((arrays.scores[index] < limit) & ~arrays.flags[index])
        positions = np.stack([arrays.rows[cells[:, 0]], arrays.cols[cells[:, 1]]], -1)
        for start in range(0, len(cells), _BATCH):
            part = slice(start, start + _BATCH)
            found.append(BlindPlaces(index, cells[part], positions[part], limit))
    return found


def find_causes(
    model: nn.Module,
    task: ScanTask,
    places: list[BlindPlaces] | None,
    shape: tuple[int, ...],
    out: Path | None = None,
    fingerprint: dict[str, Any] | None = None,
) -> Causes | None:
    """Run each blind place again on the full engine, as it is and with all boxes.

    Args:
        model: The detector, in evaluation mode.
        task: What was scanned.
        places: On rank 0: the blind places.
        shape: Of the scan's scores; used on rank 0.
        out: The scan's folder with the journal. Default: no journal.
        fingerprint: Of the scan.

    Returns:
        The causes; None on all processes but that of rank 0.
    """
    shared = gathered(places)[0]
    assert shared is not None
    journal = None if out is None else Journal(out, fingerprint or {})
    numbers = range(get_rank(), len(shared), get_world_size())
    own: dict[int, np.ndarray] = {}
    with ProgressBar(disable=get_rank() > 0) as bar:
        for number in bar.track(numbers, description='causes'):
            name, wanted = f'causes-{number}', (len(shared[number].cells), 3)
            kept = None if journal is None else journal.read_array(name, wanted)
            if kept is None:
                kept = _run(model, task, shared[number])
                if journal is not None:
                    journal.write_array(name, kept)
            own[number] = kept
    results = {number: each for found in gathered(own) for number, each in found.items()}
    if get_rank() > 0:
        return None
    causes = np.zeros(shape, np.uint8)
    raw_scores, ious = (np.full(shape, np.nan, np.float32) for _ in range(2))
    for number, values in results.items():
        index, (rows, cols) = shared[number].index, shared[number].cells.T
        causes[index][rows, cols], raw_scores[index][rows, cols], ious[index][rows, cols] = values.T
    return Causes(causes, raw_scores, ious)


def _run(model: nn.Module, task: ScanTask, places: BlindPlaces) -> np.ndarray:
    """(N, 3) float32: cause, raw score and raw IoU of each place."""
    background, obj, size = places.index
    scene, pixels = task.scenes[background], task.pasted[obj][size]
    engine = FullEngine(model, scene, pixels, _BATCH)
    final = engine.detect(places.positions)
    (clean,) = detect_images(model, scene, [scene.pixels])
    raw = None
    if not isinstance(model, CallableDetector):
        with all_boxes(model):
            raw = engine.detect(places.positions)
    targets = position_boxes(places.positions, pixels.shape[:2])
    found = classify(final, raw, clean, task.label, targets, places.limit, task.settings.iou_thr)
    return np.column_stack(found).astype(np.float32)
