"""How sure a difference between two settings is, of which there are a few trainings each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mindpad_mm.core.intervals import t_interval

VERDICTS = ('higher', 'lower', 'undecided')


def summary(values: Sequence[float]) -> dict[str, float | None]:
    """``mean`` and ``sd`` (n - 1; None of one value) of one figure over the seeds."""
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
    """Ours minus theirs, seed by seed.

    Two intervals, 95 % each: ``seeds``, Student's t over the seeds' differences, says how sure it
    is for another training on this test set; ``images``, from a bootstrap that draws test images,
    the same for both, and seeds, the same for both, says how sure it is for another test set as
    well. Of few seeds, the latter understates what the seeds contribute.

    Args:
        ours, theirs: (S,) a figure by seed, in one order.
        our_draws, their_draws: (S, B) the same figures on resampled test sets; NaN where a draw
            has nothing to find. Default: no ``images`` interval.
        seed: Of the draw of seeds.

    Returns:
        ``mean``; ``by_seed``; ``seeds`` and ``images`` ``[low, high]`` or None; ``verdict``:
        ``higher`` or ``lower`` where no interval there is holds 0, else ``undecided``.
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
    # One training says nothing about the next.
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
