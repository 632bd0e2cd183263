"""Padded convolution without copying the whole map, for large maps on the CPU without gradients.

Only windows that reach the padding depend on the padding mode. So torch's zero-padded convolution
runs over the unpadded map, and the border outputs (those whose windows reach the padding) are then
overwritten by convolving narrow strips of padded cells. Every window still reads the same values in
the same order, so the result is bit-equal to padding the map first.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from mindpad_mm.padding.convolution import Convolution, memory_format_of
from mindpad_mm.padding.kernels import Pads, Window, by_axis
from mindpad_mm.padding.modes import NOTHING, Modes, PaddingMode

SMALLEST = 2_000_000
"""Maps of fewer values (batch x channels x height x width) are padded, because strips take longer."""

LARGE = 8_000_000
"""Copying a map of more values (32 MB in float32) takes twice the time per value, because the system
maps new memory for it."""

WIDEST_KERNEL = 5
"""Kernels of a larger extent (cells, dilation included) use padding: on strips as wide as these need,
oneDNN sums in another order."""

SMALLEST_STRIP = 20_480
"""Maps whose strips have at most this many values are padded: torch does not use oneDNN for such strips,
and sums in another order."""

WORK, WORK_IF_LARGE = 10, 40
"""Strips are faster than padding up to this many multiply-accumulates per map value. The second number
is for maps of more than ``LARGE`` values."""


@dataclasses.dataclass(frozen=True)
class Side:
    """One end of an axis and the strip that its border outputs are computed from.

    Attributes:
        outputs: The border outputs along the axis.
        cells: For each position of the strip, a cell of the map or ``NOTHING``.
    """

    outputs: slice
    cells: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Axis:
    """One axis of a convolution, divided into border outputs and inner outputs.

    Attributes:
        sides: The ends that have border outputs (none, one or two), with strips of equal length.
        outputs: The inner outputs, whose windows read cells of the map only.
        cells: The cells under the windows of the inner outputs.
        padded: The axis's :meth:`PaddingMode.padded_cells`.
        before: Padded positions before the first cell.
        zeros: Zeros that the convolution itself adds at either end. If not 0, there are no sides.
    """

    sides: tuple[Side, ...]
    outputs: slice
    cells: slice
    padded: tuple[tuple[int, int], ...] = ()
    before: int = 0
    zeros: int = 0


@functools.lru_cache(maxsize=1024)
def axis_of(mode: PaddingMode, size: int, pads: tuple[int, int], window: Window) -> Axis | None:
    """Divide an axis into border and inner outputs.

    Args:
        mode: The padding mode along the axis.
        size: Cells along the axis.
        pads: Cells added (before, after).
        window: The window along the axis.

    Returns:
        The axis; None if the two pads differ or there are no inner outputs.
    """
    before, after = pads
    if before != after:
        return None
    if mode.empty:
        return Axis((), slice(None), slice(None), zeros=before)
    windows = window.fits(before + size + after)
    first = -(-before // window.stride)
    last = windows - max(window.fits(before + size), 0)
    starts = ([0] if first else []) + ([windows - max(first, last)] if last else [])
    count = max(first, last)
    if len(starts) * count >= windows:
        return None
    source = mode.source(size, before, after).tolist()
    sides = []
    for start in starts:
        begin = start * window.stride
        strip = tuple(source[begin : begin + window.spans(count)])
        sides.append(Side(slice(start, start + count), strip))
    outputs = slice(count if first else 0, windows - (count if last else 0))
    cells = slice(outputs.start * window.stride - before, window.spans(outputs.stop) - before)
    return Axis(tuple(sides), outputs, cells, tuple(mode.padded_cells(size, before, after)), before)


@dataclasses.dataclass(frozen=True)
class Border:
    """The border outputs of a convolution: rows of full width, and columns between those rows."""

    rows: Axis
    columns: Axis

    @property
    def zero_padding(self) -> tuple[int, int]:
        """Zero padding of the convolution over the whole map."""
        return self.rows.before + self.rows.zeros, self.columns.before + self.columns.zeros

    def strips(self) -> list[Rows | Columns]:
        """The strips to compute; rows or columns without border outputs are left out."""
        both = (Rows(self.rows, self.columns), Columns(self.rows, self.columns))
        return [strips for strips in both if strips.sides]


@dataclasses.dataclass(frozen=True)
class Rows:
    """The strips of the top and bottom border rows, concatenated along the batch axis."""

    rows: Axis
    columns: Axis

    @property
    def sides(self) -> tuple[Side, ...]:
        """The ends of the vertical axis that have border rows."""
        return self.rows.sides

    @property
    def zero_padding(self) -> tuple[int, int]:
        """Zero padding of the convolution over the strips."""
        return 0, self.columns.zeros

    def outputs(self, y: Tensor) -> list[Tensor]:
        """Views of the border outputs in ``y``, one for each side."""
        return [y[..., side.outputs, :] for side in self.sides]

    def read(self, x: Tensor) -> Tensor:
        """Copy the strips' cells out of the map ``x`` of shape (N, C, H, W)."""
        width = x.shape[-1]
        left = self.columns.before
        strips = _empty(
            x, len(self.sides), len(self.sides[0].cells), width + len(self.columns.padded)
        )
        for side, strip in zip(self.sides, _by_side(strips, self.sides)):
            for position, cell in enumerate(side.cells):
                _set(strip[..., position, left : left + width], x[..., cell, :], cell)
        for position, cell in self.columns.padded:
            _set(strips[..., position], strips[..., left + cell], cell)
        return strips


