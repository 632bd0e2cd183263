"""What a confidence map says about a detector's blind spots, in figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mindpad_mm.core.intervals import t_interval
from mindpad_mm.scan.phase import GridPhase, estimate_phase

SIDES = ('top', 'bottom', 'left', 'right')
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
# Near a border: the outer eighth of the way that the object can travel along an axis. Interior:
# the middle half, as far from the borders as there is room for a pattern to repeat.
BORDER_SHARE = 1 / 8
INTERIOR_SHARE = 1 / 4


@dataclass(frozen=True)
class ScoreMap:
    """Scores of one object at one size over one scene.

    Attributes:
        scores: (R, C) float64 in 0..1, NaN where a position is flagged.
        rows: (R,) top-left rows, pixels.
        cols: (C,) top-left columns, pixels.
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
        """How far the object can travel, (vertical, horizontal) pixels."""
        return self.scene_size[0] - self.box_size[0], self.scene_size[1] - self.box_size[1]

    def distance(self, side: str) -> np.ndarray:
        """Pixels between the object and a side: (R,) for top and bottom, (C,) for the others."""
        return {
            'top': self.rows,
            'bottom': self.span[0] - self.rows,
            'left': self.cols,
            'right': self.span[1] - self.cols,
        }[side]

    def interior(self) -> tuple[np.ndarray, np.ndarray]:
        """Which rows (R,) and columns (C,) lie in the middle half of the way."""
        vertical = np.minimum(self.distance('top'), self.distance('bottom'))
        horizontal = np.minimum(self.distance('left'), self.distance('right'))
        return vertical >= self.span[0] * INTERIOR_SHARE, horizontal >= self.span[1] * (
            INTERIOR_SHARE
        )


def map_statistics(score_map: ScoreMap, periods: Sequence[int] = ()) -> dict[str, Any]:
    """All figures of one map, as JSON types; None where a figure is undefined.

    Args:
        score_map: The map.
        periods: The detector's strides in scene pixels, candidates for the grid's period.

    Returns:
        ``positions``, ``flagged_fraction``, ``mean``, ``min``, ``percentiles``;
        ``blind_fraction``: the share of positions that score below half the median (undefined
        where the median is 0: then the detector misses the object at most positions);
        ``zero_fraction``: the share without any detection that overlaps enough;
        ``worst``; ``worst_row`` and ``worst_col``: the strips of lowest mean;
        ``border_profiles``: mean score by distance to each side; ``grid_phase`` and
        ``border_effect``, see :func:`border_effect`; ``flicker``.
    """
    scores = score_map.scores
    valid = scores[~np.isnan(scores)]
    figures: dict[str, Any] = {
        'positions': int(scores.size),
        'flagged_fraction': _number(1 - valid.size / scores.size),
    }
    if not valid.size:
        return figures
    median = np.median(valid)
    phase = interior_phase(score_map, periods)
    figures.update(
        mean=_number(valid.mean()),
        min=_number(valid.min()),
        percentiles={str(p): _number(np.percentile(valid, p)) for p in PERCENTILES},
        blind_fraction=_number((valid < median / 2).mean()) if median > 0 else None,
        zero_fraction=_number((valid == 0).mean()),
        worst=_worst_position(score_map),
        worst_row=_worst_strip(score_map, axis=0),
        worst_col=_worst_strip(score_map, axis=1),
        grid_phase=phase.summary() if phase else None,
        border_effect=border_effect(score_map, phase),
        flicker=flicker(score_map),
        border_profiles={side: border_profile(score_map, side) for side in SIDES},
    )
    return figures


def border_profile(score_map: ScoreMap, side: str) -> dict[str, list[float | None]]:
    """Mean score by distance to one side: ``distance`` (pixels, ascending) and ``score``."""
    axis = 1 if side in ('top', 'bottom') else 0
    means = _nanmean(score_map.scores, axis)
    distance = score_map.distance(side)
    order = np.argsort(distance)
    return {
        'distance': [int(d) for d in distance[order]],
        'score': [_number(mean) for mean in means[order]],
    }


