"""Which strided layers consume their padding on one side only, and at which sizes none does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from mindpad_mm.core.style import ACCENT
from mindpad_mm.core.tables import Table
from mindpad_mm.diagnose.resizing import resizing_advice
from mindpad_mm.diagnose.result import Diagnosis
from mindpad_mm.diagnose.strides import SizeSearch, StridedLayer, search_sizes, strided_layers
from mindpad_mm.diagnose.subject import Subject
from mindpad_mm.diagnose.tracing import ShapeRunner

SIDES = ('top', 'bottom', 'left', 'right')
_QUIET = '#dfe5ee'


def check_evenness(subject: Subject, radius: int | None = None) -> Evenness:
    """Find the strided layers that pad unevenly at the subject's input size, and sizes where none does.

    The real network runs on shapes: what counts is what its layers do, not what a table says of them.

    Args:
        radius: How many pixels around the input size to look for even sizes. Default: the network's
            total stride, at least 32, at most 512.

    Raises:
        UserError: The network cannot run at this size.

    Source: Mind the Pad (ICLR 2021), section on down-sampling.
    """
    runner = ShapeRunner(subject)
    trace = runner.run(subject.input_size)
    search = search_sizes(runner, trace, radius)
    suggested = _suggested(search, subject.input_size)
    how = ''
    if suggested and suggested != subject.input_size:
        how = resizing_advice(subject.model, runner, subject.input_size, suggested)
    layers = strided_layers(trace)
    return Evenness(
        Path(subject.name).name, subject.input_size, layers, search, suggested, how, trace.lost
    )


def _suggested(search: SizeSearch, size: tuple[int, int]) -> tuple[int, int] | None:
    nearest = [search.nearest(axis, size[axis], 1) for axis in (0, 1)]
    return (nearest[0][0], nearest[1][0]) if all(nearest) else None


@dataclass
class Evenness(Diagnosis):
    """How evenly strided layers consume their padding.

    Attributes:
        name: Of the network.
        input_size: (height, width), pixels.
        layers: The strided layers at this size.
        search: How it is at the sizes nearby.
        suggested: The nearest (height, width) that is even throughout; None where there is none.
        how: How to make the network's config use it.
        lost: Layers that could not be followed.
    """

    check: ClassVar[str] = 'evenness'
    title: ClassVar[str] = 'Uneven padding'

    name: str
    input_size: tuple[int, int]
    layers: list[StridedLayer]
    search: SizeSearch
    suggested: tuple[int, int] | None
    how: str
    lost: list[str]

    @property
    def uneven(self) -> list[StridedLayer]:
        """The layers that consume more padding on one side than on the other."""
        return [layer for layer in self.layers if not all(layer.even)]

    @property
    def is_even(self) -> bool:
        """Whether no strided layer pads unevenly."""
        return not self.uneven

    def table(self) -> Table:
        columns = ['layer', 'kind', 'kernel', 'stride', 'input', 'result']
        columns += ['top / bottom', 'left / right', 'unused', 'even']
        rows = []
        for layer in self.layers:
            ran = layer.slide
            sizes = (_by(size) for size in (ran.kernel, ran.stride, ran.size, ran.results))
            kind = (
                f'{ran.kind}, dilation {_by(ran.dilation)}' if max(ran.dilation) > 1 else ran.kind
            )
            top, bottom, left, right = layer.consumed
            unused = (f'{rest} {side}' for rest, side in zip(layer.unused, SIDES) if rest)
            even = 'yes' if all(layer.even) else 'NO'
            consumed = f'{top} / {bottom}', f'{left} / {right}'
            rows.append([ran.layer, kind, *sizes, *consumed, ', '.join(unused), even])
        return Table(
            columns, rows, f'Padding that strided layers consume at {_by(self.input_size)}'
        )

    def plot(self) -> Figure:
        rows = max(len(self.layers), 1)
        figure = Figure((11, 1.9 + 0.3 * rows + 1.6), layout='constrained')
        FigureCanvasAgg(figure)
        figure.get_layout_engine().set(h_pad=0.1)
        figure.suptitle(f'Padding that strided layers consume, {self.name}', fontsize=13)
        upper, lower = figure.subplots(2, 1, height_ratios=[0.3 * rows + 0.5, 1.6])
        self._draw_layers(upper)
        self._draw_sizes(lower)
        return figure

    def _draw_layers(self, axes: Axes) -> None:
        colours = np.zeros((max(len(self.layers), 1), 4))
        for row, layer in enumerate(self.layers):
            top, bottom, left, right = layer.consumed
            colours[row] = [bottom > top, top > bottom, right > left, left > right]
            # The side that gets less is the marked one.
            for column, used in enumerate(layer.consumed):
                text = f'{used} of {layer.slide.pads[column]}'
                strong = 'bold' if colours[row][column] else 'normal'
                colour = 'white' if colours[row][column] else 'black'
                axes.text(column, row, text, ha='center', va='center', color=colour, weight=strong)
        axes.imshow(colours, ListedColormap([_QUIET, ACCENT]), vmin=0, vmax=1, aspect='auto')
        axes.set_xticks(range(4), SIDES)
        axes.xaxis.tick_top()
        names = [f'{layer.slide.layer}  ({_by(layer.slide.size)})' for layer in self.layers]
        axes.set_yticks(range(len(names)), names)
        axes.set_xticks(np.arange(3) + 0.5, minor=True)
        axes.set_yticks(np.arange(len(names) - 1) + 0.5, minor=True)
        axes.grid(which='minor', color='white', linewidth=2)
        axes.tick_params(which='both', length=0, labelsize=9)
        axes.spines[:].set_visible(False)
        axes.set_title(
            f'at {_by(self.input_size)}: rows and columns of padding under a window, of those there are'
            '\n(negative: the map is not read to its end; more than there are: ceil_mode reaches beyond)',
            fontsize=10,
            loc='left',
        )

    def _draw_sizes(self, axes: Axes) -> None:
        for axis, shift in enumerate((-0.2, 0.2)):
            if axis and self.search.sizes[0] == self.search.sizes[1]:
                break
            sizes = np.array(self.search.sizes[axis])
            until = np.minimum(self.search.even_until[axis], self.search.layers).clip(0)
            even = np.isinf(self.search.even_until[axis])
            axes.bar(sizes[~even] + shift, until[~even], 0.8, color='#8fa3bf')
            axes.bar(sizes[even] + shift, until[even], 1.6, color=ACCENT)
            for size in self.search.nearest(axis, self.input_size[axis], 5):
                label = f'{size}' if axis == 0 else f'({size})'
                axes.annotate(
                    label, (size, self.search.layers), (0, 2), textcoords='offset points',
                    ha='center', fontsize=9, color=ACCENT,
                )  # fmt: skip
            axes.axvline(self.input_size[axis], color='black', lw=0.8, ls=':')
        same = self.search.sizes[0] == self.search.sizes[1]
        axes.set_xlabel(
            f'{"height and width" if same else "height, (width)"} of the input (px)', fontsize=9
        )
        axes.set_ylabel('strided layers\nbefore an uneven one', fontsize=9)
        axes.set_ylim(0, self.search.layers * 1.25 + 0.1)
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.margins(x=0.01)
        axes.tick_params(labelsize=8)
        axes.spines[['top', 'right']].set_visible(False)
        axes.set_title('sizes nearby; coloured: even throughout', fontsize=10, loc='left')

    def to_json(self) -> dict[str, Any]:
        layers = []
        for layer in self.layers:
            ran = layer.slide
            geometry = {
                'layer': ran.layer, 'kind': ran.kind, 'kernel': list(ran.kernel),
                'stride': list(ran.stride), 'dilation': list(ran.dilation),
                'input': list(ran.size), 'result': list(ran.results),
            }  # fmt: skip
            pads = {
                'padding': dict(zip(SIDES, ran.pads)),
                'consumed': dict(zip(SIDES, layer.consumed)),
                'unused': dict(zip(SIDES, layer.unused)),
            }
            layers.append({**geometry, **pads, 'even': all(layer.even)})
        return {
            'input_size': list(self.input_size),
            'even': self.is_even,
            'layers': layers,
            'searched': [[sizes[0], sizes[-1]] for sizes in self.search.sizes],
            'even_heights': self.search.even_sizes(0),
            'even_widths': self.search.even_sizes(1),
            'rule': {'height': self.search.rule(0) or None, 'width': self.search.rule(1) or None},
            'suggested': list(self.suggested) if self.suggested else None,
            'not_followed': self.lost,
        }

    def advice(self) -> str:
        size = _by(self.input_size)
        if not self.layers:
            text = 'No layer is strided: nothing can pad unevenly.'
        elif self.is_even:
            text = f'At {size} every strided layer consumes its padding alike on both sides.'
        else:
            shown = ', '.join(layer.slide.layer for layer in self.uneven[:3])
            more = ', ...' if len(self.uneven) > 3 else ''
            text = (
                f'At {size}, strided layers that consume more padding on one side than on the other: '
                f'{len(self.uneven)} of {len(self.layers)} ({shown}{more}). The border that gets less '
                'is read less, and filters learned there can come to lean to one side. '
                f'{self._sizes()}'
            )
        if self.lost:
            text += f' Not followed: {", ".join(self.lost[:5])}.'
        return text

    def _sizes(self) -> str:
        if self.suggested is None:
            found = [
                (name, self._none_even(axis))
                for axis, name in enumerate(('height', 'width'))
                if not self.search.even_sizes(axis)
            ]
            if len({text for _, text in found}) == 1:
                found = [(' or '.join(name for name, _ in found), found[0][1])]
            return ' '.join(f'No {name} of {text}' for name, text in found)
        text = []
        for axis, name in enumerate(('heights', 'widths')):
            sizes = ', '.join(map(str, self.search.nearest(axis, self.input_size[axis])))
            rule = self.search.rule(axis)
            text.append(f'{name} {sizes}' + (f' ({rule})' if rule else ''))
        if text[0].replace('heights', '') == text[1].replace('widths', ''):
            text = [text[0].replace('heights', 'heights and widths')]
        return f'Even throughout nearby: {"; ".join(text)}. {self.how}'

    def _none_even(self, axis: int) -> str:
        sizes, until = self.search.sizes[axis], self.search.even_until[axis]
        best = max(until)
        nearest = min(
            (size for size, layers in zip(sizes, until) if layers == best),
            key=lambda size: abs(size - self.input_size[axis]),
        )
        where = ' at which it runs' if min(until) < 0 else ''
        return (
            f'{sizes[0]} to {sizes[-1]}{where} is even throughout; at {nearest} the first {best:.0f} '
            f'of {self.search.layers} strided layers are.'
        )


def _by(size: tuple[int, int]) -> str:
    return f'{size[0]} x {size[1]}'
