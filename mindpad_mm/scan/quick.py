"""Quick scans: few photos, positions close together near borders and far apart inside."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from mindpad_mm.scan.score_map import ScoreMap
from mindpad_mm.scan.statistics import MapStatistics, map_statistics

T = TypeVar('T')
QUICK_PHOTOS = 3
NEAR_BORDER = 32
# Times the stride: between positions near borders, and inside.
_NEAR, _INSIDE = 2, 8
# The statistics that tell how large a share of the photo something is, or a mean over it.
_OF_THE_AREA = (
    'mean', 'percentiles', 'blind_fraction', 'zero_fraction', 'flagged_fraction', 'grid_phase'
)  # fmt: skip


def inside_stride(stride: int, quick: bool) -> int:
    """Pixels between positions that are more than 32 px from every border."""
    return _INSIDE * stride if quick else stride


def thinned(lines: np.ndarray, quick: bool) -> np.ndarray:
    """Of rows or columns of positions, those that a quick scan keeps: every second within 32 px of the
    first and the last, every eighth elsewhere.

    Args:
        lines: (N,) pixels, ascending, a stride apart.
        quick: False keeps all.
    """
    if not quick:
        return lines
    index = np.arange(len(lines))
    near = (lines - lines[0] <= NEAR_BORDER) | (lines[-1] - lines <= NEAR_BORDER)
    return lines[(index % _INSIDE == 0) | (near & (index % _NEAR == 0))]


def spread(items: Sequence[T], quick: bool) -> list[T]:
    """Of a list of photos, those that a quick scan takes: at most three, evenly spread."""
    if not quick or len(items) <= QUICK_PHOTOS:
        return list(items)
    return [items[round(at)] for at in np.linspace(0, len(items) - 1, QUICK_PHOTOS)]


def even_map(score_map: ScoreMap, stride: int) -> ScoreMap:
    """A map at its rows and columns that are multiples of a stride from its first ones.

    Args:
        score_map: The map; may be denser near borders.
        stride: Pixels between the positions inside.
    """
    rows, cols = ((lines - lines[0]) % stride == 0 for lines in (score_map.rows, score_map.cols))
    scores = score_map.scores[np.ix_(rows, cols)]
    return dataclasses.replace(
        score_map, scores=scores, rows=score_map.rows[rows], cols=score_map.cols[cols]
    )


def uneven_statistics(
    score_map: ScoreMap, periods: Sequence[Sequence[float]], stride: int
) -> MapStatistics:
    """Statistics of a map that may be denser near borders, see :func:`map_statistics`.

    Means and shares, and the pattern of the detector's grid, are those of :func:`even_map`: else borders
    would count more than the rest. A map whose neighbours are unevenly spaced has no flicker.

    Args:
        score_map: The map.
        periods: Candidate periods of the grid's pattern, (vertical, horizontal) pixels of the scene.
        stride: Pixels between the positions inside.
    """
    even = even_map(score_map, stride)
    if even.scores.shape == score_map.scores.shape or np.isnan(even.scores).all():
        return map_statistics(score_map, periods)
    # Without periods: the pattern is looked for at evenly spaced positions only.
    every, area = map_statistics(score_map), map_statistics(even, periods)
    chosen: Any = {name: area[name] for name in _OF_THE_AREA}  # type: ignore[literal-required]
    merged: Any = {**every, 'flicker': None, **chosen}
    return merged
