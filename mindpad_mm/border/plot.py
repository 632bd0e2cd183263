"""Pictures of a measurement: loss against distance, by variant, by cause and by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mindpad_mm.border.losses import Estimate, VariantStatistics
from mindpad_mm.core.style import LINES, MARKERS, as_it_is

# More would hide each other.
_MOST_BANDS = 3


def draw_losses(statistics: Mapping[str, VariantStatistics], settings: Mapping[str, Any]) -> Figure:
    """Three pictures in a row; bands and bars are 95 % intervals.

    Left: border loss of every variant; of more than three, only the first has its band. Middle: of the
    first, context loss and padding loss on top of each other. Right: of the first, border loss by side.

    Args:
        statistics: By variant, the first is the detector as trained.
        settings: ``distances``, ``sides`` and ``near`` are used.
    """
    figure = Figure((14, 4.6), layout='constrained')
    variants, causes, sides = figure.subplots(1, 3, sharey=True)
    distances = list(settings['distances'])
    for index, (name, each) in enumerate(statistics.items()):
        band = index == 0 or len(statistics) <= _MOST_BANDS
        found = each['by_side']['all']
        _draw_curve(variants, distances, found, 'border_loss', name, index, band)
    own = next(iter(statistics.values()))
    _draw_causes(causes, distances, own['by_side']['all'])
    for index, side in enumerate(settings['sides']):
        _draw_curve(sides, distances, own['by_side'][side], 'border_loss', side, index, band=False)
    first = as_it_is(next(iter(statistics)))
    titles = ('What the border costs', f'{first}: by cause', f'{first}: by side')
    for axes, title in zip((variants, causes, sides), titles):
        axes.axhline(0, color='#555', linewidth=1)
        axes.axvspan(-1, settings['near'], color='#000', alpha=0.04, linewidth=0)
        axes.set(title=title, xlabel='distance between object and border, pixels')
        axes.set_xlim(-1, max(distances) + 1)
        axes.legend(frameon=False, fontsize=9)
    variants.set_ylabel('loss of confidence')
    return figure


def _draw_curve(
    axes: Axes,
    distances: Sequence[int],
    by_distance: Mapping[str, Mapping[str, Estimate]],
    measure: str,
    label: str,
    index: int,
    band: bool = True,
) -> None:
    means, lows, highs = _curve(distances, by_distance, measure)
    colour, marker = LINES[index % len(LINES)], MARKERS[index % len(MARKERS)]
    axes.plot(distances, means, color=colour, marker=marker, markersize=4, label=as_it_is(label))
    if band:
        axes.fill_between(distances, lows, highs, color=colour, alpha=0.13, linewidth=0)


def _draw_causes(
    axes: Axes, distances: Sequence[int], by_distance: Mapping[str, Mapping[str, Estimate]]
) -> None:
    context, _, _ = _curve(distances, by_distance, 'context_loss')
    total, lows, highs = _curve(distances, by_distance, 'border_loss')
    axes.fill_between(
        distances, 0, context, color=LINES[4], alpha=0.5, linewidth=0, label='missing context'
    )
    axes.fill_between(
        distances, context, total, color=LINES[1], alpha=0.6, linewidth=0, label='padding'
    )
    axes.plot(distances, total, color='#222', label='border loss')
    errors = np.stack([total - lows, highs - total])
    axes.errorbar(distances, total, yerr=errors, color='#222', fmt='none', capsize=3, linewidth=1)


def _curve(
    distances: Sequence[int], by_distance: Mapping[str, Mapping[str, Estimate]], measure: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means and the ends of their intervals by distance; NaN where there are none."""
    rows = []
    for distance in distances:
        estimate = by_distance[str(distance)][measure]
        mean = np.nan if estimate['mean'] is None else estimate['mean']
        low, high = estimate['interval'] or (np.nan, np.nan)
        rows.append((mean, low, high))
    means, lows, highs = np.array(rows, float).reshape(-1, 3).T
    return means, lows, highs
