"""The picture of :class:`mindpad_mm.diagnose.padding_error.PaddingError`."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure

from mindpad_mm.core.style import COLOURS
from mindpad_mm.diagnose.artifacts_plot import MODE_COLOURS, OTHER_COLOUR
from mindpad_mm.diagnose.deviation import LayerError
from mindpad_mm.diagnose.maps import short_name
from mindpad_mm.diagnose.padding_error import PaddingError

_SMALLEST_SHOWN = 12


def draw_padding_error(result: PaddingError) -> Figure:
    """The ranking, the deviation by layer and by depth, and where in one layer's map it stands."""
    layer = _telling_layer(result)
    colours = {mode: MODE_COLOURS.get(mode, OTHER_COLOUR) for mode in result.modes}
    columns = min(6, len(result.modes))
    rows = math.ceil(len(result.modes) / columns)
    figure = Figure((12.5, 7.6 + 2.5 * rows), layout='constrained')
    FigureCanvasAgg(figure)
    figure.suptitle(
        f'{result.title}, input {result.input_size[0]} x {result.input_size[1]}', fontsize=13
    )
    above, middle, below = figure.subfigures(3, 1, height_ratios=[3.4, 4.2, 2.5 * rows])
    ranking, depth = above.subplots(1, 2)
    _draw_ranking(ranking, result, colours)
    _draw_depth(depth, result, layer, colours)
    _draw_layers(middle.subplots(), result, colours)
    _draw_maps(below, result, layer, rows, columns)
    return figure


def _telling_layer(result: PaddingError) -> LayerError:
    """The deepest layer with room to see a profile; of equals, the one that deviates most."""
    large = [layer for layer in result.layers if min(layer.size) >= _SMALLEST_SHOWN]
    worst = result.ranking()[-1]
    return max(
        large or result.layers,
        key=lambda layer: (layer.stride, layer.rings(result.own or worst)[0]),
    )


def _draw_ranking(axes: Axes, result: PaddingError, colours: dict[str, str]) -> None:
    ranking = result.ranking()[::-1]
    for place, mode in enumerate(ranking):
        values = result.by_photo(mode)
        axes.barh(place, values.mean(), color=colours[mode], height=0.7)
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
    labels = [f'{mode} (has it)' if mode == result.own else mode for mode in ranking]
    axes.set_yticks(range(len(ranking)), labels, fontsize=9)
    axes.set_xlim(0, 1.12 * max(result.by_photo(mode).max() for mode in ranking))
    axes.set_title(
        'At the outermost cells, mean over layers (dots: photos)', fontsize=10, loc='left'
    )
    axes.set_xlabel('deviation from the true continuation (std. dev.)', fontsize=9)
    axes.tick_params(axis='x', labelsize=8)


def _draw_depth(
    axes: Axes, result: PaddingError, layer: LayerError, colours: dict[str, str]
) -> None:
    for mode in result.modes:
        rings = layer.rings(mode)
        own = mode == result.own
        pixels = (np.arange(len(rings)) + 0.5) * min(layer.stride)
        axes.plot(
            pixels, rings, '-o' if own else '--o', color=colours[mode], lw=1.5, ms=3.5, label=mode
        )
    axes.set_xlim(0)
    axes.set_ylim(0)
    axes.grid(axis='y', color='0.9')
    axes.set_title(f'How deep it reaches in {short_name(layer.name, 40)}', fontsize=10, loc='left')
    axes.set_xlabel('distance to the nearest border (input px)', fontsize=9)
    axes.set_ylabel('deviation (std. dev.)', fontsize=9)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=8)


def _draw_layers(axes: Axes, result: PaddingError, colours: dict[str, str]) -> None:
    for mode in result.modes:
        own = mode == result.own
        values = [layer.rings(mode)[0] for layer in result.layers]
        axes.plot(values, '-o' if own else '--o', color=colours[mode], lw=1.3, ms=3, label=mode)
    axes.set_ylim(0)
    axes.margins(x=0.01)
    axes.grid(axis='y', color='0.9')
    axes.set_title('At the outermost cells, layer by layer', fontsize=10, loc='left')
    axes.set_ylabel('deviation (std. dev.)', fontsize=9)
    axes.tick_params(labelsize=8)
    step = math.ceil(len(result.layers) / 48)
    names = [short_name(layer.name) for layer in result.layers[::step]]
    axes.set_xticks(range(0, len(result.layers), step), names, rotation=90, fontsize=7)


def _draw_maps(
    figure: SubFigure, result: PaddingError, layer: LayerError, rows: int, columns: int
) -> None:
    cells = figure.subplots(rows, columns, squeeze=False).ravel()
    most = max(layer.maps[mode].max() for mode in result.modes)
    own_most = layer.maps[result.own].max() if result.own in result.modes else most
    image = None
    for cell, mode in zip(cells, result.ranking()):
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
    for cell in cells[len(result.modes) :]:
        cell.set_axis_off()
    bar = figure.colorbar(image, ax=list(cells), fraction=0.02, pad=0.01, extend='max')
    bar.set_label('deviation (std. dev.)', fontsize=9)
    bar.ax.tick_params(labelsize=8)
    figure.suptitle(
        f'Where: {short_name(layer.name, 40)}, {layer.size[0]} x {layer.size[1]} cells '
        f'of {layer.stride[0]} px',
        fontsize=10,
        x=0.01,
        ha='left',
    )
