"""Which input cells each output cell of an operation reads, along one axis."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from mindpad_mm.padding.kernels import Window
from mindpad_mm.padding.modes import NOTHING, PaddingMode


@dataclass(frozen=True)
class Reads:
    """The input cells that the output cells of an operation read, along one axis.

    Attributes:
        cells: For each output cell, the input cells it reads; repeated if read several times.
        size: Number of input cells.
        weights: For each output cell, the weight of its reads as an integer over ``denominator``;
            None if all are 1.
        denominator: At least 1.
    """

    cells: tuple[tuple[int, ...], ...]
    size: int
    weights: tuple[int, ...] | None = None
    denominator: int = 1

    def __len__(self) -> int:
        return len(self.cells)

    @functools.cached_property
    def is_identity(self) -> bool:
        """Whether each output cell reads exactly the input cell at its own position."""
        own_place = (cells == (i,) for i, cells in enumerate(self.cells))
        return self.weights is None and len(self) == self.size and all(own_place)

    @functools.cached_property
    def most(self) -> int:
        """Upper bound of the factor by which :meth:`back` can increase a count."""
        used = np.zeros(self.size, np.int64)
        for cells in self.cells:
            np.add.at(used, list(cells), 1)
        return int(used.max()) * max(self.weights or (1,))

    def back(self, counts: np.ndarray) -> np.ndarray:
        """Uses of each input cell, from the uses of each output cell.

        Args:
            counts: (output cells, n) integers of a dtype that holds ``counts.max() * self.most``.

        Returns:
            (input cells, n); their denominator is ``self.denominator`` times that of ``counts``.
        """
        if self.weights is not None:
            counts = counts * np.array(self.weights, counts.dtype)[:, None]
        used = np.zeros((self.size, counts.shape[1]), counts.dtype)
        for count, cells in zip(counts, self.cells):
            for cell in cells:
                used[cell] += count
        return used


@functools.lru_cache(maxsize=4096)
def window_reads(
    mode: PaddingMode, size: int, pads: tuple[int, int], window: Window, results: int
) -> Reads:
    """The reads of a kernel sliding over a padded axis.

    Args:
        mode: Padding mode of the axis.
        size: Cells of the axis without padding.
        pads: Padding (before, after), cells.
        window: Kernel, stride and dilation.
        results: Number of windows; the last may extend beyond the padding (``ceil_mode``), where
            they read nothing.
    """
    source = mode.source(size, *pads)
    cells = []
    for first in range(0, results * window.stride, window.stride):
        taps = range(first, first + window.kernel_extent, window.dilation)
        found = (int(source[tap]) for tap in taps if tap < len(source))
        cells.append(tuple(cell for cell in found if cell != NOTHING))
    if not (mode.reweight and any(pads)):
        return Reads(tuple(cells), size)
    # A window's sum is scaled by kernel / (taps on cells); a window that reads no cell is 0.
    common = _lcm(cells)
    weights = tuple(window.kernel * common // len(c) if c else 0 for c in cells)
    shared = functools.reduce(math.gcd, weights, common)
    return Reads(tuple(cells), size, tuple(w // shared for w in weights), common // shared)


def _lcm(cells: list[tuple[int, ...]]) -> int:
    return functools.reduce(lambda a, b: a * b // math.gcd(a, b), (len(c) for c in cells if c), 1)


def transposed_reads(size: int, padding: int, window: Window, results: int) -> Reads:
    """Reads of a transposed convolution.

    With kernel tap ``t``, input cell ``i`` contributes to output cell
    ``i * stride - padding + t * dilation``.
    """
    cells: list[list[int]] = [[] for _ in range(results)]
    for cell in range(size):
        for tap in range(window.kernel):
            result = cell * window.stride - padding + tap * window.dilation
            if 0 <= result < results:
                cells[result].append(cell)
    return Reads(tuple(map(tuple, cells)), size)


@functools.lru_cache(maxsize=1024)
def identity_reads(size: int) -> Reads:
    """Each output cell reads the input cell at its own position."""
    return Reads(tuple((cell,) for cell in range(size)), size)


def copied_reads(cells: np.ndarray, size: int) -> Reads:
    """Output cells that are copies of input cells, or of ``NOTHING``."""
    return Reads(tuple(() if c == NOTHING else (int(c),) for c in cells), size)


@functools.lru_cache(maxsize=1024)
def adaptive_reads(size: int, results: int) -> Reads:
    """Adaptive pooling: each window reads the cells that overlap its part of the axis."""
    bounds = [(i * size // results, -(-(i + 1) * size // results)) for i in range(results)]
    return Reads(tuple(tuple(range(first, last)) for first, last in bounds), size)


@functools.lru_cache(maxsize=1024)
def aligned_reads(size: int, results: int) -> Reads:
    """A map cropped, or surrounded by cells that read nothing, with centres aligned."""
    first = (size - results) // 2
    cells = tuple((c,) if 0 <= c < size else () for c in range(first, first + results))
    return Reads(cells, size)


def broadcast_reads(results: int) -> Reads:
    """One input cell that every output cell reads."""
    return Reads(((0,),) * results, 1)
