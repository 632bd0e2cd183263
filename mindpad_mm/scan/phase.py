"""The pattern that a detector's anchor grid leaves in a confidence map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import TypedDict

import numpy as np
from torch import nn

# A period explains everything that its divisors explain. To be preferred to a shorter one, it must
# explain this share of the variance in addition.
_LONGER_PERIOD_GAIN = 0.05
_LEAST_REPEATS = 2
_TREND_DEGREE = 2


class PhaseSummary(TypedDict):
    """See the attributes of :class:`GridPhase`."""

    period: int
    share: float
    amplitude: float


@dataclass(frozen=True)
class GridPhase:
    """A pattern that repeats with the same period along rows and columns.

    The phase of a position is its row or column modulo the period.

    Attributes:
        period: Period in pixels.
        step: Distance in pixels between neighbouring phases that occur at the scan's stride.
        share: Share of the variance of the scores that the pattern explains, in 0..1. It is adjusted
            for degrees of freedom, so that noise gives about 0.
        pattern: (P, P) effect of each (row, column) phase on the score, with a mean of 0. NaN if no
            position has the phase.
    """

    period: int
    step: int
    share: float
    pattern: np.ndarray

    @property
    def amplitude(self) -> float:
        """Effect of the best phase minus that of the worst, a difference of scores."""
        return float(np.nanmax(self.pattern) - np.nanmin(self.pattern))

    def effect(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """The effect at pixel rows (R,) and columns (C,): (R, C) scores. All 0 if the share is 0."""
        if self.share == 0:
            return np.zeros((len(rows), len(cols)))
        return self.pattern[np.ix_(*(_phase(p, self.period, self.step) for p in (rows, cols)))]

    def summary(self) -> PhaseSummary:
        """Period, share and amplitude as JSON types."""
        return {
            'period': self.period,
            'share': round(self.share, 6),
            'amplitude': round(self.amplitude, 6),
        }


def estimate_phase(
    scores: np.ndarray, rows: np.ndarray, cols: np.ndarray, periods: Sequence[int]
) -> GridPhase | None:
    """Find the period whose pattern explains a map best.

    For each period, one effect per phase and a smooth trend (a quadratic surface) are fitted together
    by least squares. Without the trend, a slope across the map would be fitted by a sawtooth.

    Args:
        scores: (R, C) float64; NaN at flagged positions. Near the borders scores also depend on
            padding, so the map should be cut to its interior.
        rows, cols: (R,), (C,) pixel rows and columns, evenly spaced.
        periods: Candidates in pixels. A period is skipped if the map is shorter than two periods along
            an axis, if only one of its phases occurs at the scan's stride, or if there are too few
            positions for its phases.

    Returns:
        The shortest period that explains nearly as much as the best one. None if all were skipped.
    """
    fitted = (_fit(scores, rows, cols, period) for period in sorted(set(periods)))
    found = [phase for phase in fitted if phase is not None]
    if not found:
        return None
    enough = max(phase.share for phase in found) - _LONGER_PERIOD_GAIN
    return next(phase for phase in found if phase.share >= enough)


def grid_strides(model: nn.Module) -> list[int]:
    """Strides of a detector's priors (anchors or points) in pixels of the input, ascending.

    Empty for a detector without priors, e.g. a query-based one.
    """
    strides = set()
    for module in model.modules():
        generator = getattr(module, 'prior_generator', None)
        for stride in getattr(generator, 'strides', ()):
            strides.update(np.atleast_1d(stride).astype(int).tolist())
    return sorted(strides)


def _phase(positions: np.ndarray, period: int, step: int) -> np.ndarray:
    """Index of each position's phase, in 0..period / step - 1."""
    return (positions % period) // step


def _fit(scores: np.ndarray, rows: np.ndarray, cols: np.ndarray, period: int) -> GridPhase | None:
    """The pattern of one period; None if the period is skipped, see :func:`estimate_phase`."""
    if min(len(rows), len(cols)) < 2:
        return None
    stride = int(rows[1] - rows[0])
    step = gcd(period, stride)
    phases = period // step
    repeats = min(len(rows), len(cols)) * stride / period
    known = ~np.isnan(scores)
    if phases == 1 or repeats < _LEAST_REPEATS or known.sum() < 2 * phases**2:
        return None
    groups = np.add.outer(_phase(rows, period, step) * phases, _phase(cols, period, step))[known]
    y = scores[known]
    trend = _trend(rows, cols)[known]

    counts = np.bincount(groups, minlength=phases**2)
    # Frisch-Waugh-Lovell theorem: the trend's coefficients can be estimated from deviations from the
    # means of the phases, so that the many phase effects need no columns in the matrix.
    slope, _, rank, _ = np.linalg.lstsq(
        trend - _group_means(trend, groups, counts)[groups],
        y - _group_means(y, groups, counts)[groups],
        rcond=None,
    )
    detrended = y - trend @ slope
    effects = _group_means(detrended, groups, counts)
    seen = counts > 0
    freedom = len(y) - seen.sum() - rank
    total = y.var(ddof=1)
    effects -= np.average(effects[seen], weights=counts[seen])
    # A variance below float64's resolution is rounding noise.
    if freedom < 1 or total <= np.finfo(float).eps ** 2:
        return None
    noise = ((detrended - detrended.mean() - effects[groups]) ** 2).sum() / freedom
    explained = (counts[seen] * effects[seen] ** 2).sum() - (seen.sum() - 1) * noise
    share = float(np.clip(explained / (len(y) - 1) / total, 0, 1))
    pattern = np.where(seen, effects, np.nan).reshape(phases, phases)
    return GridPhase(period, step, share, pattern)


def _trend(rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """(R, C, 5) terms of a quadratic surface without the constant; positions are scaled to -1..1."""
    v, h = (np.interp(p, (p[0], p[-1]), (-1, 1)) for p in (rows, cols))
    powers = [
        (i, j)
        for i in range(_TREND_DEGREE + 1)
        for j in range(_TREND_DEGREE + 1)
        if 0 < i + j <= _TREND_DEGREE
    ]
    return np.stack([np.multiply.outer(v**i, h**j) for i, j in powers], -1)


def _group_means(values: np.ndarray, groups: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean of the values (N, ...) of each group; 0 for groups without values."""
    columns = values.reshape(len(values), -1).T
    sums = np.stack([np.bincount(groups, column, len(counts)) for column in columns], -1)
    return (sums / np.maximum(counts, 1)[:, None]).reshape((len(counts), *values.shape[1:]))
