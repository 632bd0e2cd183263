"""What a kernel that slides over a map reads at a time, how often it fits, and the pads around."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch.nn.modules.utils import _pair

Pads = tuple[int, int, int, int]
"""Cells added at the (top, bottom, left, right)."""

Pair = int | Sequence[int]
"""As torch takes it: one number for both axes, also in a sequence, or (vertical, horizontal)."""


class Window(NamedTuple):
    """What a kernel reads at a time, along one axis.

    Attributes:
        kernel: How many cells.
        stride: Cells from one place of it to the next.
        dilation: Cells from one that it reads to the next.
    """

    kernel: int
    stride: int
    dilation: int

    def reach(self) -> int:
        """Cells from the first to the last that it reads."""
        return self.dilation * (self.kernel - 1) + 1

    def fits(self, cells: int) -> int:
        """How many there are on so many cells; below 1 where there is none."""
        return (cells - self.reach()) // self.stride + 1

    def spans(self, count: int) -> int:
        """Cells from the first to the last that so many, one after the other, read."""
        return (count - 1) * self.stride + self.reach()


Windows = tuple[Window, Window]
"""The (vertical, horizontal) windows."""


def pair(value: Pair) -> tuple[int, int]:
    """(vertical, horizontal)."""
    first, second = _pair(value) if isinstance(value, int) or len(value) != 1 else value * 2
    return first, second


def get_windows(kernel: Pair, stride: Pair, dilation: Pair = 1) -> Windows:
    """The windows of a convolution or pooling."""
    rows, columns = zip(pair(kernel), pair(stride), pair(dilation))
    return Window(*rows), Window(*columns)


def get_pads(padding: Pair | str, windows: Windows) -> Pads:
    """What torch pads by where this is the ``padding`` of a convolution or pooling."""
    if padding == 'same':
        rows, columns = (window.reach() for window in windows)
        return (rows - 1) // 2, rows // 2, (columns - 1) // 2, columns // 2
    rows, columns = (0, 0) if padding == 'valid' else pair(padding)
    return rows, rows, columns, columns


def by_axis(pads: Pads) -> tuple[tuple[int, int], tuple[int, int]]:
    """(top, bottom) and (left, right)."""
    return pads[:2], pads[2:]


def pool_extent(size: int, padding: int, window: Window, ceil_mode: bool) -> int:
    """Windows that torch's own pooling makes along an axis of ``size`` cells.

    With ``ceil_mode``, a last window that would start beyond the map and its leading padding is dropped.
    """
    cells = size + 2 * padding
    if not ceil_mode:
        return window.fits(cells)
    count = window.fits(cells + window.stride - 1)
    return count - 1 if (count - 1) * window.stride >= size + padding else count
