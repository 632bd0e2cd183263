"""Padding a map, and convolving over a padded map, with any mode on any axis."""

from __future__ import annotations

from typing import Any, Callable, List, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function_unary

from mindpad_mm.padding.borders import border_of, convolve_borders, layout_of
from mindpad_mm.padding.modes import NOTHING, Modes
from mindpad_mm.padding.reweigh import reweigh_borders, reweighted

Pads = Tuple[int, int, int, int]
"""Cells added at the (top, bottom, left, right)."""

Cells = List[Tuple[int, int]]
"""Along one axis, (position in the padded map, cell that stands there) for each padded position."""

Convolve = Callable[[Tensor, Optional[Tensor], Tuple[int, int]], Tensor]
"""``convolve(input, bias, zero_padding)``: a convolution that can itself pad (rows, columns) of zeros."""

_is_compiling = getattr(torch.compiler, 'is_compiling', torch._utils.is_compiling)


class Convolution:
    """:func:`torch.nn.functional.conv2d` as a :data:`Convolve`.

    Attributes:
        fan_out: Multiply-accumulates for each cell and tap: output channels of a group.
    """

    def __init__(
        self, weight: Tensor, stride: tuple[int, int], dilation: tuple[int, int], groups: int
    ) -> None:
        self.weight = weight
        self.stride = stride
        self.dilation = dilation
        self.groups = groups
        self.fan_out = weight.shape[0] // groups

    def __call__(self, x: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
        return F.conv2d(x, self.weight, bias, self.stride, padding, self.dilation, self.groups)


def _is_overridden(x: Tensor) -> bool:
    """Whether a tensor runs functions in its own way. A mode over plain tensors sees the parts."""
    return type(x) is not Tensor and has_torch_function_unary(x)


def _captured(x: Tensor) -> bool:
    """Whether a graph is being taken: then whole maps and no changes in place are the better way."""
    if _is_compiling() or torch.jit.is_tracing():
        return True
    # torch 2.1 compiles a class from torch.nn without looking inside, and traces it by its tensors.
    return type(x) not in (Tensor, nn.Parameter) or torch._is_functional_tensor(x)


def _fill(x: Tensor, pads: Pads, rows: Cells, columns: Cells) -> Tensor:
    """Copy ``x`` into a larger map, then its rows, then the columns of what is there."""
    top, bottom, left, right = pads
    height, width = x.shape[-2:]
    shape = (*x.shape[:-2], top + height + bottom, left + width + right)
    out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout_of(x))
    out[..., top : top + height, left : left + width] = x
    for position, cell in rows:
        row = out[..., position, left : left + width]
        row.zero_() if cell == NOTHING else row.copy_(x[..., cell, :])
    for position, cell in columns:
        column = out[..., position]
        column.zero_() if cell == NOTHING else column.copy_(out[..., left + cell])
    return out


class _Pad(torch.autograd.Function):
    """:func:`_fill`, and its gradient folded in place.

    ``owned``: the gradient is known to come from a convolution's backward and to be nobody else's.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, pads: Pads, rows: Cells, columns: Cells, owned: bool
    ) -> Tensor:
        ctx.geometry = pads, rows, columns, x.shape[-2:], owned
        return _fill(x, pads, rows, columns)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (top, _, left, _), rows, columns, (height, width), owned = ctx.geometry
        grad = grad if owned else grad.clone()
        for position, cell in columns:
            if cell != NOTHING:
                grad[..., left + cell] += grad[..., position]
        for position, cell in rows:
            if cell != NOTHING:
                grad[..., top + cell, :] += grad[..., position, :]
        return grad[..., top : top + height, left : left + width], None, None, None, None


def _select(x: Tensor, modes: Modes, pads: Pads) -> Tensor:
    """Pad by a few operations that leave ``x`` alone, as optimisers and exporters of graphs like it."""
    for axis, mode in zip((-2, -1), modes):
        before, after = pads[2 * axis + 4 : 2 * axis + 6]
        size = x.shape[axis]
        source = [*range(-before, size + after)]
        for position, cell in mode.padded_cells(size, before, after):
            source[position] = cell
        if before or after:
            x = x.index_select(axis, torch.tensor(source, device=x.device).clamp(min=0))
        if NOTHING in source:
            empty = torch.tensor(source, device=x.device) == NOTHING
            x = x.masked_fill(empty[:, None] if axis == -2 else empty, 0)
    return x


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
    if _is_overridden(x):
        return handle_torch_function(pad2d, (x,), x, modes, pads)
    return _pad2d(x, modes, pads)


def _pad2d(x: Tensor, modes: Modes, pads: Pads, owned: bool = False) -> Tensor:
    if not any(pads):
        return x
    if _captured(x):
        return _select(x, modes, pads)
    rows = modes[0].padded_cells(x.shape[-2], *pads[:2])
    columns = modes[1].padded_cells(x.shape[-1], *pads[2:])
    if x.requires_grad and torch.is_grad_enabled():
        return _Pad.apply(x, pads, rows, columns, owned)
    return _fill(x, pads, rows, columns)


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
    window = kernel, stride, dilation
    if _is_overridden(x):
        return handle_torch_function(padded_conv2d, (x,), x, bias, convolve, modes, pads, *window)
    size = x.shape[-2], x.shape[-1]
    reweights = any(mode.reweight for mode in modes)
    if reweights and _captured(x):
        y = _convolve(x, None, convolve, modes, pads, *window)
        y = reweighted(y, size, modes, pads, *window)
        return y if bias is None else y + bias.to(y.dtype).view(-1, 1, 1)
    y = _convolve(x, bias, convolve, modes, pads, *window)
    if reweights:
        y = reweigh_borders(y, bias, size, modes, pads, *window)
    return y


def _convolve(
    x: Tensor,
    bias: Tensor | None,
    convolve: Convolve,
    modes: Modes,
    pads: Pads,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> Tensor:
    """:func:`padded_conv2d` without any reweighing."""
    zero_padding = [0, 0]
    explicit = list(pads)
    for axis, mode in enumerate(modes):
        before, after = pads[2 * axis : 2 * axis + 2]
        if mode.empty and before == after:
            zero_padding[axis] = before
            explicit[2 * axis : 2 * axis + 2] = 0, 0
    if any(explicit) and not _captured(x):
        fan_out = getattr(convolve, 'fan_out', x.shape[-3])
        border = border_of(x, fan_out, modes, pads, kernel, stride, dilation)
        if border:
            return convolve_borders(x, bias, convolve, border)
    x = _pad2d(x, modes, tuple(explicit), owned=True)
    return convolve(x, bias, tuple(zero_padding))


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
