"""Winograd's algorithm for 3 x 3 convolutions: 36 multiplications instead of 144 for 4 x 4 outputs.

Source: minimal filtering F(4 x 4, 3 x 3) in Lavin and Gray, "Fast Algorithms for Convolutional Neural
Networks", CVPR 2016, section 4. torch's convolutions on a CPU do not use it.

The algorithm multiplies polynomials by their values at a few points. The choice of points decides the
rounding error: Barabasz, Anderson, Soodhalter and Gregg, "Error Analysis and Improving the Accuracy of
Winograd Convolution for Deep Neural Networks", ACM TOMS 2020. The error with the points below is half of
that with the usual 0, 1, -1, 2, -2.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mindpad_mm.incremental.graph import OperationGraph
from mindpad_mm.padding.convolution import Convolution

# With fewer channels the transforms cost more than the multiplications they save.
_CHANNELS = 128
# The algorithm must need this many times fewer multiplications. The most is 4; it is less if tiles
# extend beyond the results.
_GAIN = 2
# With fewer tiles, reading the kernel's 36 matrices takes longer than multiplying by them.
_FEWEST_TILES = 16
# Tiles per step, so that one step's data stay in the processor's cache.
_TILES_PER_STEP = 128

# Results of a tile, and cells that they read, along one axis.
_RESULTS, _CELLS = 4, 6
# The points at which the polynomials are evaluated; infinity is the sixth.
_POINTS = (0, 0.75, -0.75, 1.5, -1.5)


class WinogradConvolution(Convolution):
    """A convolution that uses Winograd's algorithm if that is faster.

    Results equal those of :class:`Convolution` within rounding: for independent values, the RMS error
    is less than 2e-6 of the RMS result. For torch's own convolution it is about 2e-7. The choice of
    the algorithm depends on the number of images, so the last bits can too.

    Args:
        convolution: The convolution to compute.
        graph: Keeps the transformed kernel for later runs.
    """

    def __init__(self, convolution: Convolution, graph: OperationGraph) -> None:
        super().__init__(
            convolution.weight, convolution.stride, convolution.dilation, convolution.groups
        )
        self.graph = graph

    def __call__(self, x: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
        height, width = (size + 2 * pad - 2 for size, pad in zip(x.shape[-2:], padding))
        if not self._is_faster(x, height, width):
            return super().__call__(x, bias, padding)
        weight = self.weight
        kernel = self.graph.cached(weight, ('winograd',), lambda: transform_kernel(weight))
        return convolve(x, kernel, bias, padding)

    def _is_faster(self, x: Tensor, height: int, width: int) -> bool:
        if not (
            # Other weights are computed anew in every run (weight standardisation), so that their
            # transform could not be kept.
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
        if len(x) * tiles < _FEWEST_TILES:
            return False
        return 9 * height * width >= _GAIN * _CELLS**2 * tiles


def _matrices() -> tuple[Tensor, Tensor, Tensor]:
    """The transforms of the kernel (6, 3), the cells (6, 6) and the products (4, 6) along one axis.

    Returns:
        Three float64 matrices: G, B^T and A^T of the paper.
    """
    kernel, cells = [], []
    for point in _POINTS:
        others = [other for other in _POINTS if other != point]
        scale = np.prod(np.subtract(point, others))
        kernel.append([point**k / scale for k in range(3)])
        cells.append([*np.poly(others)[::-1].tolist(), 0])
    kernel.append([0, 0, 1])
    cells.append(np.poly(_POINTS)[::-1].tolist())
    last = _RESULTS - 1
    results = [[*(point**k for point in _POINTS), k == last] for k in range(_RESULTS)]
    g, b, a = (
        torch.tensor(np.array(each), dtype=torch.float64) for each in (kernel, cells, results)
    )
    return g, b, a


_KERNEL_TRANSFORM, _CELL_TRANSFORM, _PRODUCT_TRANSFORM = _matrices()
# Along both axes at once.
_TILE_TRANSFORM = torch.kron(_CELL_TRANSFORM, _CELL_TRANSFORM)
_SUM_TRANSFORM = torch.kron(_PRODUCT_TRANSFORM, _PRODUCT_TRANSFORM)


def transform_kernel(weight: Tensor) -> Tensor:
    """Transform a kernel (C_out, C_in, 3, 3) to (36, C_in, C_out) for :func:`convolve`."""
    matrix = _KERNEL_TRANSFORM.to(weight.device)
    kernel = weight.new_empty(_CELLS**2, weight.shape[1], weight.shape[0])
    # In parts: in double precision, the whole kernel would set the scan's peak memory.
    for taps, part in zip(weight.split(_CHANNELS, 1), kernel.split(_CHANNELS, 1)):
        exact = torch.einsum('ai,ocij,bj->abco', matrix, taps.double(), matrix)
        part.copy_(exact.flatten(0, 1))
    return kernel


def convolve(
    x: Tensor, kernel: Tensor, bias: Tensor | None = None, padding: tuple[int, int] = (0, 0)
) -> Tensor:
    """Convolve by a transformed 3 x 3 kernel, with stride 1.

    Args:
        x: (B, C_in, H, W), best in channels_last.
        kernel: The result of :func:`transform_kernel`.
        bias: (C_out,).
        padding: (vertical, horizontal) zeros on either side.

    Returns:
        (B, C_out, H', W'), channels last.
    """
    channels = kernel.shape[-1]
    height, width = (size + 2 * pad - 2 for size, pad in zip(x.shape[-2:], padding))
    down, across = -(-height // _RESULTS), -(-width // _RESULTS)
    vertical, horizontal = padding
    # The last tiles may extend beyond the results.
    below, right = _RESULTS * down - height, _RESULTS * across - width
    pads = 0, 0, horizontal, horizontal + right, vertical, vertical + below
    x = x.permute(0, 2, 3, 1)
    y = x.new_empty(len(x), down, _RESULTS, across, _RESULTS, channels)
    tile_transform, sum_transform = _TILE_TRANSFORM.to(x), _SUM_TRANSFORM.to(x)
    step = max(1, _TILES_PER_STEP // (down * across))
    for first in range(0, len(x), step):
        part = slice(first, first + step)
        cells = F.pad(x[part], pads) if any(pads) else x[part]
        tiles = cells.unfold(1, _CELLS, _RESULTS).unfold(2, _CELLS, _RESULTS)
        tiles = tile_transform @ tiles.permute(4, 5, 0, 1, 2, 3).reshape(_CELLS**2, -1)
        sums = torch.bmm(tiles.view(_CELLS**2, -1, x.shape[-1]), kernel)
        results = sum_transform @ sums.view(_CELLS**2, -1)
        results = results.view(_RESULTS, _RESULTS, -1, down, across, channels)
        results = results.permute(2, 3, 0, 4, 1, 5)
        y[part].copy_(results) if bias is None else torch.add(results, bias, out=y[part])
    y = y.view(len(x), _RESULTS * down, _RESULTS * across, channels)[:, :height, :width]
    return y.permute(0, 3, 1, 2)
