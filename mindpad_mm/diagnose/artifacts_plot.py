"""The picture of :class:`mindpad_mm.diagnose.artifacts.Artifacts`."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure

from mindpad_mm.diagnose.artifacts import Artifacts, LayerResponse
from mindpad_mm.diagnose.maps import short_name

# Blue below the interior, red above it, white at it; the same in print and with any colour vision.
DIVERGING = 'RdBu_r'
MODE_COLOURS = {
    'zeros': '#00224e',
    'reflect': '#d6006c',
    'symmetric': '#e69f00',
    'replicate': '#009e73',
    'circular': '#56b4e9',
    'partial': '#8c510a',
}
"""One colour a mode in every picture; :data:`OTHER_COLOUR` for modes of the user's own."""
OTHER_COLOUR = '#7f7f7f'
_COLUMNS = 6
_SMALLEST_SHOWN = 8
_RANGE = 3.0


def draw_artifacts(result: Artifacts) -> Figure:
    """Mean maps of layers of growing depth, a row for each mode and input; the index by layer."""
    shown = _shown(result.responses[result.own])
    modes = list(result.responses)
    tall = 2.1 * len(_kinds(result, shown)) * len(modes)
    figure = Figure((12.5, tall + 5.4), layout='constrained')
    FigureCanvasAgg(figure)
    figure.suptitle(
        f'{result.title}, input {result.input_size[0]} x {result.input_size[1]}', fontsize=13
    )
    heights = [tall, 5.0] if shown else [0.01, 5.0]
    pictures, curves = figure.subfigures(2, 1, height_ratios=heights)
    if shown:
        _draw_maps(pictures, result, shown)
    above, below = curves.subplots(2, 1, sharex=True, gridspec_kw={'height_ratios': [3, 2]})
    _draw_index(above, result)
    _draw_aware(below, result)
    return figure


def _shown(layers: list[LayerResponse]) -> list[int]:
    """Layers to show, evenly over the depth, of those with room for a line to be seen."""
    large = [i for i, layer in enumerate(layers) if min(layer.shape[1:]) >= _SMALLEST_SHOWN]
    picks = np.linspace(0, len(large) - 1, min(_COLUMNS, len(large))).round().astype(int)
    return [large[pick] for pick in picks]


def _kinds(result: Artifacts, shown: list[int]) -> list[str]:
    """The inputs whose maps are shown; a network without biases answers a zero image by zeros."""
    maps = [layers[index].maps['zero'] for layers in result.responses.values() for index in shown]
    return [*(['zero'] if any(np.ptp(values) for values in maps) else []), 'random']


def _draw_maps(figure: SubFigure, result: Artifacts, shown: list[int]) -> None:
    rows = [(kind, mode) for kind in _kinds(result, shown) for mode in result.responses]
    axes = figure.subplots(len(rows), len(shown), squeeze=False)
    image = None
    for first, row, (kind, mode) in zip([True] + [False] * len(rows), axes, rows):
        for cell, index in zip(row, shown):
            layer = result.responses[mode][index]
            scale = _spread(result.responses[result.own][index].maps[kind])
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
    """One scale for all modes, taken from the network's own; 1 where that map is constant."""
    return float(mean_map.std()) or 1.0


def _draw_index(axes: Axes, result: Artifacts) -> None:
    for mode, layers in result.responses.items():
        colour = MODE_COLOURS.get(mode, OTHER_COLOUR)
        values = [np.nan if (v := layer.overall()) is None else v for layer in layers]
        own = mode == result.own
        axes.plot(values, '-o' if own else '--o', color=colour, ms=3.5, lw=1.5, label=mode)
    axes.set_ylim(0)
    axes.grid(axis='y', color='0.9')
    axes.set_ylabel('border-bias index\n(interior std. dev.)', fontsize=9)
    axes.set_title(
        'How far border lines stand from the interior, random inputs', fontsize=10, loc='left'
    )
    axes.legend(title='padding', fontsize=9, ncols=len(result.responses), loc='upper left')
    axes.tick_params(labelsize=8)


def _draw_aware(axes: Axes, result: Artifacts) -> None:
    count = len(result.responses)
    for number, (mode, layers) in enumerate(result.responses.items()):
        shares = [np.nan if r.aware is None else r.aware / r.shape[0] for r in layers]
        places = np.arange(len(layers)) + (number - (count - 1) / 2) * 0.8 / count
        axes.bar(places, shares, 0.8 / count, color=MODE_COLOURS.get(mode, OTHER_COLOUR))
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter('{x:.0%}')
    axes.grid(axis='y', color='0.9')
    axes.set_axisbelow(True)
    axes.set_title('Channels that know the border by their response alone', fontsize=10, loc='left')
    axes.set_ylabel('share of channels', fontsize=9)
    axes.tick_params(labelsize=8)
    layers = result.responses[result.own]
    step = -(-len(layers) // 48)
    axes.set_xticks(range(0, len(layers), step))
    names = [short_name(layer.name) for layer in layers[::step]]
    axes.set_xticklabels(names, rotation=90, fontsize=7)
