"""Confidence intervals of the difference between two settings with a few trainings each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mindpad_mm.core.intervals import t_interval

VERDICTS = ('higher', 'lower', 'undecided')


def summary(values: Sequence[float]) -> dict[str, float | None]:
    """``mean`` and sample standard deviation ``sd`` (None for one value) of a metric over seeds."""
    array = np.asarray(values, float)
    sd = round(float(array.std(ddof=1)), 6) if len(array) > 1 else None
    return {'mean': round(float(array.mean()), 6), 'sd': sd}


def paired_difference(
    ours: Sequence[float],
    theirs: Sequence[float],
    our_draws: np.ndarray | None = None,
    their_draws: np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Difference of a metric between two settings (ours minus theirs), paired by seed.

    There are two 95 % intervals. ``seeds`` is Student's t interval over the differences by seed; it
    covers other trainings on this test set. ``images`` is a bootstrap interval; each draw resamples
    the test images and the seeds, in the same way for both settings. It also covers other test sets,
    but with few seeds it understates the variation between seeds.

    Args:
        ours: (S,) our values of the metric by seed.
        theirs: (S,) their values, in the same order of seeds.
        our_draws: (S, B) our values on resampled test sets; NaN where a draw has no objects.
        their_draws: (S, B) their values on the same resampled test sets. Default: no ``images``
            interval.
        seed: Seed of the resampling of seeds.

    Returns:
        ``mean``; ``by_seed``; ``seeds`` and ``images``, each ``[low, high]`` or None; ``verdict``:
        ``higher`` or ``lower`` if all available intervals exclude 0, otherwise ``undecided``.
    """
    change = np.subtract(ours, theirs)
    intervals = {'seeds': t_interval(change), 'images': None}
    if our_draws is not None and their_draws is not None:
        draws = our_draws - their_draws
        rng = np.random.default_rng([seed, len(draws)])
        chosen = rng.integers(len(draws), size=draws.shape)
        means = np.take_along_axis(draws, chosen, axis=0).mean(axis=0)
        low, high = np.nanpercentile(means, [2.5, 97.5])
        intervals['images'] = [round(float(low), 6), round(float(high), 6)]
    known = [interval for interval in intervals.values() if interval is not None]
    verdict = 'undecided'
    # A single seed gives no interval over seeds, and so no verdict.
    if intervals['seeds'] is not None:
        if all(low > 0 for low, _ in known):
            verdict = 'higher'
        elif all(high < 0 for _, high in known):
            verdict = 'lower'
    return {
        'mean': round(float(change.mean()), 6),
        'by_seed': [round(float(value), 6) for value in change],
        **intervals,
        'verdict': verdict,
    }
