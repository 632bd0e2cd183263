"""The pattern that a detector's grid of priors leaves in a confidence map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from scipy.ndimage import correlate1d
from torch import nn

Period = tuple[float, float]
"""(vertical, horizontal) period of a pattern, pixels. It need not be a whole number."""

# A period explains everything that its divisors explain. To be preferred to a shorter one, it must
# explain this share of the variance in addition.
_LONGER_PERIOD_GAIN = 0.05
# A window of the local mean spans at least this many positions, and at least this share of them is
# not flagged.
_LEAST_SPAN = 2
_LEAST_KNOWN = 0.75
# The object counts as found where the local mean is at least this share of its 95th percentile.
_FOUND = 0.1
# Lines of positions in a bin of phases, on average over the map.
_LINES_PER_BIN = 4


class PhaseSummary(TypedDict):
    """See the attributes of :class:`GridPhase`."""

    period: list[float]
    share: float
    amplitude: float
    positions: int


@dataclass(frozen=True)
class GridPhase:
    """A pattern that repeats over the map.

    The phase of a position is its row modulo the vertical period and its column modulo the horizontal
    one. Phases are sorted into (V, H) bins of equal size.

    Attributes:
        period: (vertical, horizontal) period in pixels.
        share: Share of the variance of the scores around their local mean that the pattern explains, in
            0..1. Only agreement between different rows and columns of the grid counts, so noise, the
            scene and effects of one border give about 0.
        pattern: (V, H) effect of each phase on the score, with a mean of about 0. It is shrunk by how
            far the grid's rows and columns agree. NaN if no position has the phase.
        positions: Number of positions that it was estimated from: those where the object is found.
    """

    period: Period
    share: float
    pattern: np.ndarray
    positions: int

    @property
    def step(self) -> tuple[float, float]:
        """Pixels between neighbouring bins, (vertical, horizontal)."""
        return self.period[0] / self.pattern.shape[0], self.period[1] / self.pattern.shape[1]

    @property
    def amplitude(self) -> float:
        """Effect of the best phase minus that of the worst, a difference of scores."""
        return float(np.nanmax(self.pattern) - np.nanmin(self.pattern))

    def effect(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """The effect at pixel rows (R,) and columns (C,): (R, C) scores; NaN at unknown phases."""
        bins = (_bin(*each) for each in zip((rows, cols), self.period, self.pattern.shape))
        return self.pattern[np.ix_(*bins)]

    def summary(self) -> PhaseSummary:
        """Period, share, amplitude and number of positions as JSON types."""
        return {
            'period': [round(p, 6) for p in self.period],
            'share': round(self.share, 6),
            'amplitude': round(self.amplitude, 6),
            'positions': self.positions,
        }


def estimate_phase(
    scores: np.ndarray, rows: np.ndarray, cols: np.ndarray, periods: Sequence[Sequence[float]]
) -> GridPhase | None:
    """Find the period whose pattern explains a map best.

    The pattern is the mean deviation of the scores from their local mean, by phase. The local mean is
    taken over one period, so that the scene, which varies more slowly, is not in it. Positions count
    where the object is found at all: the local mean is at least a tenth of its 95th percentile.

    The share of the variance is estimated without bias from pairs of grid cells that share neither a
    row nor a column of cells: what only one border or one part of the scene shows is not in it.

    Args:
        scores: (R, C) float64; NaN at flagged positions.
        rows, cols: (R,), (C,) pixel rows and columns.
        periods: Candidates, (vertical, horizontal) pixels. One is skipped if the positions are not
            evenly spaced, if fewer than two positions or phases fall into a period, or if the map has
            too few periods or positions.

    Returns:
        The shortest period that explains nearly as much as the best one. None if all were skipped, or
        if the object is found nowhere.
    """
    if min(len(rows), len(cols)) < 3 or any(np.ptp(np.diff(each)) for each in (rows, cols)):
        return None
    candidates = sorted({(float(vertical), float(horizontal)) for vertical, horizontal in periods})
    fitted = (_fit(scores, rows, cols, period) for period in candidates)
    found = [phase for phase in fitted if phase is not None]
    if not found:
        return None
    enough = max(phase.share for phase in found) - _LONGER_PERIOD_GAIN
    return next(phase for phase in found if phase.share >= enough)


def grid_strides(model: nn.Module) -> list[Period]:
    """Strides of a detector's priors (anchors or points) in pixels of the input, ascending.

    Empty for a detector without priors, e.g. a query-based one.
    """
    strides = set()
    for module in model.modules():
        generator = getattr(module, 'prior_generator', None)
        for stride in getattr(generator, 'strides', ()):
            # MMDetection's order is (horizontal, vertical).
            horizontal, vertical = np.broadcast_to(np.asarray(stride, float), 2).tolist()
            strides.add((vertical, horizontal))
    return sorted(strides)


def _bin(positions: np.ndarray, period: float, bins: int) -> np.ndarray:
    """Index of the bin of each position's phase. Rounding errors must not move a whole phase."""
    return np.floor((positions % period) * bins / period + 1e-9).astype(int) % bins


