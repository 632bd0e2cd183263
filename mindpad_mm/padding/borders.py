"""A convolution over a continued map without continuing the map.

Away from the border a window never reaches the padding, and what a convolution pads with does not
matter there. So torch's own zero-padded convolution runs over the map as it is; the outputs whose
windows reach the padding are then overwritten, from strips just wide enough for those windows. Each
window still sees the same cells in the same order.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mindpad_mm.padding.modes import NOTHING, Modes, PaddingMode
from mindpad_mm.padding.windows import Pads, Window, by_axis

if TYPE_CHECKING:
    from mindpad_mm.padding.functional import Convolution

SMALLEST = 2_000_000
"""On maps of fewer cells (batch and channels and all), starting the strips takes longer than padding."""

LARGE = 8_000_000
"""A map of more cells (32 MB) gets fresh memory each time, page by page: padding it costs double."""

REACH = 5
"""Windows of at most this many cells across: on strips of wider ones, oneDNN sums in another order."""

SMALLEST_STRIP = 20_480
"""Strips of more cells: on fewer, torch leaves oneDNN for code that sums in another order."""

WORK, WORK_IF_LARGE = 10, 40
"""The strips pay up to this many multiply-accumulates for each cell that padding would copy."""


@dataclasses.dataclass(frozen=True)
class Side:
    """One end of one axis, and the strip that its border outputs need.

    Attributes:
        outputs: The border outputs.
        cells: The cell that stands at each position of the strip.
        inside: The strip's positions that lie on the map itself.
    """

    outputs: slice
    cells: tuple[int, ...]
    inside: slice


@dataclasses.dataclass(frozen=True)
class Axis:
    """One axis of a convolution: its border outputs, and the others.

    Attributes:
        sides: None, one or two, with strips of one length.
        outputs: Outputs whose windows lie on the map.
        cells: Cells those windows stand on.
        padded: (position in the padded axis, cell that stands there), padded positions only.
        before: Padded positions before the first cell.
        zeros: Zeros that the convolution itself pads with at either end, instead of padded positions.
    """

    sides: tuple[Side, ...]
    outputs: slice
    cells: slice
    padded: tuple[tuple[int, int], ...] = ()
    before: int = 0
    zeros: int = 0


@functools.lru_cache(maxsize=1024)
def axis_of(mode: PaddingMode, size: int, pads: tuple[int, int], window: Window) -> Axis | None:
    """How an axis splits; None where no window lies on the map, or pads differ too much to be one."""
    before, after = pads
    if mode.empty and before == after:
        return Axis((), slice(None), slice(None), zeros=before)
    windows = window.fits(before + size + after)
    first = -(-before // window.stride)
    last = windows - min(max(window.fits(before + size), 0), windows)
    starts = ([0] if first else []) + ([windows - max(first, last)] if last else [])
    count = max(first, last)
    if len(starts) * count >= windows or before != after:
        return None
    source = mode.source(size, before, after).tolist()
    sides = []
    for start in starts:
        begin = start * window.stride
        end = begin + window.spans(count)
        inside = slice(max(before - begin, 0), max(min(before + size, end) - begin, 0))
        sides.append(Side(slice(start, start + count), tuple(source[begin:end]), inside))
    outputs = slice(count if first else 0, windows - (count if last else 0))
    cells = slice(outputs.start * window.stride - before, window.spans(outputs.stop) - before)
    return Axis(tuple(sides), outputs, cells, tuple(mode.padded_cells(size, before, after)), before)


@dataclasses.dataclass(frozen=True)
class Border:
    """The border of a map under a convolution: rows over the full width, columns between them."""

    rows: Axis
    columns: Axis

    @property
    def zero_padding(self) -> tuple[int, int]:
        """What the convolution over the whole map pads with."""
        return self.rows.before + self.rows.zeros, self.columns.before + self.columns.zeros

    def strips(self) -> list[Rows | Columns]:
        axes = (Rows(self.rows, self.columns), Columns(self.rows, self.columns))
        return [strip for strip in axes if strip.sides]


@dataclasses.dataclass(frozen=True)
class Rows:
    """The strips of the border rows, one side after the other along the batch."""

    rows: Axis
    columns: Axis

    @property
    def sides(self) -> tuple[Side, ...]:
        return self.rows.sides

    @property
    def zero_padding(self) -> tuple[int, int]:
        return 0, self.columns.zeros

    def outputs(self, y: Tensor) -> list[Tensor]:
        """The border outputs in ``y``, a side each."""
        return [y[..., side.outputs, :] for side in self.sides]

    def _within(self, width: int) -> slice:
        return slice(self.columns.before, self.columns.before + width)

    def read(self, x: Tensor) -> Tensor:
        """Copy the strips' cells."""
        width = x.shape[-1]
        within = self._within(width)
        columns = width + len(self.columns.padded)
        strips = _empty(x, len(self.sides), len(self.sides[0].cells), columns)
        for side, strip in zip(self.sides, _parts(strips, self.sides)):
            for position, cell in enumerate(side.cells):
                _set(strip[..., position, within], x[..., cell, :], cell)
        for position, cell in self.columns.padded:
            _set(strips[..., position], strips[..., within.start + cell], cell)
        return strips

    def clear_map(self, strips: Tensor, size: tuple[int, int]) -> Tensor:
        """Zero what lies on the map itself, in place."""
        within = self._within(size[1])
        for side, strip in zip(self.sides, _parts(strips, self.sides)):
            strip[..., side.inside, within] = 0
        return strips

    def fold(self, grad: Tensor, strips: Tensor) -> None:
        """Add the strips' gradient to their cells' in ``grad``, in place on both."""
        within = self._within(grad.shape[-1])
        for position, cell in self.columns.padded:
            if cell != NOTHING:
                strips[..., within.start + cell] += strips[..., position]
        for side, strip in zip(self.sides, _parts(strips, self.sides)):
            for position, cell in enumerate(side.cells):
                if cell != NOTHING:
                    grad[..., cell, :] += strip[..., position, within]


