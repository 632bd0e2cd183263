"""3 x 3 convolutions of many channels with 36 multiplications for every 144.

The minimal filtering algorithm F(4 x 4, 3 x 3): Lavin and Gray, "Fast Algorithms for Convolutional Neural
Networks", CVPR 2016, section 4. torch's convolutions on a CPU do not use it.

Rows of cells are taken for polynomials, which are multiplied by way of their values at some points. Which
points decides how much is lost to rounding: Barabasz, Anderson, Soodhalter and Gregg, "Error Analysis and
Improving the Accuracy of Winograd Convolution for Deep Neural Networks", ACM TOMS 2020. Those below lose
half as much as the usual 0, 1, -1, 2, -2.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mindpad_mm.incremental.graph import OperationGraph
from mindpad_mm.padding.convolution import Convolution

# With fewer channels the transforms cost more than the products they save.
_CHANNELS = 128
# So many times fewer must the products be: 4 at best, less where tiles reach beyond the results.
_GAIN = 2
# Of fewer tiles than this a kernel's 36 matrices take longer to read than to multiply with.
_FEWEST = 16
# Tiles at a time, so that what they take stays in the processor's cache.
_TILES = 128

# Results of a tile, and cells that they read, along one axis.
_RESULTS, _CELLS = 4, 6
# Where polynomials are evaluated, besides at infinity.
_POINTS = (0, 0.75, -0.75, 1.5, -1.5)


class WinogradConvolution(Convolution):
    """A convolution that takes the way of fewer multiplications where it is the quicker one.

    Results are those of :class:`Convolution` within rounding. Of independent values, the root of the
    mean square of what they are off is less than 2e-6 of that of the results; torch's own are off by
    about 2e-7. Which way is taken, and so the last bits, can change with the number of images.

    Args:
        convolution: What to compute.
        graph: Keeps the transformed kernel.
    """

    def __init__(self, convolution: Convolution, graph: OperationGraph) -> None:
        super().__init__(
            convolution.weight, convolution.stride, convolution.dilation, convolution.groups
        )
        self.graph = graph

    def __call__(self, x: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
        height, width = (size + 2 * pad - 2 for size, pad in zip(x.shape[-2:], padding))
        if not self._is_quicker(x, height, width):
            return super().__call__(x, bias, padding)
        weight = self.weight
        kernel = self.graph.cached(weight, ('winograd',), lambda: transformed(weight))
        return convolve(x, kernel, bias, padding)

    def _is_quicker(self, x: Tensor, height: int, width: int) -> bool:
        if not (
            # Others are made anew in every run, as by weight standardisation: nothing to keep.
            isinstance(self.weight, nn.Parameter)
            and self.weight.shape[-2:] == (3, 3)
            and tuple(self.stride) == tuple(self.dilation) == (1, 1)
            and self.groups == 1
            and min(self.weight.shape[:2]) >= _CHANNELS
            and x.device.type == 'cpu'
            and x.dtype == self.weight.dtype == torch.float32
            and not torch._C._is_any_autocast_enabled()
        ):
            return False
        tiles = -(-height // _RESULTS) * -(-width // _RESULTS)
        if len(x) * tiles < _FEWEST:
            return False
        return 9 * height * width >= _GAIN * _CELLS**2 * tiles


def _matrices() -> tuple[Tensor, Tensor, Tensor]:
    """What the taps of a kernel (6, 3), the cells (6, 6) and the products (4, 6) are multiplied by, along
    one axis, float64."""
    kernel, cells = [], []
    for point in _POINTS:
        others = [other for other in _POINTS if other != point]
        scale = np.prod(np.subtract(point, others))
        kernel.append([point**k / scale for k in range(3)])
        cells.append([*np.poly(others)[::-1], 0])
    kernel.append([0, 0, 1])
    cells.append(np.poly(_POINTS)[::-1])
    last = _RESULTS - 1
    results = [[*(point**k for point in _POINTS), k == last] for k in range(_RESULTS)]
    return tuple(
        torch.tensor(np.array(each), dtype=torch.float64) for each in (kernel, cells, results)
    )


_OF_KERNEL, _OF_CELLS, _OF_PRODUCTS = _matrices()
# Along both axes at once.
_OF_TILE, _OF_SUMS = (torch.kron(each, each) for each in (_OF_CELLS, _OF_PRODUCTS))


def transformed(weight: Tensor) -> Tensor:
    """(C_out, C_in, 3, 3) to (36, C_in, C_out), what :func:`convolve` takes."""
    left = _OF_KERNEL.to(weight.device)
    kernel = weight.new_empty(_CELLS**2, weight.shape[1], weight.shape[0])
    # In double precision, which would be the scan's peak of memory if done at once.
    for taps, part in zip(weight.split(_CHANNELS, 1), kernel.split(_CHANNELS, 1)):
        exact = torch.einsum('ai,ocij,bj->abco', left, taps.double(), left)
        part.copy_(exact.flatten(0, 1))
    return kernel


def convolve(
    x: Tensor, kernel: Tensor, bias: Tensor | None = None, padding: tuple[int, int] = (0, 0)
) -> Tensor:
    """Convolve by a 3 x 3 kernel.

    Args:
        x: (B, C_in, H, W), best in channels_last.
        kernel: Of :func:`transformed`.
        bias: (C_out,).
        padding: Rows and columns of zeros on either side.

    Returns:
        (B, C_out, H', W'), channels last.
    """
    channels = kernel.shape[-1]
    height, width = (size + 2 * pad - 2 for size, pad in zip(x.shape[-2:], padding))
    down, across = -(-height // _RESULTS), -(-width // _RESULTS)
    vertical, horizontal = padding
    # The last tiles may reach beyond the results.
    below, right = _RESULTS * down - height, _RESULTS * across - width
    pads = 0, 0, horizontal, horizontal + right, vertical, vertical + below
    x = x.permute(0, 2, 3, 1)
    y = x.new_empty(len(x), down, _RESULTS, across, _RESULTS, channels)
    of_tile, of_sums = _OF_TILE.to(x), _OF_SUMS.to(x)
    step = max(1, _TILES // (down * across))
    for first in range(0, len(x), step):
        part = slice(first, first + step)
        cells = F.pad(x[part], pads) if any(pads) else x[part]
        tiles = cells.unfold(1, _CELLS, _RESULTS).unfold(2, _CELLS, _RESULTS)
        tiles = of_tile @ tiles.permute(4, 5, 0, 1, 2, 3).reshape(_CELLS**2, -1)
        sums = torch.bmm(tiles.view(_CELLS**2, -1, x.shape[-1]), kernel)
        results = of_sums @ sums.view(_CELLS**2, -1)
        results = results.view(_RESULTS, _RESULTS, -1, down, across, channels)
        results = results.permute(2, 3, 0, 4, 1, 5)
        y[part].copy_(results) if bias is None else torch.add(results, bias, out=y[part])
    y = y.view(len(x), _RESULTS * down, _RESULTS * across, channels)[:, :height, :width]
    return y.permute(0, 3, 1, 2)
