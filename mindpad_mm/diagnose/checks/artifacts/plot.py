"""The figure of the artifacts check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure

from mindpad_mm.core.style import as_it_is
from mindpad_mm.diagnose.checks.artifacts.layer_response import LayerResponse
from mindpad_mm.diagnose.maps import short_name
from mindpad_mm.diagnose.mode_colours import mode_colour

# Blue below the median, red above it, white at it; also readable with colour-vision deficiency.
DIVERGING = 'RdBu_r'
_COLUMNS = 6
_SMALLEST_SHOWN = 8
_RANGE = 3.0

Responses = Mapping[str, Sequence[LayerResponse]]
"""By padding mode, the network's own first; layers in order of execution."""


def draw_artifacts(title: str, input_size: tuple[int, int], responses: Responses) -> Figure:
    """Mean maps of layers of increasing depth for each input and mode; below, the index by layer.

    Args:
        title: Title of the figure.
        input_size: (height, width), pixels.
        responses: The responses of each layer by mode, the network's own mode first.
    """
    shown = _shown(responses[_own(responses)])
    modes = list(responses)
    tall = 2.1 * len(_kinds(responses, shown)) * len(modes)
    figure = Figure((12.5, tall + 5.4), layout='constrained')
    FigureCanvasAgg(figure)
    figure.suptitle(f'{as_it_is(title)}, input {input_size[0]} x {input_size[1]}', fontsize=13)
    heights = [tall, 5.0] if shown else [0.01, 5.0]
    pictures, curves = figure.subfigures(2, 1, height_ratios=heights)
    if shown:
        _draw_maps(pictures, responses, shown)
    above, below = curves.subplots(2, 1, sharex=True, gridspec_kw={'height_ratios': [3, 2]})
    _draw_index(above, responses)
    _draw_aware(below, responses)
    return figure


def _own(responses: Responses) -> str:
    """The network's own mode comes first."""
    return next(iter(responses))


def _shown(layers: list[LayerResponse]) -> list[int]:
    """Indices of the layers to show: maps of 8 x 8 cells or more, spread evenly over the depth."""
    large = [i for i, layer in enumerate(layers) if min(layer.shape[1:]) >= _SMALLEST_SHOWN]
    picks = np.linspace(0, len(large) - 1, min(_COLUMNS, len(large))).round().astype(int)
    return [large[pick] for pick in picks]


def _kinds(responses: Responses, shown: list[int]) -> list[str]:
    """The inputs to show; the zero image is left out if all responses to it are constant."""
    maps = [layers[index].maps['zero'] for layers in responses.values() for index in shown]
    return [*(['zero'] if any(np.ptp(values) for values in maps) else []), 'random']


def _draw_maps(figure: SubFigure, responses: Responses, shown: list[int]) -> None:
    rows = [(kind, mode) for kind in _kinds(responses, shown) for mode in responses]
    axes = figure.subplots(len(rows), len(shown), squeeze=False)
    image = None
    for first, row, (kind, mode) in zip([True] + [False] * len(rows), axes, rows):
        for cell, index in zip(row, shown):
            layer = responses[mode][index]
            scale = _spread(responses[_own(responses)][index].maps[kind])
            mean_map = layer.maps[kind]
            image = cell.imshow(
                (mean_map - np.median(mean_map)) / scale,
                DIVERGING,
                vmin=-_RANGE,
                vmax=_RANGE,
                interpolation='nearest',
                aspect='auto',
            )
            cell.set_xticks([])
            cell.set_yticks([])
            if first:
                _, height, width = layer.shape
                cell.set_title(f'{short_name(layer.name)}\n{height} x {width}', fontsize=8.5)
        what = 'zero image' if kind == 'zero' else 'mean of random'
        row[0].set_ylabel(f'{what}\npadded by {mode}', fontsize=9)
    bar = figure.colorbar(image, ax=axes, fraction=0.015, pad=0.01)
    bar.set_label('mean over channels, minus its median,\nin standard deviations', fontsize=9)
    bar.ax.tick_params(labelsize=8)


def _spread(mean_map: np.ndarray) -> float:
    """The standard deviation of a map, used as scale; 1 if the map is constant."""
    return float(mean_map.std()) or 1.0


def _draw_index(axes: Axes, responses: Responses) -> None:
    for mode, layers in responses.items():
        colour = mode_colour(mode)
        values = [np.nan if (v := layer.overall()) is None else v for layer in layers]
        own = mode == _own(responses)
        axes.plot(values, '-o' if own else '--o', color=colour, ms=3.5, lw=1.5, label=mode)
    axes.set_ylim(0)
    axes.grid(axis='y', color='0.9')
    axes.set_ylabel('border-bias index\n(interior std. dev.)', fontsize=9)
    axes.set_title('Difference between border and interior, random inputs', fontsize=10, loc='left')
    axes.legend(title='padding', fontsize=9, ncols=len(responses), loc='upper left')
    axes.tick_params(labelsize=8)


def _draw_aware(axes: Axes, responses: Responses) -> None:
    count = len(responses)
    for number, (mode, layers) in enumerate(responses.items()):
        shares = [np.nan if r.aware is None else r.aware / r.shape[0] for r in layers]
        places = np.arange(len(layers)) + (number - (count - 1) / 2) * 0.8 / count
        axes.bar(places, shares, 0.8 / count, color=mode_colour(mode))
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter('{x:.0%}')
    axes.grid(axis='y', color='0.9')
    axes.set_axisbelow(True)
    axes.set_title('Padding-aware channels', fontsize=10, loc='left')
    axes.set_ylabel('share of channels', fontsize=9)
    axes.tick_params(labelsize=8)
    layers = responses[_own(responses)]
    step = -(-len(layers) // 48)
    axes.set_xticks(range(0, len(layers), step))
    names = [short_name(layer.name) for layer in layers[::step]]
    axes.set_xticklabels(names, rotation=90, fontsize=7)
