"""How many times each pixel is used, counted exactly in integers.

A layer uses a cell once for each window and kernel tap that reads it; a cell that padding repeats is
used at each repetition. A network uses a pixel once for each path from the pixel to a cell of its
output. The counts are propagated from the output back to the input: each cell passes its count to all
cells that it reads. Channels and pointwise operations (activations, normalisation) do not matter;
the weights of squeeze-and-excitation, which depend on the whole map, are not counted.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.names import ModeSpec
from mindpad_mm.diagnose.tracing import FULL, VALID, Field, Reads, Trace, window_reads
from mindpad_mm.padding.kernels import Pair, get_windows, pair
from mindpad_mm.padding.modes import get_modes

_LARGEST = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Usage:
    """Uses of each pixel.

    Attributes:
        counts: (H, W) integers; int64, or Python integers where int64 would overflow.
        denominator: Divisor of the counts: 1, except for modes that reweight windows (partial
            convolution), which use a cell ``kernel / (taps on cells)`` times.
    """

    counts: np.ndarray
    denominator: int = 1

    @property
    def unused(self) -> int:
        """The number of pixels that are not used."""
        return int((self.counts == 0).sum())

    @property
    def disparity(self) -> float:
        """The largest count divided by the smallest; infinite if a pixel is not used."""
        low, high = int(self.counts.min()), int(self.counts.max())
        return high / low if low else np.inf

    def relative(self) -> np.ndarray:
        """(H, W) float64: the counts divided by their mean in the middle third of both axes."""
        values = (self.counts / int(self.counts.max())).astype(np.float64)
        rows, cols = (_middle(size) for size in values.shape)
        return values / values[rows, cols].mean()

    def sides(self) -> tuple[float, float, float, float]:
        """Mean use at the (top, bottom, left, right) border, relative to the middle.

        The border strip is a sixteenth of the image wide; corners are excluded.
        """
        values = self.relative()
        (height, width), (rows, cols) = values.shape, map(_middle, values.shape)
        row, col = max(height // 16, 1), max(width // 16, 1)
        strips = values[:row, cols], values[-row:, cols], values[rows, :col], values[rows, -col:]
        return tuple(float(strip.mean()) for strip in strips)

    def smooth_disparity(self, stride: int) -> float | None:
        """:attr:`disparity` of the means over all squares of ``stride`` pixels a side.

        Strides make neighbouring pixels differ in the same way everywhere; averaging removes this, so
        that the effect of the border is left. None if the image is not larger than such a square.
        """
        if stride >= min(self.counts.shape):
            return None
        sums = np.pad(self.relative(), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
        squares = (
            sums[stride:, stride:] - sums[:-stride, stride:]
            - sums[stride:, :-stride] + sums[:-stride, :-stride]
        )  # fmt: skip
        low, high = squares.min(), squares.max()
        # Differences of cumulative sums are zero only up to rounding.
        return float(high / low) if low > 1e-9 * high else np.inf


def _middle(size: int) -> slice:
    return slice(size // 3, size - size // 3)


def layer_usage(
    size: tuple[int, int],
    kernel: Pair,
    mode: ModeSpec = 'zeros',
    padding: Pair | str = 'same',
    stride: Pair = 1,
    dilation: Pair = 1,
) -> Usage:
    """Uses of each cell of a map by a single convolution.

    Args:
        size: (rows, columns).
        kernel, stride, dilation: Integers or (vertical, horizontal) pairs.
        mode: Padding mode.
        padding: ``same`` (dilation * (kernel - 1) / 2), ``valid`` (none), ``full``
            (dilation * (kernel - 1)), or cells on each side.

    Raises:
        UserError: An unknown mode, or a map too small for the kernel.
    """
    windows = get_windows(kernel, stride, dilation)
    reaches = [window.kernel_extent - 1 for window in windows]
    named = {'same': [r // 2 for r in reaches], VALID: [0, 0], FULL: reaches}
    pads = named[padding] if isinstance(padding, str) else pair(padding)
    axes = []
    for axis_mode, cells, pad, window in zip(get_modes(mode), size, pads, windows):
        results = window.fits(cells + 2 * pad)
        if results < 1:
            raise UserError(
                f'a map of {size[0]} x {size[1]} is too small for the kernel {pair(kernel)}'
            )
        axes.append(window_reads(axis_mode, cells, (pad, pad), window, results))
    return _back(Usage(np.ones([len(reads) for reads in axes], np.int64)), *axes)


def pixel_usage(trace: Trace, outputs: Sequence[Field] | None = None) -> Usage:
    """Uses of each pixel by a network.

    Args:
        trace: A trace of the network.
        outputs: Count the paths that end in these fields. Default: the network's output. A field
            that is given twice counts twice.

    Raises:
        UserError: The network calls a function whose reads are not known.
    """
    if trace.lost:
        raise UserError(f'uses cannot be counted: the input of {trace.lost[0]} could not be traced')
    pending: dict[Field, Usage] = {}
    for field in trace.outputs if outputs is None else outputs:
        _add(pending, field, Usage(np.ones(field.size, np.int64)))
    heap = [(-field.serial, field) for field in pending]
    heapq.heapify(heap)
    while heap:
        _, field = heapq.heappop(heap)
        if field is trace.source:
            break
        if field.unknown:
            raise UserError(
                f'uses cannot be counted through {field.unknown}: it is not known which cells it reads'
            )
        usage = pending.pop(field)
        for parent, rows, cols in field.reads:
            if parent not in pending:
                heapq.heappush(heap, (-parent.serial, parent))
            _add(pending, parent, _back(usage, rows, cols))
    return pending.get(trace.source) or Usage(np.zeros(trace.source.size, np.int64))


def _back(usage: Usage, rows: Reads, cols: Reads) -> Usage:
    """Propagate the uses of an operation's output back to its input."""
    counts, denominator = usage.counts, usage.denominator
    for reads in (rows, cols):
        if not reads.is_identity:
            counts = reads.back(_wide(counts, int(counts.max()) * reads.most))
        # Transposed in each pass, so that the second pass handles the columns.
        counts = np.ascontiguousarray(counts.T)
        denominator *= reads.denominator
    return Usage(counts, denominator)


def _add(pending: dict[Field, Usage], field: Field, usage: Usage) -> None:
    """Add uses to those already collected for a field."""
    old = pending.get(field)
    if old is None:
        pending[field] = usage
        return
    common = int(np.lcm(np.array(old.denominator, object), np.array(usage.denominator, object)))
    total: np.ndarray | int = 0
    for part in (old, usage):
        factor = common // part.denominator
        # Twice, because two parts are added.
        counts = _wide(part.counts, 2 * int(part.counts.max()) * factor)
        total = total + (counts * factor if factor > 1 else counts)
    pending[field] = Usage(total, common)


def _wide(counts: np.ndarray, largest: int) -> np.ndarray:
    """The same counts in a dtype that holds ``largest``."""
    return counts if counts.dtype == object or largest <= _LARGEST else counts.astype(object)
