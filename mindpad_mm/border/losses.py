"""Means over objects and their intervals, by bootstrap over photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from scipy import stats

from mindpad_mm.border.probes import Probe

# With fewer photos, a bootstrap's interval would be far too narrow.
LEAST_PHOTOS = 5
_CONFIDENCE = 0.95

# Measures that are 0 or 1 for a single probe.
SHARES = ('lost_objects', 'lost_in_control')
# All distances of the verdict together, and all larger ones.
NEAR, BEYOND = 'near', 'beyond'
# COCO's limits, square roots of areas in pixels.
SIZES = {'small': (0, 32), 'medium': (32, 96), 'large': (96, np.inf)}


class Estimate(TypedDict):
    """A mean, its 95 % interval (None for fewer than five photos), and what it is made of."""

    mean: float | None
    interval: list[float] | None
    n: int
    photos: int


def measures(scores: Mapping[str, np.ndarray], found_thr: float) -> dict[str, np.ndarray]:
    """The measures of single probes.

    Args:
        scores: By view (``'cut'``, ``'open'``, ``'control'``), arrays of one shape, in 0..1; NaN where
            not scored, and so must every measure be.
        found_thr: Least score of a found object.

    Returns:
        By name, in the same shape: scores, differences of scores, and for shares 0, 1, or NaN where the
        object is not found in the open window.
    """
    cut, open_, control = scores['cut'], scores['open'], scores['control']
    found = open_ >= found_thr
    return {
        'open': open_,
        'cut': cut,
        'control': control,
        'border_loss': open_ - cut,
        'context_loss': open_ - control,
        'padding_loss': control - cut,
        'lost_objects': np.where(found, (cut < found_thr).astype(float), np.nan),
        'lost_in_control': np.where(found, (control < found_thr).astype(float), np.nan),
    }


class PhotoBootstrap:
    """Intervals of means over probes, by resampling whole photos.

    Probes of one photo are alike, so that photos, not probes, are what varies independently.

    Args:
        photos: (P,) the photo's number of each probe.
        draws: Number of resamplings.
        seed: Of the resamplings. Equal photos, draws and seed give the same resamplings, so that
            differences are paired.
    """

    def __init__(self, photos: np.ndarray, draws: int, seed: int) -> None:
        self._names, self._photo = np.unique(photos, return_inverse=True)
        count = len(self._names)
        rng = np.random.default_rng([seed, 5])
        self._weights = (
            rng.multinomial(count, np.full(count, 1 / count), size=draws) if count else None
        )

    def estimate(
        self, values: np.ndarray, chosen: np.ndarray | None = None, share: bool = False
    ) -> Estimate:
        """The mean over probes and its interval.

        Args:
            values: (P,) one for each probe; NaN is left out.
            chosen: (P,) bool, the probes to use. Default: all.
            share: Whether the values are 0 and 1: then an interval is never of no width.
        """
        use = np.isfinite(values)
        if chosen is not None:
            use &= chosen
        used, photo = values[use].astype(np.float64), self._photo[use]
        photos = len(np.unique(photo))
        if not len(used):
            return Estimate(mean=None, interval=None, n=0, photos=0)
        mean = float(used.mean())
        interval = None
        if photos >= LEAST_PHOTOS and self._weights is not None:
            sums = np.bincount(photo, used, len(self._names))
            counts = np.bincount(photo, minlength=len(self._names))
            drawn = self._weights @ counts
            means = (self._weights @ sums)[drawn > 0] / drawn[drawn > 0]
            tails = (1 - _CONFIDENCE) / 2
            low, high = np.quantile(means, (tails, 1 - tails))
            # Percentiles of few photos are too narrow, as a normal interval without Student's t is.
            wider = stats.t.ppf(1 - tails, photos - 1) / stats.norm.ppf(1 - tails)
            wider *= np.sqrt(photos / (photos - 1))
            low, high = mean + (low - mean) * wider, mean + (high - mean) * wider
            if share:
                low, high = max(low, 0.0), min(high, 1.0)
            if share and used.min() == used.max():
                # All photos alike: as many independent photos, none of them different.
                exact = stats.binomtest(photos if mean else 0, photos).proportion_ci(_CONFIDENCE)
                low, high = exact.low, exact.high
            interval = [round(float(low), 5), round(float(high), 5)]
        return Estimate(mean=round(mean, 5), interval=interval, n=len(used), photos=photos)


class VariantStatistics(TypedDict):
    """All estimates of one variant.

    Attributes:
        by_side: By side (``'all'`` first), by distance in pixels as text (``'near'``: all distances of
            the verdict together, ``'beyond'``: all larger ones), by measure.
        differences: The same for ``'all'`` sides: this variant minus the first, paired by probe; and
            ``first_padding_loss``, that of the first on the same probes. Empty for the first.
        by_size: The near measures of small (below 32 px), medium (to 96 px) and large objects; sizes
            are square roots of areas in pixels of the network's input.
        fills: The near context and padding loss with each further fill.
        placebo: Score of the open window minus that of a second open window; None without placebo.
    """

    by_side: dict[str, dict[str, dict[str, Estimate]]]
    differences: dict[str, dict[str, Estimate]]
    by_size: dict[str, dict[str, Estimate]]
    fills: dict[str, dict[str, Estimate]]
    placebo: Estimate | None


def variant_statistics(
    names: Sequence[str],
    views: Sequence[str],
    scores: np.ndarray,
    probes: Sequence[Probe],
    sizes: np.ndarray,
    settings: Mapping[str, Any],
) -> dict[str, VariantStatistics]:
    """The estimates of every variant, by its name.

    Args:
        names: Of the variants.
        views: Of the windows.
        scores: (variants, probes, views) float64 in 0..1; NaN where not scored.
        probes: The probes.
        sizes: (probes,) of their objects, pixels.
        settings: ``near``, ``sides``, ``distances``, ``fill``, ``found_thr``, ``draws``, ``seed``.
    """
    distance = np.array([probe.distance for probe in probes], int)
    side = np.array([probe.side for probe in probes], str)
    everything = np.ones(len(probes), bool)
    at = {NEAR: distance <= settings['near'], BEYOND: distance > settings['near']}
    at |= {str(d): distance == d for d in settings['distances']}
    on = {'all': everything} | {each: side == each for each in settings['sides']}
    bootstrap = PhotoBootstrap(
        np.array([probe.photo for probe in probes], int), settings['draws'], settings['seed']
    )

    def estimates(values: Mapping[str, np.ndarray], chosen: np.ndarray) -> dict[str, Estimate]:
        return {
            name: bootstrap.estimate(each, chosen, name in SHARES) for name, each in values.items()
        }

    by_variant = {}
    first: dict[str, np.ndarray] | None = None
    for name, rows in zip(names, scores):
        by_view = dict(zip(views, rows.T))
        values = measures(by_view, settings['found_thr'])
        differences = {}
        if first is None:
            first = values
        else:
            changes = {key: values[key] - first[key] for key in values}
            differences = {
                key: {
                    **{m: bootstrap.estimate(change, where) for m, change in changes.items()},
                    # On the same probes: this variant may have been scored on fewer.
                    'first_padding_loss': bootstrap.estimate(
                        np.where(np.isfinite(values['cut']), first['padding_loss'], np.nan), where
                    ),
                }
                for key, where in at.items()
            }
        fills = {}
        for fill in settings['fill'][1:]:
            other = measures(
                {**by_view, 'control': by_view[f'control {fill}']}, settings['found_thr']
            )
            losses = {key: other[key] for key in ('context_loss', 'padding_loss')}
            fills[fill] = estimates(losses, at[NEAR])
        placebo = None
        if 'placebo' in by_view:
            placebo = bootstrap.estimate(by_view['open'] - by_view['placebo'])
        by_variant[name] = VariantStatistics(
            by_side={
                each: {key: estimates(values, where & here) for key, where in at.items()}
                for each, here in on.items()
            },
            differences=differences,
            by_size={
                key: estimates(values, at[NEAR] & (sizes >= low) & (sizes < high))
                for key, (low, high) in SIZES.items()
            },
            fills=fills,
            placebo=placebo,
        )
    return by_variant