@dataclasses.dataclass(frozen=True)
class Columns:
    """The strips of the border columns, between the border rows; see :class:`Rows`."""

    rows: Axis
    columns: Axis

    @property
    def sides(self) -> tuple[Side, ...]:
        return self.columns.sides

    @property
    def zero_padding(self) -> tuple[int, int]:
        return self.rows.zeros, 0

    def outputs(self, y: Tensor) -> list[Tensor]:
        return [y[..., self.rows.outputs, side.outputs] for side in self.sides]

    def read(self, x: Tensor) -> Tensor:
        between = x[..., self.rows.cells, :]
        strips = _empty(x, len(self.sides), between.shape[-2], len(self.sides[0].cells))
        for side, strip in zip(self.sides, _parts(strips, self.sides)):
            for position, cell in enumerate(side.cells):
                _set(strip[..., position], between[..., cell], cell)
        return strips

    def clear_map(self, strips: Tensor, size: tuple[int, int]) -> Tensor:
        for side, strip in zip(self.sides, _parts(strips, self.sides)):
            strip[..., side.inside] = 0
        return strips

    def fold(self, grad: Tensor, strips: Tensor) -> None:
        between = grad[..., self.rows.cells, :]
        for side, strip in zip(self.sides, _parts(strips, self.sides)):
            for position, cell in enumerate(side.cells):
                if cell != NOTHING:
                    between[..., cell] += strip[..., position]


def _empty(x: Tensor, sides: int, height: int, width: int) -> Tensor:
    shape = sides * x.shape[0], x.shape[1], height, width
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout_of(x))


def _parts(strips: Tensor, sides: Sequence[Side]) -> list[Tensor]:
    """The batch of each side. Not ``chunk``: its results may not be changed in place."""
    count = strips.shape[0] // len(sides)
    return [strips[index * count : (index + 1) * count] for index in range(len(sides))]


def _set(target: Tensor, value: Tensor, cell: int) -> None:
    target.zero_() if cell == NOTHING else target.copy_(value)


def layout_of(x: Tensor) -> torch.memory_format:
    """The memory format to make further maps like ``x`` in."""
    if not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format


