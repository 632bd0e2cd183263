"""Partial convolution as padding, without a mask: how many taps of a window are real is known."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mindpad_mm.padding.modes import NOTHING, Modes
from mindpad_mm.padding.windows import Pads, Windows, by_axis

Pieces = Sequence['tuple[tuple[slice, slice], Tensor]']
"""Where windows are scaled, as (rows, columns), and by what, broadcast to (rows, columns)."""


def window_weights(
    size: tuple[int, int], modes: Modes, pads: Pads, windows: Windows
) -> list[list[float] | None]:
    """What ``modes`` scale each window by, along either axis; None where they do not.

    A window on no real cell gets 0.
    """
    weights: list[list[float] | None] = []
    for mode, length, padded, window in zip(modes, size, by_axis(pads), windows):
        if mode.reweight and any(padded):
            taps = mode.taps(length, *padded, window)
            weights.append([window.kernel / count if count else 0.0 for count in taps])
        else:
            weights.append(None)
    return weights


def reweighted(
    y: Tensor, size: tuple[int, int], modes: Modes, pads: Pads, windows: Windows
) -> Tensor:
    """Scale each window by kernel area / area on real cells, along the axes whose mode asks for it.

    Args:
        y: Sums over the windows, without bias, shape (..., H_out, W_out).
        size: (H, W) of the map the windows slid over, before padding.
    """
    axes = zip((-2, -1), modes, size, by_axis(pads), windows)
    for axis, mode, length, padded, window in axes:
        if mode.reweight and any(padded):
            source = mode.graph_source(length, *padded, y.device)
            first = torch.arange(y.shape[axis], device=y.device) * window.stride
            tap = torch.arange(window.kernel, device=y.device) * window.dilation
            count = (source != NOTHING)[first[:, None] + tap].sum(1)
            weights = (window.kernel * (count > 0)).to(y) / count.clamp(min=1).to(y)
            y = y * (weights[:, None] if axis == -2 else weights)
    return y


def _core(weights: Sequence[float]) -> tuple[int, int]:
    """The run of windows that keep their weight, as (first, beyond the last); empty if it has gaps."""
    kept = [index for index, weight in enumerate(weights) if weight == 1]
    if not kept or kept[-1] - kept[0] >= len(kept):
        return len(weights), len(weights)
    return kept[0], kept[-1] + 1


@functools.lru_cache(maxsize=512)
def _pieces(
    outputs: tuple[int, int], dtype: torch.dtype, device: torch.device, *geometry: Any
) -> Pieces:
    """The windows at the border: rows over the full width, and columns between them."""
    rows, columns = (
        each or [1.0] * count for each, count in zip(window_weights(*geometry), outputs)
    )
    (top, bottom), (left, right) = _core(rows), _core(columns)
    full, between = slice(0, outputs[1]), slice(top, bottom)
    places = [(slice(0, top), full), (slice(bottom, outputs[0]), full)]
    places += [(between, slice(0, left)), (between, slice(right, outputs[1]))]
    # Kept for later calls, which may run under autograd where this one does not.
    with torch.inference_mode(False):
        down = torch.tensor(rows, dtype=dtype, device=device)[:, None]
        along = torch.tensor(columns, dtype=dtype, device=device)
        return [
            (place, down[place[0]] * along[place[1]])
            for place in places
            if all(part.start < part.stop for part in place)
        ]


class _Reweigh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, bias: Tensor | None, pieces: Pieces) -> Tensor:
        ctx.pieces = pieces
        ctx.bias_dtype = None if bias is None else bias.dtype
        ctx.mark_dirty(y)
        for place, scale in pieces:
            piece = y[(..., *place)]
            if bias is None:
                piece.mul_(scale)
            elif piece.dtype == bias.dtype == scale.dtype:
                torch.lerp(bias.view(-1, 1, 1), piece, scale, out=piece)
            else:
                piece.copy_(torch.lerp(*(t.to(scale) for t in (bias.view(-1, 1, 1), piece)), scale))
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        scaled = grad.clone()
        for place, scale in ctx.pieces:
            scaled[(..., *place)] *= scale
        to_bias = None
        if ctx.needs_input_grad[1]:
            # The bias within y is scaled with it; what is missing comes here.
            others = [axis for axis in range(grad.dim()) if axis != grad.dim() - 3]
            to_bias = grad.new_zeros(grad.shape[-3], dtype=ctx.bias_dtype)
            for place, scale in ctx.pieces:
                to_bias += (grad[(..., *place)] * (1 - scale)).sum(others)
        return scaled, to_bias, None


def reweigh_borders(y: Tensor, bias: Tensor | None, *geometry: Any) -> Tensor:
    """:func:`reweighted` for sums that the bias is in already, in place and at the border only.

    Args:
        y: A convolution's result, bias included, shape (N, C, H, W) or (C, H, W).
        bias: Shape (C,), or None. It is not scaled.
        geometry: What :func:`reweighted` takes after ``y``.
    """
    dtype = torch.promote_types(y.dtype, torch.float32)
    return _Reweigh.apply(y, bias, _pieces(tuple(y.shape[-2:]), dtype, y.device, *geometry))
