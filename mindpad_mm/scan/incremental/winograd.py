"""3 x 3 convolutions of many channels with 16 multiplications for every 36.

The minimal filtering algorithm F(2 x 2, 3 x 3): Lavin and Gray, "Fast Algorithms for Convolutional Neural
Networks", CVPR 2016, section 4.1. torch's convolutions on a CPU do not use it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mindpad_mm.padding.functional import Convolution
from mindpad_mm.scan.incremental.tape import Tape

# With fewer channels the transforms cost more than the products they save.
_CHANNELS = 256
# So many times fewer must the products be: 2.25 at best, less where tiles reach beyond the results.
_GAIN = 1.9
# Tiles of 2 x 2 results at a time, so that what they take stays in the processor's cache.
_TILES = 128

# What a kernel is multiplied by on either side.
_KERNEL = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))


class WinogradConvolution(Convolution):
    """A convolution that takes the way of fewer multiplications where it is the quicker one.

    Results are those of :class:`Convolution` within rounding: they are less than twice as far from
    exact ones, in the root of the mean square.

    Args:
        convolution: What to compute.
        tape: Keeps the transformed kernel.
    """

    def __init__(self, convolution: Convolution, tape: Tape) -> None:
        super().__init__(
            convolution.weight, convolution.stride, convolution.dilation, convolution.groups
        )
        self.tape = tape

    def __call__(self, x: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
        height, width = (size + 2 * pad - 2 for size, pad in zip(x.shape[-2:], padding))
        if not self._is_quicker(x, height, width):
            return super().__call__(x, bias, padding)
        weight = self.weight
        kernel = self.tape.derived(weight, ('winograd',), lambda: transformed(weight))
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
        tiles = ((height + 1) // 2) * ((width + 1) // 2)
        return 9 * height * width >= _GAIN * 16 * tiles > 0


def transformed(weight: Tensor) -> Tensor:
    """(C_out, C_in, 3, 3) to (16, C_in, C_out), what :func:`convolve` takes."""
    left = weight.new_tensor(_KERNEL, dtype=torch.float64)
    kernel = torch.einsum('ai,ocij,bj->abco', left, weight.double(), left)
    return kernel.reshape(16, weight.shape[1], weight.shape[0]).to(weight.dtype)


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
    down, across = (height + 1) // 2, (width + 1) // 2
    vertical, horizontal = padding
    # Of the last tiles, one row or column of results is not needed if their number is odd.
    pads = 0, 0, horizontal, horizontal + width % 2, vertical, vertical + height % 2
    x = x.permute(0, 2, 3, 1)
    y = x.new_empty(len(x), down, 2, across, 2, channels)
    step = max(1, _TILES // (down * across))
    for first in range(0, len(x), step):
        part = slice(first, first + step)
        cells = F.pad(x[part], pads) if any(pads) else x[part]
        products = torch.bmm(_transformed_inputs(cells, down, across), kernel)
        _put_results(products.view(4, 4, -1, down, across, channels), bias, y[part])
    y = y.view(len(x), 2 * down, 2 * across, channels)[:, :height, :width]
    return y.permute(0, 3, 1, 2)


def _transformed_inputs(x: Tensor, down: int, across: int) -> Tensor:
    """(B, 2 * down + 2, 2 * across + 2, C) to (16, B * down * across, C), all tiles of 4 x 4 cells."""
    batch, _, width, channels = x.shape
    rows = x.new_empty(4, batch, down, width, channels)
    _combine([x[:, k : k + 2 * down - 1 : 2] for k in range(4)], rows)
    tiles = x.new_empty(4, 4, batch, down, across, channels)
    _combine([rows[..., k : k + 2 * across - 1 : 2, :] for k in range(4)], tiles.transpose(0, 1))
    return tiles.view(16, -1, channels)


def _combine(cells: list[Tensor], out: Tensor) -> None:
    torch.sub(cells[0], cells[2], out=out[0])
    torch.add(cells[1], cells[2], out=out[1])
    torch.sub(cells[2], cells[1], out=out[2])
    torch.sub(cells[1], cells[3], out=out[3])


def _put_results(products: Tensor, bias: Tensor | None, y: Tensor) -> None:
    """(4, 4, B, down, across, C_out) into (B, down, 2, across, 2, C_out)."""
    upper, lower = products[0] + products[1], products[1] - products[2]
    upper += products[2]
    lower -= products[3]
    for row, part in enumerate((upper, lower)):
        left, right = part[0] + part[1], part[1] - part[2]
        left += part[2]
        right -= part[3]
        for column, result in enumerate((left, right)):
            place = y[:, :, row, :, column]
            place.copy_(result) if bias is None else torch.add(result, bias, out=place)