def border_of(x: Tensor, convolution: Convolution, modes: Modes, pads: Pads) -> Border | None:
    """The border, where recomputing it beats padding the map; None where it does not.

    Args:
        x: Map of shape (N, C, H, W).
        convolution: What runs over it.
        modes: The (vertical, horizontal) modes that continue it.
        pads: Cells it is continued by.
    """
    if x.dim() != 4 or x.device.type != 'cpu' or x.numel() < SMALLEST:
        return None
    windows, sizes = convolution.windows, x.shape[-2:]
    smallest_strip = min(x.numel() // size * w.reach() for size, w in zip(sizes, windows))
    if max(w.reach() for w in windows) > REACH or smallest_strip <= SMALLEST_STRIP:
        return None
    rows, columns = map(axis_of, modes, sizes, by_axis(pads), windows)
    if rows is None or columns is None:
        return None
    height, width = ((size - 1) // w.stride + 1 for size, w in zip(sizes, windows))
    outputs = sum(side.outputs.stop - side.outputs.start for side in rows.sides) * width
    outputs += sum(side.outputs.stop - side.outputs.start for side in columns.sides) * height
    taps = windows[0].kernel * windows[1].kernel
    work = outputs * convolution.fan_out * taps / (sizes[0] * sizes[1])
    pays = work <= (WORK_IF_LARGE if x.numel() > LARGE else WORK)
    return Border(rows, columns) if pays else None


class _Read(torch.autograd.Function):
    """The map itself, its strips, and its strips with zeros wherever they lie on the map.

    Only the last carry a gradient: the zero-padded convolution already has the taps on the map.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, strips: list[Rows | Columns]) -> tuple[Tensor, ...]:
        ctx.strips = strips
        full = [strip.read(x) for strip in strips]
        beyond = [
            strip.clear_map(cells.clone(), x.shape[-2:]) for strip, cells in zip(strips, full)
        ]
        ctx.mark_non_differentiable(*full)
        return (x.view_as(x), *full, *beyond)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *grads: Tensor) -> tuple[Tensor | None, ...]:
        # All of them come from a convolution's own backward and are nobody else's: in place will do.
        for strip, beyond in zip(ctx.strips, grads[len(ctx.strips) :]):
            strip.fold(grad, strip.clear_map(beyond, grad.shape[-2:]))
        return grad, None


class _Overwrite(torch.autograd.Function):
    """Write the border outputs into ``y``; the gradient of ``y`` stays whole.

    The gradient at the border goes two ways: into the zero-padded convolution, for the taps on the
    map, and to the outputs of the strips beyond the map, for the others.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, strips: list[Rows | Columns], *parts: Tensor) -> Tensor:
        ctx.strips = strips
        ctx.mark_dirty(y)
        _write(y, strips, parts)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        values = [None] * len(ctx.strips)
        return (grad, None, *values, *(torch.cat(strip.outputs(grad)) for strip in ctx.strips))


def _write(y: Tensor, strips: list[Rows | Columns], parts: Sequence[Tensor]) -> None:
    for strip, part in zip(strips, parts):
        for target, value in zip(strip.outputs(y), _parts(part, strip.sides)):
            target.copy_(value)


def convolve_borders(
    x: Tensor, bias: Tensor | None, convolve: Convolution, border: Border
) -> Tensor:
    """The convolution over the continued map.

    Args:
        x: Map of shape (N, C, H, W).
        bias: Shape (C_out,), or None.
        convolve: The convolution.
        border: Of :func:`border_of`.
    """
    strips = border.strips()
    if not torch.is_grad_enabled():
        y = convolve(x, bias, border.zero_padding)
        _write(y, strips, [convolve(strip.read(x), bias, strip.zero_padding) for strip in strips])
        return y
    x, *cells = _Read.apply(x, strips)
    full, beyond = cells[: len(strips)], cells[len(strips) :]
    y = convolve(x, bias, border.zero_padding)
    with torch.no_grad():
        values = [convolve(each, bias, strip.zero_padding) for strip, each in zip(strips, full)]
    if not y.requires_grad:
        _write(y, strips, values)
        return y
    beyond = [convolve(each, None, strip.zero_padding) for strip, each in zip(strips, beyond)]
    return _Overwrite.apply(y, strips, *values, *beyond)
