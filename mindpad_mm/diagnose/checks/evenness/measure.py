"""Which strided layers read their padding unevenly, and at which input sizes none does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from matplotlib.figure import Figure

from mindpad_mm.core.tables import Table
from mindpad_mm.diagnose.border_bias import SIDES
from mindpad_mm.diagnose.checks.evenness.plot import draw_evenness
from mindpad_mm.diagnose.checks.evenness.resizing import resizing_advice
from mindpad_mm.diagnose.result import Diagnosis
from mindpad_mm.diagnose.strides import (
    SizeSearch,
    StridedLayer,
    by_text,
    search_sizes,
    strided_layers,
)
from mindpad_mm.diagnose.subject import Subject
from mindpad_mm.diagnose.tracing import ShapeRunner


def check_evenness(subject: Subject, radius: int | None = None) -> Evenness:
    """Find the strided layers that pad unevenly at the subject's input size, and sizes where none does.

    The network itself runs, on shapes without values.

    Args:
        subject: The network.
        radius: Search range around the input size, pixels. Default: the network's total stride,
            clipped to 32..512.

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
    """How evenly strided layers read their padding.

    Attributes:
        name: Name of the network.
        input_size: (height, width), pixels.
        layers: The strided layers at this size.
        search: Evenness at nearby input sizes.
        suggested: The nearest (height, width) at which all layers are even; None if there is none.
        how: How to change the config to this size.
        lost: Layers whose input could not be traced back to the network's input.
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
        """The layers that read more padding on one side than on the other."""
        return [layer for layer in self.layers if not all(layer.even)]

    @property
    def is_even(self) -> bool:
        """Whether all strided layers pad evenly."""
        return not self.uneven

    def table(self) -> Table:
        columns = ['layer', 'kind', 'kernel', 'stride', 'input', 'result']
        columns += ['top / bottom', 'left / right', 'unused', 'even']
        rows = []
        for layer in self.layers:
            ran = layer.slide
            sizes = (by_text(size) for size in (ran.kernel, ran.stride, ran.size, ran.results))
            kind = (
                f'{ran.kind}, dilation {by_text(ran.dilation)}'
                if max(ran.dilation) > 1
                else ran.kind
            )
            top, bottom, left, right = layer.consumed
            unused = (f'{rest} {side}' for rest, side in zip(layer.unused, SIDES) if rest)
            even = 'yes' if all(layer.even) else 'NO'
            consumed = f'{top} / {bottom}', f'{left} / {right}'
            rows.append([ran.layer, kind, *sizes, *consumed, ', '.join(unused), even])
        return Table(
            columns, rows, f'Padding that strided layers read at {by_text(self.input_size)}'
        )

    def plot(self) -> Figure:
        return draw_evenness(self.name, self.input_size, self.layers, self.search)

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
        size = by_text(self.input_size)
        if not self.layers:
            text = 'No layer is strided, so no padding is uneven.'
        elif self.is_even:
            text = f'At {size} every strided layer reads the same padding on both sides.'
        else:
            shown = ', '.join(layer.slide.layer for layer in self.uneven[:3])
            more = ', ...' if len(self.uneven) > 3 else ''
            text = (
                f'At {size}, strided layers that read more padding on one side than on the other: '
                f'{len(self.uneven)} of {len(self.layers)} ({shown}{more}). Pixels at the other side '
                'are used less, and training can make the filters asymmetric. '
                f'{self._sizes()}'
            )
        if self.lost:
            text += f' Not traced: {", ".join(self.lost[:5])}.'
        return text

    def finding(self) -> str:
        if self.is_even:
            return ''
        return (
            f'At {by_text(self.input_size)}, {len(self.uneven)} of {len(self.layers)} strided layers '
            f'read more padding on one side than on the other.'
        )

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
        return f'Nearby sizes without uneven padding: {"; ".join(text)}. {self.how}'

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
