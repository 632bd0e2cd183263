"""The pattern that a detector's anchor grid leaves in a confidence map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np
from torch import nn

# A longer period explains everything that its divisors do: it must explain this much more.
_LONGER_PERIOD_GAIN = 0.05
_LEAST_REPEATS = 2
_TREND_DEGREE = 2


@dataclass(frozen=True)
class GridPhase:
    """A pattern that repeats with one period along rows and columns.

    Attributes:
        period: Pixels.
        step: Pixels between the phases that the scan's stride visits.
        share: The share of the variance that the pattern explains, 0..1, adjusted for its
            degrees of freedom: pure noise gives about 0.
        pattern: (P, P) effect of each (row, column) phase on the score, of mean 0; NaN where no
            position showed it.
    """

    period: int
    step: int
    share: float
    pattern: np.ndarray

    @property
    def amplitude(self) -> float:
        """The best phase minus the worst, in units of score."""
        return float(np.nanmax(self.pattern) - np.nanmin(self.pattern))

    def effect(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """The pattern at rows (R,) and columns (C,): (R, C). All 0 where the share is 0."""
        if self.share == 0:
            return np.zeros((len(rows), len(cols)))
        return self.pattern[np.ix_(*(_phase(p, self.period, self.step) for p in (rows, cols)))]

    def summary(self) -> dict[str, Any]:
        """Period (pixels), share and amplitude, as JSON types."""
        return {
            'period': self.period,
            'share': round(self.share, 6),
            'amplitude': round(self.amplitude, 6),
        }


def estimate_phase(
    scores: np.ndarray, rows: np.ndarray, cols: np.ndarray, periods: Sequence[int]
) -> GridPhase | None:
    """Find the period whose pattern explains a map best.

    Least squares on one effect per phase together with a smooth trend (a quadratic surface):
    without the trend, a slope across the map would pass for a sawtooth.

    Args:
        scores: (R, C) float64, NaN where unknown. Give the interior: near the borders other
            things than the grid are at work.
        rows, cols: (R,), (C,) positions in pixels, evenly spaced.
        periods: Candidates in pixels. One is passed over where the map is not at least two
            periods long on both axes, or the stride visits a single phase of it.

    Returns:
        The shortest period that explains nearly as much as the best; None if all are passed over.
    """
    found: list[GridPhase] = []
    for period in sorted({int(p) for p in periods if p > 1}):
        phase = _fit(scores, rows, cols, period)
        if phase is not None:
            found.append(phase)
    if not found:
        return None
    enough = max(phase.share for phase in found) - _LONGER_PERIOD_GAIN
    return next(phase for phase in found if phase.share >= enough)


def grid_strides(model: nn.Module) -> list[int]:
    """Strides in input pixels of a detector's prior (anchor or point) generators, ascending.

    Empty for a detector without any, such as a query-based one.
    """
    strides = set()
    for module in model.modules():
        generator = getattr(module, 'prior_generator', None)
        for stride in getattr(generator, 'strides', ()):
            strides.update(np.atleast_1d(stride).astype(int).tolist())
    return sorted(strides)


def _phase(positions: np.ndarray, period: int, step: int) -> np.ndarray:
    return (positions % period) // step


def _fit(scores: np.ndarray, rows: np.ndarray, cols: np.ndarray, period: int) -> GridPhase | None:
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
    # Frisch-Waugh: the trend's coefficients follow from what varies within the phases, so the
    # many phase effects never enter a matrix.
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
    # Below float64's resolution there is no variance to explain.
    if freedom < 1 or total <= np.finfo(float).eps ** 2:
        return None
    noise = ((detrended - detrended.mean() - effects[groups]) ** 2).sum() / freedom
    explained = (counts[seen] * effects[seen] ** 2).sum() - (seen.sum() - 1) * noise
    share = float(np.clip(explained / (len(y) - 1) / total, 0, 1))
    pattern = np.where(seen, effects, np.nan).reshape(phases, phases)
    return GridPhase(period, step, share, pattern)


def _trend(rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """(R, C, 5): the terms of a quadratic surface without its constant, positions in -1..1."""
    v, h = (np.interp(p, (p[0], p[-1]), (-1, 1)) for p in (rows, cols))
    powers = [
        (i, j)
        for i in range(_TREND_DEGREE + 1)
        for j in range(_TREND_DEGREE + 1)
        if 0 < i + j <= _TREND_DEGREE
    ]
    return np.stack([np.multiply.outer(v**i, h**j) for i, j in powers], -1)


def _group_means(values: np.ndarray, groups: np.ndarray, counts: np.ndarray) -> np.ndarray:
    columns = values.reshape(len(values), -1).T
    sums = np.stack([np.bincount(groups, column, len(counts)) for column in columns], -1)
    return (sums / np.maximum(counts, 1)[:, None]).reshape((len(counts), *values.shape[1:]))