@dataclasses.dataclass(frozen=True)
class Columns:
    """The strips of the left and right border columns, without the border rows. See :class:`Rows`."""

    rows: Axis
    columns: Axis

    @property
    def sides(self) -> tuple[Side, ...]:
        """The ends of the horizontal axis that have border columns."""
        return self.columns.sides

    @property
    def zero_padding(self) -> tuple[int, int]:
        """Zero padding of the convolution over the strips."""
        return self.rows.zeros, 0

    def outputs(self, y: Tensor) -> list[Tensor]:
        """Views of the border outputs in ``y``, one for each side."""
        return [y[..., self.rows.outputs, side.outputs] for side in self.sides]

    def read(self, x: Tensor) -> Tensor:
        """Copy the strips' cells out of the map ``x`` of shape (N, C, H, W)."""
        inner = x[..., self.rows.cells, :]
        strips = _empty(x, len(self.sides), inner.shape[-2], len(self.sides[0].cells))
        for side, strip in zip(self.sides, _by_side(strips, self.sides)):
            for position, cell in enumerate(side.cells):
                _set(strip[..., position], inner[..., cell], cell)
        return strips


def _empty(x: Tensor, sides: int, height: int, width: int) -> Tensor:
    shape = sides * x.shape[0], x.shape[1], height, width
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=memory_format_of(x))


def _by_side(strips: Tensor, sides: Sequence[Side]) -> tuple[Tensor, ...]:
    """Split strips that were concatenated along the batch axis."""
    return strips.chunk(len(sides))


def _set(target: Tensor, value: Tensor, cell: int) -> None:
    target.zero_() if cell == NOTHING else target.copy_(value)


def border_of(x: Tensor, convolution: Convolution, modes: Modes, pads: Pads) -> Border | None:
    """Choose between border strips and padding the whole map.

    Args:
        x: Map of shape (N, C, H, W).
        convolution: The convolution that runs over the padded map.
        modes: The (vertical, horizontal) modes.
        pads: Cells added at the (top, bottom, left, right).

    Returns:
        The border if strips are faster and bit-equal; None if the map should be padded.
    """
    if x.dim() != 4 or x.device.type != 'cpu' or x.numel() < SMALLEST:
        return None
    windows, sizes = convolution.windows, x.shape[-2:]
    smallest_strip = min(x.numel() // size * w.kernel_extent for size, w in zip(sizes, windows))
    if max(w.kernel_extent for w in windows) > WIDEST_KERNEL or smallest_strip <= SMALLEST_STRIP:
        return None
    rows, columns = map(axis_of, modes, sizes, by_axis(pads), windows)
    if rows is None or columns is None:
        return None
    height, width = ((size - 1) // w.stride + 1 for size, w in zip(sizes, windows))
    outputs = sum(side.outputs.stop - side.outputs.start for side in rows.sides) * width
    outputs += sum(side.outputs.stop - side.outputs.start for side in columns.sides) * height
    taps = windows[0].kernel * windows[1].kernel
    work = outputs * convolution.fan_out * taps / (sizes[0] * sizes[1])
    is_faster = work <= (WORK_IF_LARGE if x.numel() > LARGE else WORK)
    return Border(rows, columns) if is_faster else None


def convolve_borders(
    x: Tensor, bias: Tensor | None, convolution: Convolution, border: Border
) -> Tensor:
    """Convolve with zero padding, then overwrite the border outputs.

    It writes in place, so gradients must be disabled.

    Args:
        x: Map of shape (N, C, H, W).
        bias: Shape (C_out,), or None.
        convolution: The convolution.
        border: The result of :func:`border_of`.

    Returns:
        Shape (N, C_out, H_out, W_out).
    """
    y = convolution(x, bias, border.zero_padding)
    for strips in border.strips():
        values = convolution(strips.read(x), bias, strips.zero_padding)
        for target, value in zip(strips.outputs(y), _by_side(values, strips.sides)):
            target.copy_(value)
    return y
