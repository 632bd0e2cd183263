"""Statistics of confidence maps that describe a detector's blind spots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

import numpy as np

from mindpad_mm.core.intervals import t_interval
from mindpad_mm.scan.phase import GridPhase, PhaseSummary, estimate_phase

SIDES = ('top', 'bottom', 'left', 'right')
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
# The positions along an axis span the scene's length minus the object's. The outer eighth of this
# span at each end is near a border. The middle half is the interior: it is far from the borders, but
# still long enough for a pattern to repeat.
BORDER_SHARE = 1 / 8
INTERIOR_SHARE = 1 / 4


class WorstPosition(TypedDict):
    """The position of the lowest score: top-left pixel of the object."""

    row: int
    col: int
    score: float


class Strip(TypedDict):
    """A row or column of positions.

    ``position`` is its pixel row or column, ``mean`` its mean score, ``side`` the nearest of the two
    sides of the scene that it is parallel to, and ``distance`` the pixels between object and side.
    """

    position: int
    mean: float
    side: str
    distance: int


class BorderEffect(TypedDict):
    """See :func:`border_effect`."""

    top: float | None
    bottom: float | None
    left: float | None
    right: float | None
    corners: float | None
    border_px: list[float]


class Flicker(TypedDict):
    """See :func:`flicker`."""

    max: float
    mean: float
    between: list[list[int]]


class BorderProfile(TypedDict):
    """Mean ``score`` at each ``distance`` from a side, pixels; None if all positions are flagged."""

    distance: list[int]
    score: list[float | None]


class MapStatistics(TypedDict):
    """Statistics of one map, see :func:`map_statistics`."""

    positions: int
    flagged_fraction: float
    mean: NotRequired[float]
    min: NotRequired[float]
    percentiles: NotRequired[dict[str, float]]
    blind_fraction: NotRequired[float | None]
    zero_fraction: NotRequired[float]
    worst: NotRequired[WorstPosition]
    worst_row: NotRequired[Strip]
    worst_col: NotRequired[Strip]
    grid_phase: NotRequired[PhaseSummary | None]
    border_effect: NotRequired[BorderEffect | None]
    flicker: NotRequired[Flicker | None]
    border_profiles: NotRequired[dict[str, BorderProfile]]


class ScanMapStatistics(MapStatistics):
    """Statistics of one map of a scan, with its indices of background and object, and its size."""

    background: int
    object: int
    size: int


class BackgroundMean(TypedDict):
    """Mean of a statistic over backgrounds.

    ``interval`` is its confidence interval ``[low, high]``, None with fewer than two ``backgrounds``.
    """

    mean: float
    interval: list[float] | None
    backgrounds: int


class ScanStatistics(TypedDict):
    """Statistics of every map, and their means over backgrounds by name (``'flicker.max'``)."""

    overall: dict[str, BackgroundMean]
    maps: list[ScanMapStatistics]


@dataclass(frozen=True)
class ScoreMap:
    """Scores of one object at one size over one scene.

    Attributes:
        scores: (R, C) float64 in 0..1; NaN at flagged positions.
        rows: (R,) pixel rows of the object's top edge.
        cols: (C,) pixel columns of the object's left edge.
        box_size: (height, width) of the object, pixels.
        scene_size: (height, width) of the scene, pixels.
    """

    scores: np.ndarray
    rows: np.ndarray
    cols: np.ndarray
    box_size: tuple[int, int]
    scene_size: tuple[int, int]

    @property
    def span(self) -> tuple[int, int]:
        """Range of possible positions, (vertical, horizontal) pixels."""
        return self.scene_size[0] - self.box_size[0], self.scene_size[1] - self.box_size[1]

    def distance(self, side: str) -> np.ndarray:
        """Pixels between the object and a side of the scene.

        Args:
            side: One of :data:`SIDES`.

        Returns:
            (R,) for top and bottom, (C,) for left and right.
        """
        return {
            'top': self.rows,
            'bottom': self.span[0] - self.rows,
            'left': self.cols,
            'right': self.span[1] - self.cols,
        }[side]

    def interior(self) -> tuple[np.ndarray, np.ndarray]:
        """Masks (R,) of the rows and (C,) of the columns in the interior."""
        vertical = np.minimum(self.distance('top'), self.distance('bottom'))
        horizontal = np.minimum(self.distance('left'), self.distance('right'))
        return vertical >= self.span[0] * INTERIOR_SHARE, horizontal >= self.span[1] * (
            INTERIOR_SHARE
        )


def map_statistics(score_map: ScoreMap, periods: Sequence[int] = ()) -> MapStatistics:
    """All statistics of one map, as JSON types.

    Args:
        score_map: The map.
        periods: Candidate periods of the grid's pattern, pixels of the scene: the strides of the
            detector.

    Returns:
        - ``positions``: number of positions.
        - ``flagged_fraction``: share of flagged positions. If all are, nothing else is returned.
        - ``mean``, ``min``, ``percentiles``: of the scores.
        - ``blind_fraction``: share of positions that score below half the median. None if the median
          is 0: then the detector misses the object at most positions.
        - ``zero_fraction``: share of positions without a matching detection.
        - ``worst``: position of the lowest score.
        - ``worst_row`` and ``worst_col``: row and column of positions with the lowest mean score.
        - ``grid_phase``: pattern of the detector's grid, see :meth:`GridPhase.summary`. None if no
          period can be examined, see :func:`estimate_phase`.
        - ``border_effect``: see :func:`border_effect`.
        - ``flicker``: see :func:`flicker`.
        - ``border_profiles``: by side, see :func:`border_profile`.
    """
    scores = score_map.scores
    valid = scores[~np.isnan(scores)]
    flagged_fraction = _rounded(1 - valid.size / scores.size)
    if not valid.size:
        return {'positions': scores.size, 'flagged_fraction': flagged_fraction}
    median = np.median(valid)
    phase = interior_phase(score_map, periods)
    return {
        'positions': scores.size,
        'flagged_fraction': flagged_fraction,
        'mean': _rounded(valid.mean()),
        'min': _rounded(valid.min()),
        'percentiles': {str(p): _rounded(np.percentile(valid, p)) for p in PERCENTILES},
        'blind_fraction': _rounded((valid < median / 2).mean()) if median > 0 else None,
        'zero_fraction': _rounded((valid == 0).mean()),
        'worst': _worst_position(score_map),
        'worst_row': _worst_strip(score_map, axis=0),
        'worst_col': _worst_strip(score_map, axis=1),
        'grid_phase': phase.summary() if phase else None,
        'border_effect': border_effect(score_map, phase),
        'flicker': flicker(score_map),
        'border_profiles': {side: border_profile(score_map, side) for side in SIDES},
    }


def border_profile(score_map: ScoreMap, side: str) -> BorderProfile:
    """Mean score by distance from one side, distances ascending."""
    axis = 1 if side in ('top', 'bottom') else 0
    means = _nanmean(score_map.scores, axis)
    distance = score_map.distance(side)
    order = np.argsort(distance)
    return {
        'distance': [int(d) for d in distance[order]],
        'score': [_rounded_or_none(mean) for mean in means[order]],
    }


def border_effect(score_map: ScoreMap, phase: GridPhase | None) -> BorderEffect | None:
    """Change of the score near each side of the scene, without the pattern of the detector's grid.

    The detector's grid of priors makes a pattern that repeats over the whole scene, but padding only
    acts at the borders. The expected score at the border is the mean of the interior plus the pattern
    found there. The effect of a side is the mean deviation from it over the positions that are near
    this side and in the interior along it. Negative: the score is lower at the border.

    Args:
        score_map: The map.
        phase: Pattern in the interior. None: only the mean of the interior is expected.

    Returns:
        ``top``, ``bottom``, ``left``, ``right`` and ``corners`` (near two sides), differences of
        scores; None where all positions are flagged. ``border_px``: largest distance of positions near
        a border, (vertical, horizontal) pixels. None if all positions of the interior are flagged.
    """
    inside = score_map.interior()
    interior = score_map.scores[np.ix_(*inside)]
    if np.isnan(interior).all():
        return None
    expected = np.nanmean(interior)
    if phase is not None:
        expected = expected + phase.effect(score_map.rows, score_map.cols)
    deviation = score_map.scores - expected
    width = [BORDER_SHARE * span for span in score_map.span]
    near = {side: score_map.distance(side) < width[side in ('left', 'right')] for side in SIDES}

    def mean(rows: np.ndarray, cols: np.ndarray) -> float | None:
        return _rounded_or_none(_nanmean(deviation[np.ix_(rows, cols)]))

    return {
        'top': mean(near['top'], inside[1]),
        'bottom': mean(near['bottom'], inside[1]),
        'left': mean(inside[0], near['left']),
        'right': mean(inside[0], near['right']),
        'corners': mean(near['top'] | near['bottom'], near['left'] | near['right']),
        'border_px': [_rounded(w) for w in width],
    }


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
    return {'max': _rounded(known.max()), 'mean': _rounded(known.mean()), 'between': between}


def over_backgrounds(
    maps: Sequence[ScanMapStatistics], confidence: float = 0.95
) -> dict[str, BackgroundMean]:
    """Means of the statistics over backgrounds, with Student's t intervals.

    The maps of one background are averaged first: they share a scene, so they are not independent.

    Args:
        maps: Statistics of the maps.
        confidence: Confidence level in 0..1. Default: 0.95.

    Returns:
        By name of the statistic, nested names joined by a dot, e.g. ``'border_effect.top'``. A
        statistic that is undefined in all maps is missing.
    """
    return _summary([(each['background'], _flat(each)) for each in maps], confidence)


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
    pairs = []
    for one, two in zip(first, other):
        before, after = _flat(one), _flat(two)
        common = {name: after[name] - before[name] for name in before if name in after}
        pairs.append((one['background'], common))
    return _summary(pairs, confidence)


def _summary(
    maps: Sequence[tuple[int, dict[str, float]]], confidence: float
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
            'mean': _rounded(means.mean()),
            'interval': t_interval(means, confidence),
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
    'border_effect': (*SIDES, 'corners'),
    'flicker': ('max', 'mean'),
}


def _flat(statistics: Mapping[str, Any]) -> dict[str, float]:
    """The defined statistics of a map that are averaged, by name."""
    flat = {}
    for group, names in _AVERAGED.items():
        values = (statistics.get(group) or {}) if group else statistics
        for name in names:
            if values.get(name) is not None:
                flat[f'{group}.{name}' if group else name] = values[name]
    return flat


def interior_phase(score_map: ScoreMap, periods: Sequence[int]) -> GridPhase | None:
    """Pattern of the detector's grid in the interior of a map, see :func:`estimate_phase`."""
    rows, cols = score_map.interior()
    return estimate_phase(
        score_map.scores[np.ix_(rows, cols)], score_map.rows[rows], score_map.cols[cols], periods
    )


