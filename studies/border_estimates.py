"""Means over the trainings of one setting, with intervals over seeds and photos."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import numpy as np

from mindpad_mm.border import SHARES
from mindpad_mm.border.losses import Estimate, PhotoBootstrap, measures
from mindpad_mm.core.intervals import t_interval
from studies.border_grid import Cell, Lights, grid
from studies.border_results import FOUND_THR, BorderResults

DISTANCES = (0, 4, 8, 12, 16, 24, 32, 48)
NEAR = 16
_DRAWS = 2000
# Two trainings tell next to nothing of how much a third would differ.
_LEAST_TRAININGS = 3


def estimate(values: np.ndarray, photos: np.ndarray, share: bool = False) -> Estimate:
    """The mean of a measure over trainings and probes, and its 95 % interval.

    Two intervals are joined as independent errors are: a bootstrap over photos, the same for all
    trainings, and, of three trainings or more, Student's t over the means of the trainings.

    Args:
        values: (S, P) by training and probe; NaN is left out.
        photos: (P,) the photo of each probe.
        share: Whether the values are 0 and 1.

    Returns:
        As :meth:`PhotoBootstrap.estimate`; of one or two trainings, the interval is over photos alone.
    """
    found = _bootstrap(photos.tobytes(), len(values)).estimate(values.ravel(), share=share)
    known = np.isfinite(values).any(1)
    if found['interval'] is None or known.sum() < _LEAST_TRAININGS:
        return found
    across = t_interval(np.nanmean(values[known], 1))
    assert across is not None
    mean, reach = found['mean'], (across[1] - across[0]) / 2
    assert mean is not None
    low, high = found['interval']
    low, high = mean - math.hypot(mean - low, reach), mean + math.hypot(high - mean, reach)
    if share:
        low, high = max(low, 0.0), min(high, 1.0)
    return Estimate(
        mean=mean, interval=[round(low, 5), round(high, 5)], n=found['n'], photos=found['photos']
    )


@functools.lru_cache(maxsize=32)
def _bootstrap(photos: bytes, trainings: int) -> PhotoBootstrap:
    return PhotoBootstrap(np.tile(np.frombuffer(photos, np.int64), trainings), _DRAWS, 0)


@dataclasses.dataclass(frozen=True)
class Group:
    """The measured trainings of one setting: all seeds.

    Attributes:
        results: The measurements.
        lights, mode, size: The setting.
        seeds: Use at most these. Default: all.
    """

    results: BorderResults
    lights: Lights
    mode: str
    size: int = 128
    seeds: tuple[int, ...] | None = None

    @property
    def cells(self) -> list[Cell]:
        """Its measured trainings."""
        return [cell for cell in self.planned if self.results.done(cell)]

    @property
    def planned(self) -> list[Cell]:
        """All of its trainings in the grid."""
        return [
            cell
            for cell in grid()
            if (cell.lights, cell.mode, cell.size) == (self.lights, self.mode, self.size)
            and (self.seeds is None or cell.seed in self.seeds)
        ]

    def values(self, test_mode: str) -> dict[str, np.ndarray]:
        """(S, P) of each measure, tested in a mode."""
        found = [measures(self.results.scores(cell, test_mode), FOUND_THR) for cell in self.cells]
        return {name: np.array([each[name] for each in found]) for name in found[0]}

    def estimate(
        self, measure: str, test_mode: str | None = None, where: Callable[..., np.ndarray] | None = None,
        against: str | None = None,
    ) -> Estimate:  # fmt: skip
        """A measure of the trainings, in one mode or as the difference between two.

        Args:
            measure: A key of :func:`mindpad_mm.border.losses.measures`.
            test_mode: The mode of the test. Default: that of the training.
            where: Takes the probes' ``distance`` and ``side``, (P,) each, and says which to use.
                Default: all.
            against: Another test mode, which is subtracted, probe by probe.
        """
        probes = self.results.probes(self.size)
        values = self.values(test_mode or self.mode)[measure]
        if against is not None:
            values = values - self.values(against)[measure]
        if where is not None:
            values = values[:, where(probes['distance'], probes['side'])]
            photos = probes['photo'][where(probes['distance'], probes['side'])]
        else:
            photos = probes['photo']
        share = measure in SHARES and against is None
        return estimate(values, np.ascontiguousarray(photos, np.int64), share)


def at(distance: int) -> Callable[..., np.ndarray]:
    """Probes at one distance."""
    return lambda distances, _sides: distances == distance


def within(limit: int = NEAR, sides: Sequence[str] = ()) -> Callable[..., np.ndarray]:
    """Probes at most this far from the cut, on some sides or all."""
    return lambda distances, of: (distances <= limit) & (np.isin(of, sides) if sides else True)
