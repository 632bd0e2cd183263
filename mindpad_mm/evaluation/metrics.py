"""Metrics of a run, a group of runs, or a difference, with confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mindpad_mm.core.intervals import unit_interval
from mindpad_mm.scan import difference_interval

LEAST_IMAGES = 10
"""Minimum number of images with objects in a region for intervals of its metrics. With fewer images,
bootstrap intervals are too narrow."""

LEAST_DRAWS = 40
"""Minimum number of bootstrap draws for a 95 % interval: with fewer, less than one draw lies beyond
each end."""


@dataclass(frozen=True)
class Metric:
    """A metric of a run or group, or a difference of two metrics.

    Attributes:
        value: Mean over the runs; None if undefined.
        sd: Standard deviation over the runs (n - 1); None with fewer than two runs.
        interval: 95 % confidence interval ``(low, high)``; None if undefined.
    """

    value: float | None
    sd: float | None = None
    interval: tuple[float, float] | None = None

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside the interval."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]

    def ends(self) -> tuple[float | None, float | None]:
        """Ends of the interval; None if it is undefined."""
        return self.interval or (None, None)

    def to_json(self) -> dict[str, Any]:
        """The attributes as JSON types."""
        return {'value': self.value, 'sd': self.sd, 'interval': self.interval}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Metric:
        """Read what :meth:`to_json` gives."""
        interval = content['interval']
        return cls(content['value'], content['sd'], None if interval is None else tuple(interval))


def group_draws(draws: Sequence[np.ndarray], seed: int, stream: int) -> np.ndarray:
    """Mean over a group's runs in every bootstrap draw, with resampled runs.

    If only images were resampled, intervals would be valid for these trainings. With resampled runs,
    they are valid for any training with these settings. With n runs, the variance between runs is
    underestimated by a factor of (n - 1) / n.

    Args:
        draws: For each run, (draws, metrics) float64.
        seed: Seed of the comparison.
        stream: Index of the group. Groups are resampled independently.

    Returns:
        (draws, metrics) float64.
    """
    values = np.stack(draws)
    if len(values) == 1:
        return values[0]
    rng = np.random.default_rng([seed, stream, len(values)])
    chosen = rng.integers(len(values), size=(len(values), values.shape[1]))
    return np.take_along_axis(values, chosen[..., None], axis=0).mean(axis=0)


def group_metric(values: Sequence[float | None], draws: np.ndarray | None) -> Metric:
    """A test-set metric of a group, with a percentile interval.

    Args:
        values: The metric of each run; None if undefined.
        draws: (draws,) the group's mean in each bootstrap draw; NaN if undefined. None: no interval.
    """
    mean, sd = _mean_sd(values)
    return Metric(mean, sd, None if mean is None or draws is None else _percentiles(draws))


def metric_difference(
    ours: Sequence[float | None], theirs: Sequence[float | None], draws: np.ndarray | None
) -> Metric:
    """Mean of a test-set metric over a group minus that over the reference.

    Args:
        ours: The metric of each run of the group; None if undefined.
        theirs: The metric of each run of the reference; None if undefined.
        draws: (draws,) the difference in each bootstrap draw; NaN if undefined. None: no interval.
    """
    our_mean, their_mean = _mean_sd(ours)[0], _mean_sd(theirs)[0]
    if our_mean is None or their_mean is None:
        return Metric(None)
    interval = None if draws is None else _percentiles(draws)
    return Metric(_rounded(our_mean - their_mean), None, interval)


def group_scan_metric(runs: Sequence[Sequence[float]], unit: bool) -> Metric:
    """A scan statistic of a group, with an interval over backgrounds.

    Args:
        runs: For each run, the value on each background; NaN if undefined.
        unit: Whether the statistic, and so its interval, is in 0..1.
    """
    values = np.array(runs, float)
    if np.isnan(values).any():
        return Metric(None)
    mean, sd = _mean_sd(values.mean(axis=1).tolist())
    by_background = values.mean(axis=0)
    interval = unit_interval(by_background) if unit else difference_interval(by_background)
    return Metric(mean, sd, _pair(interval))


def scan_metric_difference(
    ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]
) -> Metric:
    """Mean of a scan statistic over a group minus that over the reference, paired by background.

    Args:
        ours: For each run of the group, the value on each background; NaN if undefined.
        theirs: The same for the reference.
    """
    change = np.mean(ours, axis=0) - np.mean(theirs, axis=0)
    if np.isnan(change).any():
        return Metric(None)
    return Metric(_rounded(change.mean()), None, _pair(difference_interval(change)))


def _mean_sd(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    if any(value is None for value in values):
        return None, None
    sd = _rounded(np.std(values, ddof=1)) if len(values) > 1 else None
    return _rounded(np.mean(values)), sd


def _percentiles(draws: np.ndarray) -> tuple[float, float] | None:
    known = draws[~np.isnan(draws)]
    # Draws without objects are undefined. If most draws are, there is no interval.
    if known.size < max(LEAST_DRAWS, draws.size / 2):
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return _rounded(low), _rounded(high)


def _pair(interval: list[float] | None) -> tuple[float, float] | None:
    return None if interval is None else (interval[0], interval[1])


def _rounded(value: float) -> float:
    return round(float(value), 6)
