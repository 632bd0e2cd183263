"""The figure of the evenness check."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from mindpad_mm.core.style import ACCENT, as_it_is
from mindpad_mm.diagnose.border_bias import SIDES
from mindpad_mm.diagnose.strides import SizeSearch, StridedLayer, by_text

_NEUTRAL = '#dfe5ee'


def draw_evenness(
    name: str, input_size: tuple[int, int], layers: Sequence[StridedLayer], search: SizeSearch
) -> Figure:
    """The padding that each strided layer reads, and below it how even nearby input sizes are.

    Args:
        name: Name of the network.
        input_size: (height, width), pixels.
        layers: The strided layers at this input size.
        search: Evenness at nearby input sizes.
    """
    rows = max(len(layers), 1)
    figure = Figure((11, 1.9 + 0.3 * rows + 1.6), layout='constrained')
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(h_pad=0.1)
    figure.suptitle(f'Padding that strided layers read, {as_it_is(name)}', fontsize=13)
    upper, lower = figure.subplots(2, 1, height_ratios=[0.3 * rows + 0.5, 1.6])
    _draw_layers(upper, input_size, layers)
    _draw_sizes(lower, input_size, search)
    return figure


def _draw_layers(axes: Axes, input_size: tuple[int, int], layers: Sequence[StridedLayer]) -> None:
    colours = np.zeros((max(len(layers), 1), 4))
    for row, layer in enumerate(layers):
        top, bottom, left, right = layer.consumed
        colours[row] = [bottom > top, top > bottom, right > left, left > right]
        # Mark the side at which less padding is read.
        for column, used in enumerate(layer.consumed):
            text = f'{used} of {layer.slide.pads[column]}'
            strong = 'bold' if colours[row][column] else 'normal'
            colour = 'white' if colours[row][column] else 'black'
            axes.text(column, row, text, ha='center', va='center', color=colour, weight=strong)
    axes.imshow(colours, ListedColormap([_NEUTRAL, ACCENT]), vmin=0, vmax=1, aspect='auto')
    axes.set_xticks(range(4), SIDES)
    axes.xaxis.tick_top()
    names = [f'{layer.slide.layer}  ({by_text(layer.slide.size)})' for layer in layers]
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks(np.arange(3) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.grid(which='minor', color='white', linewidth=2)
    axes.tick_params(which='both', length=0, labelsize=9)
    axes.spines[:].set_visible(False)
    axes.set_title(
        f'at {by_text(input_size)}: rows or columns of padding that are read, of those added'
        '\n(negative: the end of the map is not read; more than added: windows of ceil_mode)',
        fontsize=10,
        loc='left',
    )


def _draw_sizes(axes: Axes, input_size: tuple[int, int], search: SizeSearch) -> None:
    for axis, shift in enumerate((-0.2, 0.2)):
        if axis and search.sizes[0] == search.sizes[1]:
            break
        sizes = np.array(search.sizes[axis])
        until = np.minimum(search.even_until[axis], search.layers).clip(0)
        even = np.isinf(search.even_until[axis])
        axes.bar(sizes[~even] + shift, until[~even], 0.8, color='#8fa3bf')
        axes.bar(sizes[even] + shift, until[even], 1.6, color=ACCENT)
        for size in search.nearest(axis, input_size[axis], 5):
            label = f'{size}' if axis == 0 else f'({size})'
            axes.annotate(
                label, (size, search.layers), (0, 2), textcoords='offset points',
                ha='center', fontsize=9, color=ACCENT,
            )  # fmt: skip
        axes.axvline(input_size[axis], color='black', lw=0.8, ls=':')
    same = search.sizes[0] == search.sizes[1]
    axes.set_xlabel(
        f'{"height and width" if same else "height, (width)"} of the input (px)', fontsize=9
    )
    axes.set_ylabel('strided layers\nbefore an uneven one', fontsize=9)
    axes.set_ylim(0, search.layers * 1.25 + 0.1)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.margins(x=0.01)
    axes.tick_params(labelsize=8)
    axes.spines[['top', 'right']].set_visible(False)
    axes.set_title('nearby input sizes; coloured: all layers even', fontsize=10, loc='left')
