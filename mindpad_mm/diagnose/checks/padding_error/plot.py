"""The figure of the padding error check."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure

from mindpad_mm.core.style import COLOURS, as_it_is
from mindpad_mm.diagnose.checks.padding_error.deviation import LayerError
from mindpad_mm.diagnose.maps import short_name
from mindpad_mm.diagnose.mode_colours import mode_colour

_SMALLEST_SHOWN = 12


def draw_padding_error(
    title: str,
    layers: Sequence[LayerError],
    by_photo: Mapping[str, np.ndarray],
    ranking: Sequence[str],
    own: str | None,
) -> Figure:
    """The ranking, the deviation by layer and by distance to the border, and the map of one layer.

    Args:
        title: Title of the figure.
        layers: The deviation of each layer, in order of execution.
        by_photo: By padding mode, (P,) deviation in the outermost cells for each photo.
        ranking: The modes, smallest deviation first.
        own: The network's own mode; None if no layer pads.
    """
    layer = _example_layer(layers, own if own in ranking else ranking[-1])
    columns = min(6, len(by_photo))
    rows = math.ceil(len(by_photo) / columns)
    figure = Figure((12.5, 7.6 + 2.5 * rows), layout='constrained')
    FigureCanvasAgg(figure)
    figure.suptitle(as_it_is(title), fontsize=13)
    above, middle, below = figure.subfigures(3, 1, height_ratios=[3.4, 4.2, 2.5 * rows])
    bars, depth = above.subplots(1, 2)
    _draw_ranking(bars, by_photo, ranking, own)
    _draw_depth(depth, layer, by_photo, own)
    _draw_layers(middle.subplots(), layers, by_photo, own)
    _draw_maps(below.subplots(rows, columns, squeeze=False).ravel(), below, layer, ranking, own)
    return figure


def _example_layer(layers: Sequence[LayerError], mode: str) -> LayerError:
    """The deepest layer with a map of 12 x 12 cells or more; of equals, the largest deviation."""
    large = [layer for layer in layers if min(layer.size) >= _SMALLEST_SHOWN]
    return max(large or layers, key=lambda layer: (layer.stride, layer.rings(mode)[0]))


def _draw_ranking(
    axes: Axes, by_photo: Mapping[str, np.ndarray], ranking: Sequence[str], own: str | None
) -> None:
    # The first bar is at the bottom.
    modes = ranking[::-1]
    for place, mode in enumerate(modes):
        values = by_photo[mode]
        axes.barh(place, values.mean(), color=mode_colour(mode), height=0.7)
        axes.plot(
            values, np.full(len(values), place), 'o', mfc='white', mec='0.25', ms=3.5, mew=0.8
        )
        axes.annotate(
            f'{values.mean():.2f}',
            (values.max(), place),
            (6, 0),
            textcoords='offset points',
            va='center',
            fontsize=9,
        )
    labels = [f'{mode} (own)' if mode == own else mode for mode in modes]
    axes.set_yticks(range(len(modes)), labels, fontsize=9)
    axes.set_xlim(0, 1.12 * max(by_photo[mode].max() for mode in modes))
    axes.set_title(
        'In the outermost cells, mean over layers (dots: photos)', fontsize=10, loc='left'
    )
    axes.set_xlabel('deviation from the uncropped photo (std. dev.)', fontsize=9)
    axes.tick_params(axis='x', labelsize=8)


def _draw_depth(axes: Axes, layer: LayerError, modes: Iterable[str], own: str | None) -> None:
    for mode in modes:
        rings = layer.rings(mode)
        pixels = (np.arange(len(rings)) + 0.5) * min(layer.stride)
        style = '-o' if mode == own else '--o'
        axes.plot(pixels, rings, style, color=mode_colour(mode), lw=1.5, ms=3.5, label=mode)
    axes.set_xlim(0)
    axes.set_ylim(0)
    axes.grid(axis='y', color='0.9')
    axes.set_title(
        f'By distance to the border in {short_name(layer.name, 40)}', fontsize=10, loc='left'
    )
    axes.set_xlabel('distance to the nearest border (input px)', fontsize=9)
    axes.set_ylabel('deviation (std. dev.)', fontsize=9)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=8)


def _draw_layers(
    axes: Axes, layers: Sequence[LayerError], modes: Iterable[str], own: str | None
) -> None:
    for mode in modes:
        values = [layer.rings(mode)[0] for layer in layers]
        style = '-o' if mode == own else '--o'
        axes.plot(values, style, color=mode_colour(mode), lw=1.3, ms=3, label=mode)
    axes.set_ylim(0)
    axes.margins(x=0.01)
    axes.grid(axis='y', color='0.9')
    axes.set_title('In the outermost cells, layer by layer', fontsize=10, loc='left')
    axes.set_ylabel('deviation (std. dev.)', fontsize=9)
    axes.tick_params(labelsize=8)
    step = math.ceil(len(layers) / 48)
    names = [short_name(layer.name) for layer in layers[::step]]
    axes.set_xticks(range(0, len(layers), step), names, rotation=90, fontsize=7)


def _draw_maps(
    cells: Sequence[Axes],
    figure: SubFigure,
    layer: LayerError,
    ranking: Sequence[str],
    own: str | None,
) -> None:
    most = max(layer.maps[mode].max() for mode in ranking)
    own_most = layer.maps[own].max() if own in ranking else most
    image = None
    for cell, mode in zip(cells, ranking):
        image = cell.imshow(
            layer.maps[mode],
            COLOURS,
            vmin=0,
            vmax=min(most, 1.2 * own_most),
            interpolation='nearest',
        )
        cell.set_title(mode, fontsize=9)
    for cell in cells:
        cell.set_xticks([])
        cell.set_yticks([])
    for cell in cells[len(ranking) :]:
        cell.set_axis_off()
    bar = figure.colorbar(image, ax=list(cells), fraction=0.02, pad=0.01, extend='max')
    bar.set_label('deviation (std. dev.)', fontsize=9)
    bar.ax.tick_params(labelsize=8)
    figure.suptitle(
        f'Map of {short_name(layer.name, 40)}: {layer.size[0]} x {layer.size[1]} cells '
        f'of {layer.stride[0]} px',
        fontsize=10,
        x=0.01,
        ha='left',
    )
