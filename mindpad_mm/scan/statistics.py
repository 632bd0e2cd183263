"""Statistics of confidence maps that describe a detector's blind spots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from typing_extensions import NotRequired

from mindpad_mm.core.intervals import t_interval, unit_interval
from mindpad_mm.scan.bystanders import BystanderStatistics
from mindpad_mm.scan.causes import CauseCounts
from mindpad_mm.scan.edges import BorderProfile, EdgeDrop, border_profile, edge_drop
from mindpad_mm.scan.phase import GridPhase, PhaseSummary, estimate_phase
from mindpad_mm.scan.rounding import nanmean, rounded
from mindpad_mm.scan.score_map import SIDES, ScoreMap

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)


class WorstPosition(TypedDict):
    """The position of the lowest score: top-left pixel of the object."""

    row: int
    col: int
    score: float


class Strip(TypedDict):
    """A row or column of positions.

    ``position`` is its pixel row or column, ``mean`` its mean score, ``side`` the nearest of the two
    sides of the photo that it is parallel to, and ``distance`` the pixels between object and side.
    ``equal`` is the number of rows or columns with that mean, itself included: where the object is found
    nowhere, many share a mean of 0, and the first is named.
    """

    position: int
    mean: float
    side: str
    distance: int
    equal: int


class Flicker(TypedDict):
    """See :func:`flicker`."""

    max: float
    mean: float
    between: list[list[int]]


class LossStatistics(TypedDict):
    """See :func:`mindpad_mm.scan.loss.loss_statistics`."""

    near_px: int
    border: float | None
    interior: float | None
    top: float | None
    bottom: float | None
    left: float | None
    right: float | None
    corners: float | None


class MapStatistics(TypedDict):
    """Statistics of one map, see :func:`map_statistics`."""

    positions: int
    flagged_fraction: float
    mean: NotRequired[float]
    min: NotRequired[float]
    percentiles: NotRequired[dict[str, float]]
    blind_fraction: NotRequired[float]
    blind_below: NotRequired[float]
    zero_fraction: NotRequired[float]
    worst: NotRequired[WorstPosition]
    worst_row: NotRequired[Strip]
    worst_col: NotRequired[Strip]
    grid_phase: NotRequired[PhaseSummary | None]
    edge_drop: NotRequired[EdgeDrop]
    flicker: NotRequired[Flicker | None]
    border_profiles: NotRequired[dict[str, BorderProfile]]


class ScanMapStatistics(MapStatistics):
    """Statistics of one map of a scan, with its indices of background and object, and its size.

    ``loss`` is only there for windows of photos, ``causes`` only if the scan looked for them,
    ``bystanders`` only if it watched them.
    """

    background: int
    object: int
    size: int
    loss: NotRequired[LossStatistics]
    causes: NotRequired[CauseCounts]
    bystanders: NotRequired[BystanderStatistics]


class BackgroundMean(TypedDict):
    """Mean of a statistic over backgrounds.

    ``interval`` is its confidence interval ``[low, high]``, None with fewer than two ``backgrounds``
    or if all of them have the same value in 0..1.
    """

    mean: float
    interval: list[float] | None
    backgrounds: int


class ScanStatistics(TypedDict):
    """Statistics of every map, and their means over backgrounds by name (``'flicker.max'``)."""

    overall: dict[str, BackgroundMean]
    maps: list[ScanMapStatistics]


def map_statistics(score_map: ScoreMap, periods: Sequence[Sequence[float]] = ()) -> MapStatistics:
    """All statistics of one map, as JSON types.

    Args:
        score_map: The map.
        periods: Candidate periods of the grid's pattern, (vertical, horizontal) pixels of the scene: the
            strides of the detector.

    Returns:
        - ``positions``: number of positions.
        - ``flagged_fraction``: share of flagged positions. If all are, nothing else is returned.
        - ``mean``, ``min``, ``percentiles``: of the scores.
        - ``blind_fraction``: share of positions that score below ``blind_below``: half the mean score of
          the best tenth of the positions. 1 if the object is found nowhere.
        - ``zero_fraction``: share of positions without a matching detection.
        - ``worst``: position of the lowest score.
        - ``worst_row`` and ``worst_col``: row and column of positions with the lowest mean score.
        - ``grid_phase``: pattern of the detector's grid, see :meth:`GridPhase.summary`. None if no
          period can be examined or the object is found nowhere, see :func:`estimate_phase`.
        - ``edge_drop``: see :func:`edge_drop`.
        - ``flicker``: see :func:`flicker`.
        - ``border_profiles``: by side, see :func:`border_profile`.
    """
    scores = score_map.scores
    valid = scores[~np.isnan(scores)]
    flagged_fraction = rounded(1 - valid.size / scores.size)
    if not valid.size:
        return {'positions': scores.size, 'flagged_fraction': flagged_fraction}
    blind_below = best_tenth(valid) / 2
    phase = map_phase(score_map, periods)
    return {
        'positions': scores.size,
        'flagged_fraction': flagged_fraction,
        'mean': rounded(valid.mean()),
        'min': rounded(valid.min()),
        'percentiles': {str(p): rounded(np.percentile(valid, p)) for p in PERCENTILES},
        'blind_fraction': rounded((valid < blind_below).mean()) if blind_below > 0 else 1.0,
        'blind_below': rounded(blind_below),
        'zero_fraction': rounded((valid == 0).mean()),
        'worst': _worst_position(score_map),
        'worst_row': _worst_strip(score_map, axis=0),
        'worst_col': _worst_strip(score_map, axis=1),
        'grid_phase': phase.summary() if phase else None,
        'edge_drop': edge_drop(score_map, phase),
        'flicker': flicker(score_map),
        'border_profiles': {side: border_profile(score_map, side) for side in SIDES},
    }


def best_tenth(scores: np.ndarray) -> float:
    """Mean of the highest tenth of scores (N,), at least one: what the detector can do in this scene."""
    count = max(len(scores) // 10, 1)
    return float(np.sort(scores)[-count:].mean())


def flicker(score_map: ScoreMap) -> Flicker | None:
    """Absolute change of the score between neighbouring positions of the map.

    Returns:
        ``max`` and ``mean`` of the changes, and ``between``, the two positions (row, col) of the
        largest. None if there are no two neighbours that are not flagged.
    """
    changes = [np.abs(np.diff(score_map.scores, axis=axis)) for axis in (0, 1)]
    known = np.concatenate([change[~np.isnan(change)] for change in changes])
    if not known.size:
        return None
    axis = int(np.argmax([np.nanmax(c) if (~np.isnan(c)).any() else -1 for c in changes]))
    first = np.unravel_index(np.nanargmax(changes[axis]), changes[axis].shape)
    second = (first[0] + (axis == 0), first[1] + (axis == 1))
    between = [[int(score_map.rows[r]), int(score_map.cols[c])] for r, c in (first, second)]
    return {'max': rounded(known.max()), 'mean': rounded(known.mean()), 'between': between}


def over_backgrounds(
    maps: Sequence[ScanMapStatistics], confidence: float = 0.95
) -> dict[str, BackgroundMean]:
    """Means of the statistics over backgrounds, of each size its own, with intervals.

    The maps of one background and size are averaged first: they share a scene, so they are not
    independent. Sizes are not pooled: a small object is harder everywhere.

    Intervals of statistics in 0..1 stay in 0..1, see :func:`mindpad_mm.core.intervals.unit_interval`;
    for the others see :func:`difference_interval`.

    Args:
        maps: Statistics of the maps.
        confidence: Confidence level in 0..1. Default: 0.95.

    Returns:
        By name of the statistic, nested names joined by a dot, e.g. ``'edge_drop.top'``; with several
        sizes as :func:`sized_name` names them. A statistic that is undefined in all maps is missing.
    """
    sizes = sizes_of(maps)
    flat = [(each['background'], _flat(each, sizes)) for each in maps]

    def interval(name: str, values: np.ndarray) -> list[float] | None:
        return (unit_interval if is_unit(name) else difference_interval)(values, confidence)

    return _summary(flat, interval)


def is_unit(name: str) -> bool:
    """Whether a statistic of that name is in 0..1. The others are differences of scores."""
    return not name.startswith(_DIFFERENCES)


def sizes_of(maps: Sequence[ScanMapStatistics]) -> list[int]:
    """The sizes that occur, ascending."""
    return sorted({each['size'] for each in maps})


def sized_name(name: str, size: int, sizes: Sequence[int]) -> str:
    """The name of a statistic in the summary of a scan, e.g. ``'mean at 24 px'``.

    Args:
        name: Name of the statistic.
        size: Size of the object, pixels.
        sizes: All sizes of the scan. With a single one the name stays as it is.
    """
    return name if len(sizes) == 1 else f'{name} at {size} px'


def paired_over_backgrounds(
    first: Sequence[ScanMapStatistics],
    other: Sequence[ScanMapStatistics],
    confidence: float = 0.95,
) -> dict[str, BackgroundMean]:
    """Means of the differences ``other - first`` over backgrounds, see :func:`over_backgrounds`.

    Differences are taken map by map before they are averaged. So it does not widen the intervals that
    some scenes are harder than others for both scans. Maps in which a statistic is undefined in either
    scan are left out for this statistic.

    Args:
        first, other: Statistics of the same maps in two scans, in the same order.
        confidence: Confidence level in 0..1. Default: 0.95.
    """
    pairs, sizes = [], sizes_of(first)
    for one, two in zip(first, other):
        before, after = _flat(one, sizes), _flat(two, sizes)
        common = {name: after[name] - before[name] for name in before if name in after}
        pairs.append((one['background'], common))

    def interval(name: str, values: np.ndarray) -> list[float] | None:
        return difference_interval(values, confidence)

    return _summary(pairs, interval)


def difference_interval(values: np.ndarray, confidence: float = 0.95) -> list[float] | None:
    """Student's t interval of the mean of differences between statistics (N,), cut to -1..1."""
    interval = t_interval(values, confidence)
    return interval and [min(max(end, -1.0), 1.0) for end in interval]


