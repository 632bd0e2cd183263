"""Paired differences between two scans of the same objects in the same scenes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from mindpad_mm.core.errors import UserError
from mindpad_mm.scan.arrays import ScanArrays
from mindpad_mm.scan.result import ScanResult

_SAME_SETTINGS = ('label', 'sizes', 'stride', 'quick', 'space', 'iou_thr')


@dataclass(frozen=True)
class PairedDifference:
    """Mean difference of scores over the scenes.

    Attributes:
        mean: (object, size, row, col) float32 in -1..1. NaN if in every scene the position is flagged
            or the object does not fit.
        half: (object, size, row, col) float32, half the width of Student's t interval of the mean. NaN
            with fewer than two scenes.
    """

    mean: np.ndarray
    half: np.ndarray


def paired_difference(
    first: ScanArrays, other: ScanArrays, confidence: float = 0.95
) -> PairedDifference:
    """The difference ``other - first`` at every position, paired by scene.

    Args:
        first, other: Scans that :func:`check_paired` accepts.
        confidence: Confidence level of the interval at a single position, in 0..1. Default: 0.95. Over
            many positions, some intervals exclude 0 by chance.
    """
    change = np.where(first.flags | other.flags, np.nan, other.scores - first.scores)
    change = change.astype(np.float64)
    known = ~np.isnan(change)
    count = known.sum(0)
    mean = np.where(known, change, 0).sum(0) / np.where(count, count, np.nan)
    squares = np.where(known, (change - mean) ** 2, 0).sum(0)
    freedom = np.where(count > 1, count - 1, np.nan)
    error = np.sqrt(squares / freedom / count)
    half = stats.t.ppf((1 + confidence) / 2, freedom) * error
    return PairedDifference(mean.astype(np.float32), half.astype(np.float32))


def check_paired(first: ScanResult, other: ScanResult) -> None:
    """Check that two scans pasted the same objects at the same positions of the same scenes.

    Raises:
        UserError: Settings, scenes or objects differ.
    """
    for name in _SAME_SETTINGS:
        values = [getattr(scan.info, name) for scan in (first, other)]
        if values[0] != values[1]:
            raise UserError(
                f'{str(first.folder)!r} and {str(other.folder)!r} differ in {name} '
                f'({values[0]!r} and {values[1]!r}): compare scans with the same settings'
            )
    for what, ours, theirs in zip(('scenes', 'objects'), _pasted(first), _pasted(other)):
        if ours != theirs:
            raise UserError(
                f'{str(first.folder)!r} and {str(other.folder)!r} differ in their {what}: '
                f'compare scans of the same {what}'
            )


def _pasted(result: ScanResult) -> tuple[list[Any], list[Any]]:
    """Pixels of the scenes, and of the objects at each size."""
    objects, sizes = (range(length) for length in result.scores.shape[1:3])
    return (
        [result.scene_pixels(k).tolist() for k in range(len(result.scores))],
        [result.object_pixels(obj, size).tolist() for obj in objects for size in sizes],
    )