def border_effect(score_map: ScoreMap, phase: GridPhase | None) -> dict[str, Any] | None:
    """How much the score changes towards each side, beyond what the detector's grid does.

    A detector's anchor grid makes a pattern that repeats over the whole image; padding acts at
    the borders alone. So the pattern is learnt in the interior, and the effect of a side is the
    mean deviation from what it predicts: over the positions within ``border_px`` of that side,
    halfway along it (away from the other two sides). Negative: worse at the border.

    Args:
        score_map: The map.
        phase: The interior's pattern; without one, the interior's mean is what is expected.

    Returns:
        ``top``, ``bottom``, ``left``, ``right`` and ``corners`` (near two sides at once), in
        units of score, and ``border_px`` (vertical, horizontal); None if no interior is left.
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
    regions = {
        'top': (near['top'], inside[1]),
        'bottom': (near['bottom'], inside[1]),
        'left': (inside[0], near['left']),
        'right': (inside[0], near['right']),
        'corners': (near['top'] | near['bottom'], near['left'] | near['right']),
    }
    effects: dict[str, Any] = {
        name: _number(_nanmean(deviation[np.ix_(*region)])) for name, region in regions.items()
    }
    effects['border_px'] = [_number(w) for w in width]
    return effects


def flicker(score_map: ScoreMap) -> dict[str, Any] | None:
    """Absolute change of score between neighbouring positions, one grid step apart.

    Returns:
        ``max``, ``mean``, and the two positions (row, col) of the largest change, ``between``;
        None if no two neighbours are left.
    """
    changes = [np.abs(np.diff(score_map.scores, axis=axis)) for axis in (0, 1)]
    known = np.concatenate([change[~np.isnan(change)] for change in changes])
    if not known.size:
        return None
    axis = int(np.argmax([np.nanmax(c) if (~np.isnan(c)).any() else -1 for c in changes]))
    first = np.unravel_index(np.nanargmax(changes[axis]), changes[axis].shape)
    second = (first[0] + (axis == 0), first[1] + (axis == 1))
    between = [[int(score_map.rows[r]), int(score_map.cols[c])] for r, c in (first, second)]
    return {'max': _number(known.max()), 'mean': _number(known.mean()), 'between': between}


def over_backgrounds(
    maps: Sequence[dict[str, Any]], confidence: float = 0.95
) -> dict[str, dict[str, Any]]:
    """Means of the single figures, with confidence intervals over backgrounds.

    Objects and sizes of one background are averaged first: they share a scene and are no
    independent draws.

    Args:
        maps: What :func:`map_statistics` gave, each with its ``background``.
        confidence: Of Student's t interval; default 0.95.

    Returns:
        By figure (nested ones joined by a dot, ``border_effect.top``): ``mean``, ``interval``
        ``[low, high]`` (None with fewer than two backgrounds) and ``backgrounds``, their number.
    """
    return _summary([(figures['background'], _flat(figures)) for figures in maps], confidence)


def paired_over_backgrounds(
    first: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]], confidence: float = 0.95
) -> dict[str, dict[str, Any]]:
    """What :func:`over_backgrounds` gives, of the differences ``other - first``.

    Taken map by map before they are averaged, the differences are free of what the two scans
    share: that some scenes are harder than others. A figure undefined in either map of a pair is
    left out there.

    Args:
        first, other: Two scans' figures of the same maps in the same order.
        confidence: Of Student's t interval; default 0.95.
    """
    pairs = []
    for one, two in zip(first, other):
        before, after = _flat(one), _flat(two)
        common = {name: after[name] - before[name] for name in before if name in after}
        pairs.append((one['background'], common))
    return _summary(pairs, confidence)


def _summary(
    maps: Sequence[tuple[int, dict[str, float]]], confidence: float
) -> dict[str, dict[str, Any]]:
    """Means with intervals of flat figures, each with its background."""
    by_figure: dict[str, dict[int, list[float]]] = {}
    for background, figures in maps:
        for name, value in figures.items():
            by_figure.setdefault(name, {}).setdefault(background, []).append(value)
    summary = {}
    for name, by_background in by_figure.items():
        means = np.array([np.mean(values) for values in by_background.values()])
        summary[name] = {
            'mean': _number(means.mean()),
            'interval': t_interval(means, confidence),
            'backgrounds': len(means),
        }
    return summary


_SINGLE_FIGURES = {
    '': ('mean', 'min', 'blind_fraction', 'zero_fraction', 'flagged_fraction'),
    'percentiles': ('50',),
    'worst_row': ('mean',),
    'worst_col': ('mean',),
    'grid_phase': ('share', 'amplitude'),
    'border_effect': (*SIDES, 'corners'),
    'flicker': ('max', 'mean'),
}


def _flat(figures: dict[str, Any]) -> dict[str, float]:
    flat = {}
    for group, names in _SINGLE_FIGURES.items():
        values = (figures.get(group) or {}) if group else figures
        for name in names:
            if values.get(name) is not None:
                flat[f'{group}.{name}' if group else name] = values[name]
    return flat


def interior_phase(score_map: ScoreMap, periods: Sequence[int]) -> GridPhase | None:
    """The grid's pattern in the interior of a map, see :func:`estimate_phase`."""
    rows, cols = score_map.interior()
    return estimate_phase(
        score_map.scores[np.ix_(rows, cols)], score_map.rows[rows], score_map.cols[cols], periods
    )


def _worst_position(score_map: ScoreMap) -> dict[str, Any]:
    row, col = np.unravel_index(np.nanargmin(score_map.scores), score_map.scores.shape)
    return {
        'row': int(score_map.rows[row]),
        'col': int(score_map.cols[col]),
        'score': _number(score_map.scores[row, col]),
    }


def _worst_strip(score_map: ScoreMap, axis: int) -> dict[str, Any]:
    """The row (axis 0) or column (axis 1) of positions whose mean score is lowest."""
    across = 1 - axis
    known = (~np.isnan(score_map.scores)).sum(across)
    means = _nanmean(score_map.scores, across)
    # A strip with a handful of positions left would win by chance.
    means[known * 2 < np.median(known[known > 0])] = np.nan
    index = int(np.nanargmin(means))
    sides = SIDES[:2] if axis == 0 else SIDES[2:]
    side = min(sides, key=lambda s: score_map.distance(s)[index])
    return {
        'position': int((score_map.rows, score_map.cols)[axis][index]),
        'mean': _number(means[index]),
        'side': side,
        'distance': int(score_map.distance(side)[index]),
    }


def _nanmean(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    """numpy.nanmean, with NaN instead of a warning where nothing is left."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis)
    count = known.sum(axis)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def _number(value: Any) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)
