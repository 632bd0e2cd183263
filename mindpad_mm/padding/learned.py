"""Padding that is learned: values of its own for each side and channel of a convolution.

A padded cell is ``gain * the nearest cell of the map + constant``; see :data:`SIDES` for the order of the
values. They begin as 0, which is zero padding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import handle_torch_function

from mindpad_mm.padding.functional import is_captured, is_overridden
from mindpad_mm.padding.kernels import Pads, by_axis, from_axes
from mindpad_mm.padding.modes import Modes, Zeros

SIDES = ('top', 'bottom', 'left', 'right')
"""The first axis of learned values; the second is (gain, constant), the third the channel."""


def new_values(channels: int, like: Tensor) -> torch.nn.Parameter:
    """Values that pad with zeros, (4, 2, channels), on the device of ``like`` and of its type."""
    return torch.nn.Parameter(
        torch.zeros(len(SIDES), 2, channels, dtype=like.dtype, device=like.device)
    )


def pad_learned(x: Tensor, values: Tensor, pads: Pads) -> Tensor:
    """Pad by learned values; the rows first, so that a corner continues the padded rows.

    Args:
        x: Map of shape (..., C, H, W).
        values: (4, 2, C), as :func:`new_values` makes them.
        pads: Cells added at the (top, bottom, left, right), each >= 0.

    Returns:
        Shape (..., C, top + H + bottom, left + W + right).
    """
    if is_overridden(x):
        return handle_torch_function(pad_learned, (x,), x, values, pads)
    values = values.to(x.dtype)
    recorded = torch.is_grad_enabled() and (x.requires_grad or values.requires_grad)
    pad = _concatenated if recorded or is_captured(x) else _filled
    return pad(x, values, pads)


def _concatenated(x: Tensor, values: Tensor, pads: Pads) -> Tensor:
    """Pad without writing in place, for gradients and captured graphs."""
    for axis, first, widths in ((-2, 0, pads[:2]), (-1, 2, pads[2:])):
        before, after = (
            [_outside(x, values[first + side], axis, side)] * n for side, n in enumerate(widths)
        )
        x = torch.cat([*before, x, *after], axis)
    return x


def _filled(x: Tensor, values: Tensor, pads: Pads) -> Tensor:
    """Pad by zeros and overwrite them: ``cat`` would lose the memory format."""
    top, bottom, left, right = pads
    y = F.pad(x, (left, right, top, bottom))
    inner = y[..., left : left + x.shape[-1]]
    for side, n in enumerate((top, bottom)):
        if n:
            _end(inner, n, -2, side).copy_(_outside(x, values[side], -2, side))
    for side, n in enumerate((left, right)):
        if n:
            _end(y, n, -1, side).copy_(_outside(inner, values[2 + side], -1, side))
    return y


def _end(x: Tensor, n: int, axis: int, side: int) -> Tensor:
    """The first (side 0) or last (side 1) ``n`` cells along an axis."""
    cells = slice(None, n) if side == 0 else slice(-n, None)
    return x[..., cells, :] if axis == -2 else x[..., cells]


def _outside(x: Tensor, values: Tensor, axis: int, side: int) -> Tensor:
    """One line of padding beyond a side."""
    gain, constant = values[0][:, None, None], values[1][:, None, None]
    return _end(x, 1, axis, side) * gain + constant


def padded_where_learned(
    x: Tensor, values: Tensor, modes: Modes, pads: Pads
) -> tuple[Tensor, Modes, Pads]:
    """Pad the axes whose mode is ``learned``.

    Returns:
        The map, and the modes and pads of what is left to pad.
    """
    learns = [mode.learns for mode in modes]
    axes = by_axis(pads)
    own, rest = (
        from_axes(*(axis if each is wanted else (0, 0) for axis, each in zip(axes, learns)))
        for wanted in (True, False)
    )
    vertical, horizontal = (Zeros() if each else mode for mode, each in zip(modes, learns))
    return pad_learned(x, values, own), (vertical, horizontal), rest