def _summary(
    maps: Sequence[tuple[int, dict[str, float]]],
    interval: Callable[[str, np.ndarray], list[float] | None],
) -> dict[str, BackgroundMean]:
    """Means and intervals of (background, statistics by name) of every map."""
    values: dict[str, dict[int, list[float]]] = {}
    for background, statistics in maps:
        for name, value in statistics.items():
            values.setdefault(name, {}).setdefault(background, []).append(value)
    summary: dict[str, BackgroundMean] = {}
    for name, by_background in values.items():
        means = np.array([np.mean(each) for each in by_background.values()])
        summary[name] = {
            'mean': rounded(means.mean()),
            'interval': interval(name, means),
            'backgrounds': len(means),
        }
    return summary


# The statistics that are averaged over backgrounds, by the key of the dict that they are in.
_AVERAGED = {
    '': ('mean', 'min', 'blind_fraction', 'zero_fraction', 'flagged_fraction'),
    'percentiles': ('50',),
    'worst_row': ('mean',),
    'worst_col': ('mean',),
    'grid_phase': ('share', 'amplitude'),
    'edge_drop': SIDES,
    'flicker': ('max', 'mean'),
    'loss': ('border', 'interior', *SIDES, 'corners'),
}
# Beginnings of the names of those that are differences of scores.
_DIFFERENCES = ('edge_drop', 'loss')