def _bins(period: float, positions: np.ndarray) -> int:
    """Number of bins: one for each phase that occurs, at most one a pixel, and some lines in each."""
    most = min(math.floor(period), len(positions) // _LINES_PER_BIN)
    if period.is_integer():
        return min(int(period) // math.gcd(int(period), int(positions[1] - positions[0])), most)
    return most


def _fit(
    scores: np.ndarray, rows: np.ndarray, cols: np.ndarray, period: Period
) -> GridPhase | None:
    """The pattern of one period; None if the period is skipped, see :func:`estimate_phase`."""
    shape = _bins(period[0], rows), _bins(period[1], cols)
    spans = [p / (each[1] - each[0]) for p, each in zip(period, (rows, cols))]
    if min(shape) < 2 or min(spans) < _LEAST_SPAN:
        return None
    mean, used = _local_mean(scores, spans)
    if not used.any():
        return None
    used &= mean >= _FOUND * np.percentile(mean[used], 95)
    used &= ~np.isnan(scores)
    count = int(used.sum())
    if count < 2 * np.prod(shape) or not mean[used].any():
        return None
    phases = np.add.outer(
        _bin(rows, period[0], shape[0]) * shape[1], _bin(cols, period[1], shape[1])
    )
    deviation = np.where(used, scores - mean, 0)
    deviation[used] -= deviation[used].mean()
    total = (deviation[used] ** 2).mean()
    cells = [np.floor(each / p + 1e-9).astype(int) for each, p in zip((rows, cols), period)]
    agreed = _agreed_variance(deviation, used, phases, cells, shape[0] * shape[1])
    # A variance below float64's resolution is rounding noise.
    if agreed is None or total <= np.finfo(float).eps:
        return None
    counts = np.bincount(phases[used], minlength=shape[0] * shape[1])
    effects = np.bincount(phases[used], deviation[used], len(counts)) / np.maximum(counts, 1)
    raw = np.average(effects**2, weights=counts)
    reliable = np.clip(agreed / raw, 0, 1) if raw > 0 else 0.0
    pattern = np.where(counts > 0, effects * reliable, np.nan).reshape(shape)
    return GridPhase(period, float(np.clip(agreed / total, 0, 1)), pattern, count)


def _local_mean(values: np.ndarray, spans: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """(R, C) means over a window of (vertical, horizontal) positions, and where they are complete.

    Complete is a window that lies inside the map and of which few positions are flagged. Spans need
    not be whole: the outermost positions of a window count by the part that lies inside.
    """
    known = ~np.isnan(values)
    total, weight = np.where(known, values, 0), known.astype(float)
    complete = np.ones(values.shape, bool)
    for axis, span in enumerate(spans):
        half = (span - 1) / 2
        reach = math.ceil(half)
        kernel = np.ones(2 * reach + 1)
        kernel[[0, -1]] = half - (reach - 1)
        total, weight = (correlate1d(a, kernel, axis, mode='constant') for a in (total, weight))
        at = np.arange(values.shape[axis])
        inside = (at >= reach) & (at < values.shape[axis] - reach)
        complete &= inside[:, None] if axis == 0 else inside
    complete &= weight >= _LEAST_KNOWN * np.prod(spans)
    return np.divide(total, weight, out=np.zeros_like(total), where=weight > 1e-9), complete


def _agreed_variance(
    deviation: np.ndarray,
    used: np.ndarray,
    phases: np.ndarray,
    cells: Sequence[np.ndarray],
    bins: int,
) -> float | None:
    """Variance of the pattern, estimated from pairs of cells in different cell rows and columns.

    Args:
        deviation: (R, C) deviation of the scores from their local mean.
        used: (R, C) bool, the positions that count.
        phases: (R, C) index of each position's phase.
        cells: (R,) and (C,) index of each position's row and column of grid cells.
        bins: Number of phases.

    Returns:
        The mean over the positions of the squared effect of their phase, 0 for phases without such a
        pair. Noise gives 0 on average, so it can be negative. None if there are no pairs.
    """
    numbers = [each - each[0] for each in cells]
    shape = numbers[0][-1] + 1, numbers[1][-1] + 1, bins
    flat = np.add.outer(numbers[0] * shape[1], numbers[1])[used] * bins + phases[used]
    sums, counts = (
        np.bincount(flat, weights, math.prod(shape)).reshape(shape)
        for weights in (deviation[used], np.ones(len(flat)))
    )

    def over_pairs(values: np.ndarray) -> np.ndarray:
        """Sum of products over the pairs, by phase: all pairs less those of equal rows or columns."""
        by_row, by_col = (values.sum(axis) for axis in (1, 0))
        same = (by_row**2).sum(0) + (by_col**2).sum(0) - (values**2).sum((0, 1))
        return values.sum((0, 1)) ** 2 - same

    pairs = np.round(over_pairs(counts))
    paired = pairs > 0
    if not paired.any():
        return None
    squares = np.divide(over_pairs(sums), pairs, out=np.zeros(bins), where=paired)
    return float(np.average(squares, weights=counts.sum((0, 1))))
