"""Padding a map, and convolving over a padded map, with any mode on any axis."""

from __future__ import annotations

from typing import Any, Callable, List, Optional, Tuple

import torch
from torch import Tensor

from mindpad_mm.padding.modes import NOTHING, Modes

Pads = Tuple[int, int, int, int]
"""Cells added at the (top, bottom, left, right)."""

Cells = List[Tuple[int, int]]
"""Along one axis, (position in the padded map, cell that stands there) for each padded position."""

Convolve = Callable[[Tensor, Optional[Tensor], Tuple[int, int]], Tensor]
"""``convolve(input, bias, zero_padding)``: a convolution that can itself pad (rows, columns) of zeros."""


def _fill(x: Tensor, pads: Pads, rows: Cells, columns: Cells) -> Tensor:
    """Copy ``x`` into a larger map, then its rows, then the columns of what is there."""
    top, bottom, left, right = pads
    height, width = x.shape[-2:]
    shape = (*x.shape[:-2], top + height + bottom, left + width + right)
    layout = torch.contiguous_format
    if not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        layout = torch.channels_last
    out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)
    out[..., top : top + height, left : left + width] = x
    for position, cell in rows:
        row = out[..., position, left : left + width]
        row.zero_() if cell == NOTHING else row.copy_(x[..., cell, :])
    for position, cell in columns:
        column = out[..., position]
        column.zero_() if cell == NOTHING else column.copy_(out[..., left + cell])
    return out


class _Pad(torch.autograd.Function):
    """:func:`_fill` with one copy of the gradient on the way back, instead of one a row and column."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, pads: Pads, rows: Cells, columns: Cells) -> Tensor:
        ctx.geometry = pads, rows, columns, x.shape[-2:]
        return _fill(x, pads, rows, columns)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (top, _, left, _), rows, columns, (height, width) = ctx.geometry
        within = slice(left, left + width)
        folded = grad[..., top : top + height, within].clone()
        for position, cell in columns:
            if cell != NOTHING:
                folded[..., cell] += grad[..., top : top + height, position]
        for position, cell in rows:
            if cell != NOTHING:
                row = grad[..., position, within].clone()
                for column, column_cell in columns:
                    if column_cell != NOTHING:
                        row[..., column_cell] += grad[..., position, column]
                folded[..., cell, :] += row
        return folded, None, None, None


def pad2d(x: Tensor, modes: Modes, pads: Pads) -> Tensor:
    """Pad the last two axes; what ``numpy.pad`` does, in any mode, by any width.

    Args:
        x: Map of shape (..., H, W), H and W at least 1.
        modes: The (vertical, horizontal) modes. ``partial`` pads with zeros here: its weights belong
            to the windows, not to the cells.
        pads: Cells added at the (top, bottom, left, right), each >= 0.

    Returns:
        Shape (..., top + H + bottom, left + W + right), in the memory format of ``x``.
    """
    if not any(pads):
        return x
    rows = modes[0].padded_cells(x.shape[-2], *pads[:2])
    columns = modes[1].padded_cells(x.shape[-1], *pads[2:])
    if x.requires_grad and torch.is_grad_enabled():
        return _Pad.apply(x, pads, rows, columns)
    return _fill(x, pads, rows, columns)


def reweighted(
    y: Tensor,
    size: tuple[int, int],
    modes: Modes,
    pads: Pads,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> Tensor:
    """Scale each window by kernel area / area on real cells, along the axes whose mode asks for it.

    Args:
        y: Sums over the windows, without bias, shape (..., H_out, W_out).
        size: (H, W) of the map the windows slid over, before padding.
    """
    for axis, mode in enumerate(modes):
        before, after = pads[2 * axis : 2 * axis + 2]
        if mode.reweight and (before or after):
            taps = mode.taps(size[axis], before, after, kernel[axis], stride[axis], dilation[axis])
            weights = y.new_tensor([kernel[axis] / count if count else 0.0 for count in taps])
            y = y * (weights[:, None] if axis == 0 else weights)
    return y


def padded_conv2d(
    x: Tensor,
    bias: Tensor | None,
    convolve: Convolve,
    modes: Modes,
    pads: Pads,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> Tensor:
    """A convolution over ``x`` continued by ``modes``.

    Args:
        x: Map of shape (N, C, H, W) or (C, H, W).
        bias: Shape (C_out,), or None.
        convolve: The convolution itself; see :data:`Convolve`.
        modes: The (vertical, horizontal) modes.
        pads: Cells the map is continued by at the (top, bottom, left, right).
        kernel, stride, dilation: Of the convolution, (vertical, horizontal).

    Returns:
        Shape (N, C_out, H_out, W_out), the same as with zeros of the same width.
    """
    size = x.shape[-2], x.shape[-1]
    reweights = any(mode.reweight for mode in modes)
    zero_padding = [0, 0]
    explicit = list(pads)
    for axis, mode in enumerate(modes):
        before, after = pads[2 * axis : 2 * axis + 2]
        if mode.empty and before == after:
            zero_padding[axis] = before
            explicit[2 * axis : 2 * axis + 2] = 0, 0
    x = pad2d(x, modes, tuple(explicit))
    y = convolve(x, None if reweights else bias, tuple(zero_padding))
    if reweights:
        y = reweighted(y, size, modes, pads, kernel, stride, dilation)
        if bias is not None:
            y = y + bias.to(y.dtype).view(-1, 1, 1)
    return y


def pool_extent(
    size: int, padding: int, kernel: int, stride: int, dilation: int, ceil_mode: bool
) -> int:
    """Windows that torch's own pooling makes along an axis of ``size`` cells.

    With ``ceil_mode``, a last window that would start beyond the map and its leading padding is dropped.
    """
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return span // stride + 1
    windows = -(-span // stride) + 1
    return windows - 1 if (windows - 1) * stride >= size + padding else windows
