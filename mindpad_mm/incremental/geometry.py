"""Window arithmetic: which cells of a feature map are dirty, one axis at a time, for a batch at once."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from mindpad_mm.padding.kernels import Window
from mindpad_mm.padding.modes import NOTHING


@dataclass(frozen=True)
class Span:
    """The dirty region and the window of each image of a batch, along one axis of a feature map.

    All windows of a batch have one length, so that they fit in one tensor. A window that is longer
    than its dirty region also holds clean cells; recomputing them gives the same values. At the
    border of the map, a window is moved inward instead of being clipped.

    Attributes:
        low: (B,) first dirty cell.
        high: (B,) one past the last dirty cell; ``low == high`` if no cell is dirty.
        start: (B,) first cell of the window.
        length: Cells in each window.
        size: Cells of the map.
    """

    low: np.ndarray
    high: np.ndarray
    start: np.ndarray
    length: int
    size: int

    @classmethod
    def around(cls, low: np.ndarray, high: np.ndarray, size: int) -> Span:
        """The shortest windows that contain the dirty cells [low, high) of each image."""
        low = low.clip(0, size)
        high = np.maximum(high.clip(0, size), low)
        length = max(int((high - low).max()), 1)
        return cls(low, high, np.minimum(low, size - length), length, size)

    @classmethod
    def all_dirty(cls, batch: int, size: int) -> Span:
        """Every cell of every image is dirty."""
        zeros = np.zeros(batch, int)
        return cls(zeros, zeros + size, zeros, size, size)

    @classmethod
    def all_clean(cls, batch: int, size: int) -> Span:
        """No cell of any image is dirty."""
        zeros = np.zeros(batch, int)
        return cls(zeros, zeros, zeros, 1, size)

    def whole(self) -> Span:
        """The same dirty cells, with windows that cover the whole axis."""
        return Span(self.low, self.high, np.zeros_like(self.low), self.size, self.size)

    @property
    def is_whole(self) -> bool:
        """Whether the windows cover the whole axis."""
        return self.length == self.size

    @property
    def dirty(self) -> np.ndarray:
        """(B, length) bool: which cells of each window are dirty."""
        cells = self.start[:, None] + np.arange(self.length)
        return (cells >= self.low[:, None]) & (cells < self.high[:, None])

    @property
    def covered(self) -> np.ndarray:
        """(B, size) bool: which cells of the map lie in each window."""
        cells = np.arange(self.size) - self.start[:, None]
        return (cells >= 0) & (cells < self.length)

    def union(self, other: Span) -> Span:
        """Windows that contain the dirty cells of both spans."""
        if self is other:
            return self
        low = np.where(self.low < self.high, self.low, other.low)
        other_low = np.where(other.low < other.high, other.low, low)
        low, high = np.minimum(low, other_low), np.maximum(self.high, other.high)
        union = Span.around(low, high, self.size)
        return union.whole() if self.is_whole or other.is_whole else union

    def within(self, low: np.ndarray, high: np.ndarray) -> Span:
        """Windows that contain the dirty cells which lie in [low, high) of each image."""
        if (low <= self.low).all() and (self.high <= high).all():
            return self
        return Span.around(np.maximum(self.low, low), np.minimum(self.high, high), self.size)

    def same_windows(self, other: Span) -> bool:
        """Whether both spans have the same windows."""
        return self is other or (
            self.length == other.length and np.array_equal(self.start, other.start)
        )


class Source:
    """For each position of an axis that was made by copying cells: the cell that was copied there.

    Such an axis is a map's axis after padding, cropping, striding or nearest-neighbour resizing.

    Args:
        cells: (P,) int, for each position a cell in ``[0, size)``, or ``NOTHING`` if the position
            holds a constant.

    Attributes:
        is_shift: Whether each cell is copied at most once, to position ``cell + offset``.
    """

    def __init__(self, cells: np.ndarray) -> None:
        self.cells = cells
        copied = np.flatnonzero(cells != NOTHING)
        self._ends = (cells[copied].min(), cells[copied].max() + 1) if copied.size else (0, 0)
        self.offset = int(copied[0] - cells[copied[0]]) if copied.size else 0
        self.is_shift = bool((cells[copied] == copied - self.offset).all())

    @classmethod
    def identity(cls, size: int) -> Source:
        """The source of a map that was not changed."""
        return _identity(size)

    def __len__(self) -> int:
        return len(self.cells)

    def positions_of(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The shortest intervals of positions that contain all copies of the cells [low, high)."""
        if self.is_shift:
            return low + self.offset, high + self.offset
        copied = (self.cells >= low[:, None]) & (self.cells < high[:, None])
        found = copied.any(1)
        first = np.where(found, copied.argmax(1), 0)
        last = np.where(found, len(self.cells) - copied[:, ::-1].argmax(1), 0)
        return first, last

    def cells_at(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The shortest intervals of cells that contain all cells copied to positions [low, high)."""
        if self.is_shift:
            return (
                np.maximum(low - self.offset, self._ends[0]),
                np.minimum(high - self.offset, self._ends[1]),
            )
        position = np.arange(len(self.cells))
        read = (position >= low[:, None]) & (position < high[:, None]) & (self.cells != NOTHING)
        first = np.where(read, self.cells, len(self.cells)).min(1)
        last = np.where(read, self.cells, NOTHING).max(1) + 1
        return first, last


@functools.lru_cache(maxsize=1024)
def _identity(size: int) -> Source:
    return Source(np.arange(size))


_ONE_CELL = Window(kernel=1, stride=1, dilation=1)


@dataclass(frozen=True)
class ReceptiveField:
    """The input cells that each result cell of an operation reads, along one axis.

    Attributes:
        source: From positions of the padded axis to cells of the input.
        size: Result cells.
        window: The kernel: result ``o`` reads the padded positions ``o * stride + t * dilation``
            for ``0 <= t < kernel``. Default: one position.
    """

    source: Source
    size: int
    window: Window = _ONE_CELL

    @property
    def is_identity(self) -> bool:
        """Whether each result reads the cell at its own place, and no other."""
        return (
            self.window.kernel_extent == self.window.stride == 1
            and self.source is Source.identity(self.size)
        )

    def results(self, span: Span) -> Span:
        """The dirty results if the dirty inputs are those of ``span``."""
        low, high = self.source.positions_of(span.low, span.high)
        first = -((self.window.kernel_extent - 1 - low) // self.window.stride)
        last = (high - 1) // self.window.stride + 1
        empty = low >= high
        return Span.around(np.where(empty, 0, first), np.where(empty, 0, last), self.size)

    def positions(self, span: Span) -> tuple[np.ndarray, int]:
        """The padded positions that results in the windows of ``span`` read: first (B,), and count."""
        return span.start * self.window.stride, self.window.spans(span.length)

    def inputs(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The shortest intervals of input cells that contain all that results [low, high) read.

        ``high <= low`` if they read no cell.
        """
        empty = low >= high
        first = np.where(empty, 0, low * self.window.stride)
        last = np.where(empty, 0, (high - 1) * self.window.stride + self.window.kernel_extent)
        return self.source.cells_at(first, last)