def _worst_position(score_map: ScoreMap) -> WorstPosition:
    row, col = np.unravel_index(np.nanargmin(score_map.scores), score_map.scores.shape)
    return {
        'row': int(score_map.rows[row]),
        'col': int(score_map.cols[col]),
        'score': _rounded(score_map.scores[row, col]),
    }


def _worst_strip(score_map: ScoreMap, axis: int) -> Strip:
    """The row (axis 0) or column (axis 1) of positions with the lowest mean score."""
    across = 1 - axis
    known = (~np.isnan(score_map.scores)).sum(across)
    means = _nanmean(score_map.scores, across)
    # If most positions of a strip are flagged, its mean may be the lowest by chance.
    means[known * 2 < np.median(known[known > 0])] = np.nan
    index = int(np.nanargmin(means))
    sides = SIDES[:2] if axis == 0 else SIDES[2:]
    side = min(sides, key=lambda s: score_map.distance(s)[index])
    return {
        'position': int((score_map.rows, score_map.cols)[axis][index]),
        'mean': _rounded(means[index]),
        'side': side,
        'distance': int(score_map.distance(side)[index]),
    }


def _nanmean(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    """numpy.nanmean without its warning if all values are NaN."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis)
    count = known.sum(axis)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def _rounded(value: Any) -> float:
    return round(float(value), 6)


def _rounded_or_none(value: Any) -> float | None:
    return None if np.isnan(value) else _rounded(value)
