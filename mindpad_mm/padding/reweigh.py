"""Window weights of partial convolution: kernel taps / taps on cells of the map.

Source: Liu et al., Partial Convolution based Padding, 2018 (arXiv:1811.11718). The mask of that paper
is not needed, because the geometry alone gives the number of taps on cells.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mindpad_mm.padding.kernels import Pads, Windows, by_axis
from mindpad_mm.padding.modes import NOTHING, Modes

Pieces = Sequence['tuple[tuple[slice, slice], Tensor]']
"""((rows, columns), weights broadcastable to them) for each part of the output that is scaled."""


def window_weights(
    size: tuple[int, int], modes: Modes, pads: Pads, windows: Windows
) -> list[list[float] | None]:
    """The weight of each window along each axis.

    Args:
        size: (H, W) of the map without padding.
        modes: The (vertical, horizontal) modes.
        pads: Cells added at the (top, bottom, left, right).
        windows: The (vertical, horizontal) windows.

    Returns:
        For each axis, one weight for each window (0 if all its taps are in the padding); None if the
        mode does not reweight or the axis is not padded.
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
    """Multiply a convolution's result by the window weights, without in-place operations.

    Args:
        y: Convolution result without bias, shape (..., H_out, W_out).
        size: (H, W) of the convolution's input, without padding.
        modes: The (vertical, horizontal) modes.
        pads: Cells added at the (top, bottom, left, right).
        windows: The (vertical, horizontal) windows.
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


def _unscaled_range(weights: Sequence[float]) -> tuple[int, int]:
    """The range [start, stop) of windows with weight 1; empty if these are not contiguous."""
    kept = [index for index, weight in enumerate(weights) if weight == 1]
    if not kept or kept[-1] - kept[0] >= len(kept):
        return len(weights), len(weights)
    return kept[0], kept[-1] + 1


@functools.lru_cache(maxsize=512)
def _pieces(
    outputs: tuple[int, int], dtype: torch.dtype, device: torch.device, *geometry: Any
) -> Pieces:
    """The parts of the output to scale: border rows of full width, and columns between them."""
    rows, columns = (
        weights or [1.0] * count for weights, count in zip(window_weights(*geometry), outputs)
    )
    (top, bottom), (left, right) = _unscaled_range(rows), _unscaled_range(columns)
    full, between = slice(0, outputs[1]), slice(top, bottom)
    places = [(slice(0, top), full), (slice(bottom, outputs[0]), full)]
    places += [(between, slice(0, left)), (between, slice(right, outputs[1]))]
    # Later calls with gradients use the cached tensors too.
    with torch.inference_mode(False):
        row_weights = torch.tensor(rows, dtype=dtype, device=device)[:, None]
        column_weights = torch.tensor(columns, dtype=dtype, device=device)
        return [
            (place, row_weights[place[0]] * column_weights[place[1]])
            for place in places
            if all(part.start < part.stop for part in place)
        ]


class _Reweigh(torch.autograd.Function):
    """Scale ``y - bias`` by the pieces' weights, in place on ``y``."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, bias: Tensor | None, pieces: Pieces) -> Tensor:
        ctx.pieces = pieces
        ctx.bias_dtype = None if bias is None else bias.dtype
        ctx.mark_dirty(y)
        for (rows, columns), weights in pieces:
            piece = y[..., rows, columns]
            if bias is None:
                piece.mul_(weights)
            elif piece.dtype == bias.dtype == weights.dtype:
                torch.lerp(bias.view(-1, 1, 1), piece, weights, out=piece)
            else:
                ends = (end.to(weights) for end in (bias.view(-1, 1, 1), piece))
                piece.copy_(torch.lerp(*ends, weights))
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        scaled = grad.clone()
        for (rows, columns), weights in ctx.pieces:
            scaled[..., rows, columns] *= weights
        to_bias = None
        if ctx.needs_input_grad[1]:
            # The convolution's backward pass gives the bias in ``y`` the scaled gradient. The bias is
            # not scaled, so add the difference.
            others = [axis for axis in range(grad.dim()) if axis != grad.dim() - 3]
            to_bias = grad.new_zeros(grad.shape[-3], dtype=ctx.bias_dtype)
            for (rows, columns), weights in ctx.pieces:
                to_bias += (grad[..., rows, columns] * (1 - weights)).sum(others)
        return scaled, to_bias, None


def reweigh_borders(y: Tensor, bias: Tensor | None, *geometry: Any) -> Tensor:
    """Apply the window weights to a convolution's result that includes the bias.

    Works in place on ``y`` and touches only the border.

    Args:
        y: Convolution result, shape (N, C, H_out, W_out) or (C, H_out, W_out).
        bias: Shape (C,), or None. The bias itself is not scaled.
        geometry: ``size, modes, pads, windows`` as in :func:`reweighted`.
    """
    dtype = torch.promote_types(y.dtype, torch.float32)
    return _Reweigh.apply(y, bias, _pieces(tuple(y.shape[-2:]), dtype, y.device, *geometry))
