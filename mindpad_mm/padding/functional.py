"""Padding a map, and convolving over a padded map, in any mode on either axis."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.overrides import handle_torch_function, has_torch_function_unary

from mindpad_mm.padding.borders import border_of, convolve_borders
from mindpad_mm.padding.convolution import Convolution, memory_format_of
from mindpad_mm.padding.kernels import Pads, by_axis, from_axes
from mindpad_mm.padding.modes import NOTHING, Modes, describe
from mindpad_mm.padding.reweigh import reweigh_borders, reweighted

Cells = list[tuple[int, int]]
"""The result of :meth:`PaddingMode.padded_cells`."""

_is_compiling = getattr(torch.compiler, 'is_compiling', torch._utils.is_compiling)


def is_overridden(x: Tensor) -> bool:
    """Whether the tensor's class defines ``__torch_function__``.

    An active ``TorchFunctionMode`` does not count, because it sees the torch functions called here.
    """
    return type(x) is not Tensor and has_torch_function_unary(x)


def is_captured(x: Tensor) -> bool:
    """Whether a graph is being captured or a function transform is active.

    Captures are ``torch.compile``, ``torch.jit.trace`` and ``torch.export``; transforms are
    ``torch.func`` and forward-mode gradients. They need plain torch operations on the whole map, without
    in-place operations and custom autograd functions.
    """
    if _is_compiling() or torch.jit.is_tracing():
        return True
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return True
    # To compile modules from torch.nn, torch 2.1 runs them on tensors of other classes.
    return type(x) not in (Tensor, nn.Parameter) or torch._is_functional_tensor(x)


def _fill(x: Tensor, pads: Pads, rows: Cells, columns: Cells) -> Tensor:
    """Pad by copying: ``x`` into a larger map, then the padded rows, then the padded columns."""
    top, bottom, left, right = pads
    height, width = x.shape[-2:]
    shape = (*x.shape[:-2], top + height + bottom, left + width + right)
    out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=memory_format_of(x))
    out[..., top : top + height, left : left + width] = x
    for position, cell in rows:
        row = out[..., position, left : left + width]
        row.zero_() if cell == NOTHING else row.copy_(x[..., cell, :])
    for position, cell in columns:
        column = out[..., position]
        column.zero_() if cell == NOTHING else column.copy_(out[..., left + cell])
    return out


class _Pad(torch.autograd.Function):
    """:func:`_fill` with a backward pass that adds the padded cells' gradients in place.

    ``owned`` says that the incoming gradient comes directly from a convolution's backward pass. Then
    nothing else uses it, and it may be overwritten.
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
    """Pad without in-place operations, for captured graphs.

    The graph works for maps of any size if both modes are ``arithmetic``.
    """
    for axis, mode, (before, after) in zip((-2, -1), modes, by_axis(pads)):
        if not (before or after):
            continue
        if mode.empty:
            x = F.pad(x, (0, 0, before, after) if axis == -2 else (before, after))
            continue
        source = mode.graph_source(x.shape[axis], before, after, x.device)
        x = x.index_select(axis, source.clamp(min=0))
        if not mode.arithmetic:
            nothing = source == NOTHING
            x = x.masked_fill(nothing[:, None] if axis == -2 else nothing, 0)
    return x


def pad2d(x: Tensor, modes: Modes, pads: Pads) -> Tensor:
    """Pad the last two axes as ``numpy.pad`` does, in any mode, by any width.

    Args:
        x: Map of shape (..., H, W), H and W at least 1.
        modes: The (vertical, horizontal) modes. ``partial`` pads with zeros here: it weights the
            windows of a convolution, not the cells.
        pads: Cells added at the (top, bottom, left, right), each >= 0.

    Returns:
        Shape (..., top + H + bottom, left + W + right), in the memory format of ``x``.

    Raises:
        ValueError: A mode is ``learned``; see :func:`mindpad_mm.padding.learned.pad_learned`.
    """
    if any(mode.learns for mode in modes):
        raise ValueError(f'mode {describe(modes)!r} has values of its own in every convolution')
    if is_overridden(x):
        return handle_torch_function(pad2d, (x,), x, modes, pads)
    return _pad2d(x, modes, pads)


def _pad2d(x: Tensor, modes: Modes, pads: Pads, owned: bool = False) -> Tensor:
    """:func:`pad2d` for tensors that override nothing; ``owned`` as in :class:`_Pad`."""
    if not any(pads):
        return x
    if is_captured(x):
        return _select(x, modes, pads)
    rows = modes[0].padded_cells(x.shape[-2], *pads[:2])
    columns = modes[1].padded_cells(x.shape[-1], *pads[2:])
    if x.requires_grad and torch.is_grad_enabled():
        return _Pad.apply(x, pads, rows, columns, owned)
    return _fill(x, pads, rows, columns)


def padded_conv2d(
    x: Tensor, bias: Tensor | None, convolution: Convolution, modes: Modes, pads: Pads
) -> Tensor:
    """Convolve a map that is padded by ``modes``.

    Args:
        x: Map of shape (N, C, H, W) or (C, H, W).
        bias: Shape (C_out,), or None.
        convolution: The convolution.
        modes: The (vertical, horizontal) modes.
        pads: Cells added at the (top, bottom, left, right).

    Returns:
        Shape (N, C_out, H_out, W_out), as with zero padding of the same width; without N if ``x`` has
        none.
    """
    if is_overridden(x):
        return handle_torch_function(padded_conv2d, (x,), x, bias, convolution, modes, pads)
    if not any(mode.reweight for mode in modes):
        return _convolve(x, bias, convolution, modes, pads)
    geometry = (x.shape[-2], x.shape[-1]), modes, pads, convolution.windows
    if is_captured(x):
        y = reweighted(_convolve(x, None, convolution, modes, pads), *geometry)
        return y if bias is None else y + bias.to(y.dtype).view(-1, 1, 1)
    return reweigh_borders(_convolve(x, bias, convolution, modes, pads), bias, *geometry)


def _convolve(
    x: Tensor, bias: Tensor | None, convolution: Convolution, modes: Modes, pads: Pads
) -> Tensor:
    """:func:`padded_conv2d` without the window weights of ``partial``."""
    zero_padding: list[int] = []
    by_mode: list[tuple[int, int]] = []
    for mode, (before, after) in zip(modes, by_axis(pads)):
        native = mode.empty and before == after
        zero_padding.append(before if native else 0)
        by_mode.append((0, 0) if native else (before, after))
    explicit = from_axes(*by_mode)
    # In training, strips are no faster than padding the map.
    if any(explicit) and not torch.is_grad_enabled() and not is_captured(x):
        border = border_of(x, convolution, modes, pads)
        if border is not None:
            return convolve_borders(x, bias, convolution, border)
    x = _pad2d(x, modes, explicit, owned=True)
    rows, columns = zero_padding
    # torch 2.1 can compile this call only with ``__call__`` spelled out.
    return convolution.__call__(x, bias, (rows, columns))
