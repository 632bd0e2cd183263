"""Window arithmetic: which cells of a map can have changed, one axis at a time, for a batch at once."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from mindpad_mm.padding.modes import NOTHING


@dataclass(frozen=True)
class Span:
    """Where the windows of a batch lie along one axis of a map.

    All windows of a batch have one length, so that they fit in one tensor. Where a sample's changed
    cells are fewer, its window takes in unchanged ones, which recomputing leaves as they are; at
    the border it is moved inside the map instead of being clipped.

    Attributes:
        low: (B,) first cell that can have changed.
        high: (B,) one past the last; ``low == high`` where none has.
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
        """The shortest windows that hold the changed cells [low, high) of each sample."""
        low = low.clip(0, size)
        high = np.maximum(high.clip(0, size), low)
        length = max(int((high - low).max()), 1)
        return cls(low, high, np.minimum(low, size - length), length, size)

    @classmethod
    def all_changed(cls, batch: int, size: int) -> Span:
        """Every cell of every sample."""
        zeros = np.zeros(batch, int)
        return cls(zeros, zeros + size, zeros, size, size)

    @classmethod
    def unchanged(cls, batch: int, size: int) -> Span:
        """No cell of any sample."""
        zeros = np.zeros(batch, int)
        return cls(zeros, zeros, zeros, 1, size)

    def whole(self) -> Span:
        """The same changed cells, in windows that are the whole axis."""
        return Span(self.low, self.high, np.zeros_like(self.low), self.size, self.size)

    @property
    def is_whole(self) -> bool:
        """Whether the windows are the whole axis."""
        return self.length == self.size

    @property
    def changed(self) -> np.ndarray:
        """(B, length): which cells of the windows can have changed."""
        cells = self.start[:, None] + np.arange(self.length)
        return (cells >= self.low[:, None]) & (cells < self.high[:, None])

    @property
    def covered(self) -> np.ndarray:
        """(B, size): which cells of the map lie in each window."""
        cells = np.arange(self.size) - self.start[:, None]
        return (cells >= 0) & (cells < self.length)

    def union(self, other: Span) -> Span:
        """Windows over the changed cells of both."""
        if self is other:
            return self
        low = np.where(self.low < self.high, self.low, other.low)
        other_low = np.where(other.low < other.high, other.low, low)
        low, high = np.minimum(low, other_low), np.maximum(self.high, other.high)
        union = Span.around(low, high, self.size)
        return union.whole() if self.is_whole or other.is_whole else union

    def within(self, low: np.ndarray, high: np.ndarray) -> Span:
        """Windows over the changed cells that lie in [low, high) of each sample."""
        if (low <= self.low).all() and (self.high <= high).all():
            return self
        return Span.around(np.maximum(self.low, low), np.minimum(self.high, high), self.size)

    def same_windows(self, other: Span) -> bool:
        """Whether both hold the same windows."""
        return self is other or (
            self.length == other.length and np.array_equal(self.start, other.start)
        )


class Source:
    """Which cell of a map stands at each position of another axis made from it.

    The other axis may be the map continued by a padding mode, cropped, strided or enlarged.

    Args:
        cells: (P,) int cells in ``[0, size)``, or ``NOTHING`` where something constant stands.
    """

    def __init__(self, cells: np.ndarray) -> None:
        self.cells = cells
        inside = np.flatnonzero(cells != NOTHING)
        self._ends = (cells[inside].min(), cells[inside].max() + 1) if inside.size else (0, 0)
        first = inside[0] if inside.size else 0
        self.offset = int(first - cells[first]) if inside.size else 0
        shifted = np.arange(len(cells)) - self.offset
        self.is_shift = bool((cells[inside] == shifted[inside]).all())
        """Whether each cell stands once, at ``cell + offset``."""

    @classmethod
    def identity(cls, size: int) -> Source:
        """The map itself."""
        return _identity(size)

    def __len__(self) -> int:
        return len(self.cells)

    def image(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The shortest intervals of positions that hold all copies of the cells [low, high)."""
        if self.is_shift:
            return low + self.offset, high + self.offset
        held = (self.cells >= low[:, None]) & (self.cells < high[:, None])
        found = held.any(1)
        first = np.where(found, held.argmax(1), 0)
        last = np.where(found, len(self.cells) - held[:, ::-1].argmax(1), 0)
        return first, last

    def cells_at(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The shortest intervals of cells that hold all that stand at the positions [low, high)."""
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


@dataclass(frozen=True)
class ReceptiveField:
    """What the windows of an operation's result read along one axis.

    Attributes:
        source: From positions of the axis that is read to cells of the input.
        kernel, stride, dilation: Result ``o`` reads positions ``o * stride + t * dilation``,
            ``0 <= t < kernel``.
        size: Results along the axis.
    """

    source: Source
    size: int
    kernel: int = 1
    stride: int = 1
    dilation: int = 1

    @property
    def reach(self) -> int:
        """Positions from the first to the last that one result reads."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def is_identity(self) -> bool:
        """Whether each result reads the cell at its own place, and no other."""
        return self.reach == self.stride == 1 and self.source is Source.identity(self.size)

    def results(self, span: Span) -> Span:
        """Where results can change if the input changes in ``span``."""
        low, high = self.source.image(span.low, span.high)
        first = -((self.reach - 1 - low) // self.stride)
        last = (high - 1) // self.stride + 1
        empty = low >= high
        return Span.around(np.where(empty, 0, first), np.where(empty, 0, last), self.size)

    def positions(self, span: Span) -> tuple[np.ndarray, int]:
        """First position (B,) that the results in the windows of ``span`` read, and how many."""
        return span.start * self.stride, (span.length - 1) * self.stride + self.reach

    def inputs(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The shortest intervals of input cells that hold all that results [low, high) read.

        ``high <= low`` where they read none.
        """
        empty = low >= high
        first = np.where(empty, 0, low * self.stride)
        last = np.where(empty, 0, (high - 1) * self.stride + self.reach)
        return self.source.cells_at(first, last)
