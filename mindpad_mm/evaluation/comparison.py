"""What a comparison found: figures, differences and how sure they are, as it is saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mindpad_mm.core.files import save_json
from mindpad_mm.core.intervals import t_interval

Values = np.ndarray

LEAST_IMAGES = 10
"""Images with objects that a region needs for an interval: resampled, fewer look surer than they are."""

LEAST_DRAWS = 40
"""Draws that a 95 % interval needs: of fewer, less than one lies beyond either end."""


@dataclass(frozen=True)
class Figure:
    """One figure of one run or group.

    Attributes:
        value: Its mean over the runs; None where it is undefined.
        sd: Standard deviation over the runs (n - 1); None with fewer than two.
        interval: 95 % ``(low, high)``; None where it is undefined.
    """

    value: float | None
    sd: float | None = None
    interval: tuple[float, float] | None = None

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


@dataclass(frozen=True)
class EntryResult:
    """One row of a comparison.

    Attributes:
        name: Of the run or group.
        runs: What was run, a dict each: ``name``, ``config``, ``checkpoint``, ``cfg_options``,
            ``recalibrate``, ``detections`` (a COCO result file), ``scan`` (a folder or None), and the
            run's own ``figures`` and ``scan_figures``.
        figures: By name, on the test set; names as of :class:`SpatialCocoMetric` without ``bbox_``.
            Intervals: bootstrap over images, and over the runs of a group.
        differences: These minus those of the reference, by name; empty for the reference.
        scan_figures: By name, of the scan: means over backgrounds; intervals: Student's t over
            backgrounds. Empty without a scan.
        scan_differences: Paired by background.
    """

    name: str
    runs: list[dict[str, Any]]
    figures: dict[str, Figure]
    differences: dict[str, Figure] = field(default_factory=dict)
    scan_figures: dict[str, Figure] = field(default_factory=dict)
    scan_differences: dict[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Runs and groups side by side; the first is the reference of every difference.

    Attributes:
        entries: In the order given.
        info: The set, the settings, versions and times.
        folder: Where it is kept.
    """

    entries: list[EntryResult]
    info: dict[str, Any]
    folder: Path

    def __getitem__(self, name: str) -> EntryResult:
        return next(entry for entry in self.entries if entry.name == name)

    @property
    def reference(self) -> EntryResult:
        return self.entries[0]

    def save(self) -> None:
        """Write ``comparison.json``, whole or not at all."""
        content = {
            'reference': self.reference.name,
            'entries': [asdict(entry) for entry in self.entries],
            **self.info,
        }
        save_json(self.folder / 'comparison.json', content)


def draw_runs(draws: Sequence[Values], seed: int, stream: int) -> Values:
    """The mean over a group's runs in every draw, the runs drawn with replacement as well.

    Images alone would say how sure a mean of *these* trainings is; what is asked is how sure the
    setting's is. Of few runs, drawing understates that by (n - 1) / n in variance.

    Args:
        draws: (draws, figures) of each run.
        seed: Of the comparison.
        stream: Which group, so that groups are drawn independently.
    """
    values = np.stack(draws)
    if len(values) == 1:
        return values[0]
    rng = np.random.default_rng([seed, stream, len(values)])
    chosen = rng.integers(len(values), size=(len(values), values.shape[1]))
    return np.take_along_axis(values, chosen[..., None], axis=0).mean(axis=0)


def figure(values: Sequence[float | None], draws: Values | None) -> Figure:
    """A figure of the runs with its percentile interval.

    Args:
        values: Of each run; None where undefined.
        draws: (draws,) of the mean; NaN where undefined. None: no interval.
    """
    mean, sd = _mean_sd(values)
    return Figure(mean, sd, None if mean is None or draws is None else _percentiles(draws))


def difference(
    ours: Sequence[float | None], theirs: Sequence[float | None], draws: Values | None
) -> Figure:
    """Mean of our runs minus mean of theirs; ``draws`` (draws,) of that."""
    means = _mean_sd(ours)[0], _mean_sd(theirs)[0]
    if None in means:
        return Figure(None)
    return Figure(
        _number(means[0] - means[1]), None, None if draws is None else _percentiles(draws)
    )


def scan_figure(runs: Sequence[Sequence[float]]) -> Figure:
    """A figure of the scan from its values by run and background; NaN where undefined."""
    values = np.array(runs, float)
    if np.isnan(values).any():
        return Figure(None)
    mean, sd = _mean_sd(values.mean(axis=1).tolist())
    return Figure(mean, sd, _t_interval(values.mean(axis=0)))


def scan_difference(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> Figure:
    """Ours minus theirs, paired by background; arguments as of :func:`scan_figure`."""
    change = np.mean(ours, axis=0) - np.mean(theirs, axis=0)
    if np.isnan(change).any():
        return Figure(None)
    return Figure(_number(change.mean()), None, _t_interval(change))


def _mean_sd(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    if any(value is None for value in values):
        return None, None
    sd = _number(np.std(values, ddof=1)) if len(values) > 1 else None
    return _number(np.mean(values)), sd


def _percentiles(draws: Values) -> tuple[float, float] | None:
    known = draws[~np.isnan(draws)]
    # Where a draw lacks the objects it says nothing; of a minority nothing is said.
    if known.size < max(LEAST_DRAWS, draws.size / 2):
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return _number(low), _number(high)


def _t_interval(values: np.ndarray) -> tuple[float, float] | None:
    interval = t_interval(values)
    return None if interval is None else (interval[0], interval[1])


def _number(value: float) -> float:
    return round(float(value), 6)
