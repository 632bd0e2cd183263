"""The figure of the filter asymmetry check."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mindpad_mm.core.style import ACCENT, as_it_is
from mindpad_mm.diagnose.checks.filters.asymmetry import LayerFilters
from mindpad_mm.diagnose.maps import short_name

_SHOWN = 48
_ACROSS = 12


def draw_filters(name: str, layers: Sequence[LayerFilters]) -> Figure:
    """The mean filter of each convolution, and below them its asymmetry along x and y.

    Args:
        name: Name of the network.
        layers: Its convolutions in order; the filters of the first 48 are drawn.
    """
    shown = layers[:_SHOWN]
    rows = max(-(-len(shown) // _ACROSS), 1)
    figure = Figure((13.2, 1.25 * rows + 3.6), layout='constrained')
    FigureCanvasAgg(figure)
    more = f' (the first {_SHOWN} of {len(layers)})' if len(layers) > _SHOWN else ''
    figure.suptitle(f'Mean filters, {as_it_is(name)}{more}', fontsize=13)
    upper, lower = figure.subfigures(2, 1, height_ratios=[1.25 * rows, 3.0])
    grid = upper.subplots(rows, _ACROSS, squeeze=False)
    for axes in grid.flat:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    for number, (axes, layer) in enumerate(zip(grid.flat, shown), 1):
        _draw_filter(axes, layer, number)
    upper.supxlabel(
        'each on its own scale: brown below 0, green above; framed: strided and unevenly padded',
        fontsize=9,
    )
    _draw_asymmetry(lower.subplots(), layers)
    return figure


def _draw_asymmetry(axes: Axes, layers: Sequence[LayerFilters]) -> None:
    numbers = np.arange(1, len(layers) + 1)
    series = (('x', 'chance_x', -0.2, '#2f6db3'), ('y', 'chance_y', 0.2, '#8a8f98'))
    for name, by_chance, shift, colour in series:
        values = [getattr(layer, name) or 0.0 for layer in layers]
        limits = [getattr(layer, by_chance) or np.nan for layer in layers]
        axes.bar(numbers + shift, values, 0.38, color=colour, label=f'along {name}')
        label = 'by chance (95 %)' if name == 'x' else None
        axes.plot(numbers + shift, limits, 'k_', ms=8, mew=1.4, label=label)
    for number, layer in zip(numbers, layers):
        if any(layer.uneven):
            axes.axvspan(number - 0.5, number + 0.5, color=ACCENT, alpha=0.13, lw=0)
    axes.set_xlim(0.4, len(layers) + 0.6)
    axes.set_ylim(0, 1.02)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel('convolution; shaded: strided and unevenly padded', fontsize=9)
    axes.set_ylabel('asymmetry', fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[['top', 'right']].set_visible(False)
    axes.legend(fontsize=8, loc='center left', bbox_to_anchor=(1.0, 0.5), frameon=False)


def _draw_filter(axes: Axes, layer: LayerFilters, number: int) -> None:
    limit = np.abs(layer.mean).max() or 1.0
    axes.imshow(layer.mean, 'BrBG', vmin=-limit, vmax=limit)
    axes.set_title(
        f'{number}: {_shortest(layer.layer)}',
        fontsize=7,
        color=ACCENT if layer.flagged else 'black',
    )
    if any(layer.uneven):
        axes.spines[:].set_visible(True)
        axes.spines[:].set(color=ACCENT, linewidth=2.5)


def _shortest(name: str) -> str:
    """A short form of a layer's name, at most 14 characters."""
    for part in ('backbone.', 'features.', 'bbox_head.', 'neck.'):
        name = name.replace(part, '')
    if name.endswith('.conv'):  # of mmcv's ConvModule, all of them
        name = name[: -len('.conv')]
    return short_name(name, 14)
