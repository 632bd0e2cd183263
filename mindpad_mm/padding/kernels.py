"""Geometry of sliding kernels: kernel size, stride, dilation and pads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch.nn.modules.utils import _pair

Pads = tuple[int, int, int, int]
"""Cells added at the (top, bottom, left, right)."""

Pair = int | Sequence[int]
"""A size as torch accepts it: n, (n,) or (vertical, horizontal)."""


class Window(NamedTuple):
    """The positions that a kernel reads for one output, along one axis.

    Attributes:
        kernel: Kernel size, the number of taps.
        stride: Cells between neighbouring windows.
        dilation: Cells between neighbouring taps.
    """

    kernel: int
    stride: int
    dilation: int

    @property
    def kernel_extent(self) -> int:
        """Cells from the first tap to the last, both included: the effective kernel size."""
        return self.dilation * (self.kernel - 1) + 1

    def fits(self, cells: int) -> int:
        """The number of windows on an axis of ``cells`` cells; 0 or less if the axis is too short."""
        return (cells - self.kernel_extent) // self.stride + 1

    def spans(self, count: int) -> int:
        """Cells that ``count`` neighbouring windows cover, from the first tap to the last."""
        # torch 2.1 cannot compile a property of a named tuple.
        return (count - 1) * self.stride + self.dilation * (self.kernel - 1) + 1


Windows = tuple[Window, Window]
"""The (vertical, horizontal) windows."""


def pair(value: Pair) -> tuple[int, int]:
    """A size as (vertical, horizontal)."""
    if not isinstance(value, int) and len(value) == 1:
        value = value[0]
    first, second = _pair(value)
    return first, second


def get_windows(kernel: Pair, stride: Pair, dilation: Pair = 1) -> Windows:
    """The (vertical, horizontal) windows of a convolution or pooling."""
    rows, columns = zip(pair(kernel), pair(stride), pair(dilation))
    return Window(*rows), Window(*columns)


def get_pads(padding: Pair | str, windows: Windows) -> Pads:
    """The pads that torch derives from the ``padding`` argument of a convolution or pooling.

    Args:
        padding: A size, ``'same'`` or ``'valid'``.
        windows: The layer's windows, which ``'same'`` depends on.
    """
    if padding == 'valid':
        return 0, 0, 0, 0
    if isinstance(padding, str):
        rows, columns = (window.kernel_extent for window in windows)
        return (rows - 1) // 2, rows // 2, (columns - 1) // 2, columns // 2
    rows, columns = pair(padding)
    return rows, rows, columns, columns


def by_axis(pads: Pads) -> tuple[tuple[int, int], tuple[int, int]]:
    """Pads as ((top, bottom), (left, right))."""
    return pads[:2], pads[2:]


def from_axes(rows: tuple[int, int], columns: tuple[int, int]) -> Pads:
    """The inverse of :func:`by_axis`."""
    return *rows, *columns


def pool_extent(size: int, padding: int, window: Window, ceil_mode: bool) -> int:
    """The number of windows that torch's pooling makes along one axis.

    With ``ceil_mode``, torch drops a last window that would start in the padding after the map.

    Args:
        size: Cells along the axis, without padding.
        padding: Cells padded at either end.
        window: The pooling window.
        ceil_mode: As in ``MaxPool2d``.
    """
    cells = size + 2 * padding
    if not ceil_mode:
        return window.fits(cells)
    count = window.fits(cells + window.stride - 1)
    return count - 1 if (count - 1) * window.stride >= size + padding else count