def _flat(statistics: Mapping[str, Any], sizes: Sequence[int]) -> dict[str, float]:
    """The defined statistics of a map that are averaged, by name."""
    flat = {}
    for group, names in _AVERAGED.items():
        values = (statistics.get(group) or {}) if group else statistics
        for name in names:
            if values.get(name) is not None:
                whole = f'{group}.{name}' if group else name
                flat[sized_name(whole, statistics['size'], sizes)] = values[name]
    return flat


def map_phase(score_map: ScoreMap, periods: Sequence[Sequence[float]]) -> GridPhase | None:
    """Pattern of the detector's grid in a map, see :func:`estimate_phase`."""
    return estimate_phase(score_map.scores, score_map.rows, score_map.cols, periods)


def _worst_position(score_map: ScoreMap) -> WorstPosition:
    row, col = np.unravel_index(np.nanargmin(score_map.scores), score_map.scores.shape)
    return {
        'row': int(score_map.rows[row]),
        'col': int(score_map.cols[col]),
        'score': rounded(score_map.scores[row, col]),
    }


def _worst_strip(score_map: ScoreMap, axis: int) -> Strip:
    """The row (axis 0) or column (axis 1) of positions with the lowest mean score."""
    across = 1 - axis
    known = (~np.isnan(score_map.scores)).sum(across)
    means = nanmean(score_map.scores, across)
    # If most positions of a strip are flagged, its mean may be the lowest by chance.
    means[known * 2 < np.median(known[known > 0])] = np.nan
    index = int(np.nanargmin(means))
    sides = SIDES[:2] if axis == 0 else SIDES[2:]
    side = min(sides, key=lambda s: score_map.distance(s)[index])
    return {
        'position': int((score_map.rows, score_map.cols)[axis][index]),
        'mean': rounded(means[index]),
        'side': side,
        'distance': int(score_map.distance(side)[index]),
        'equal': int((means <= means[index] + 1e-9).sum()),
    }
