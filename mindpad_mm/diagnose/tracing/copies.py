"""Tracing of functions that copy cells: padding, cropping, resizing, flipping."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from mindpad_mm.core.torch_functions import named
from mindpad_mm.diagnose.tracing.cells import Reads, copied_reads
from mindpad_mm.diagnose.tracing.combine import elsewhere
from mindpad_mm.diagnose.tracing.trace import SAME, Traced, handles, moved, run_plain
from mindpad_mm.padding.functional import pad2d
from mindpad_mm.padding.kernels import Pads, by_axis
from mindpad_mm.padding.modes import Modes, get_modes

_T = torch.Tensor


def _continued(x: Traced, modes: Modes, pads: Pads) -> Traced:
    if x.trace.scheme != SAME or not any(pads):
        return x
    rows, cols = (
        copied_reads(mode.source(size, *padded), size)
        for mode, size, padded in zip(modes, x.field.size, by_axis(pads))
    )
    before, earlier = x.field.padded_from or (x.field, (0, 0, 0, 0))
    total = tuple(a + b for a, b in zip(earlier, pads))
    field = moved(x.field, rows, cols, stride=x.field.stride, padded_from=(before, total))
    return x.like(x.plain().new_empty((*x.shape[:-2], len(rows), len(cols))), field)


@handles(pad2d)
def pad_by_modes(func: Callable, x: Traced, modes: Modes, pads: Pads) -> Traced:
    """Explicit padding with padding modes."""
    return _continued(x, modes, pads)


@handles(F.pad, torch._C._nn.pad)
def pad(
    func: Callable, input: Traced, pad: Sequence[int], mode: str = 'constant', value: Any = None
) -> Any:
    """``torch.nn.functional.pad``; negative pads crop."""
    if any(pad[4:]) or not isinstance(mode, str):
        return elsewhere(func, input, pad, mode, value)
    left, right, top, bottom = (*pad[:4], 0, 0)[:4]
    modes = get_modes('zeros' if mode == 'constant' else mode)
    grown = _continued(input, modes, tuple(max(p, 0) for p in (top, bottom, left, right)))
    if min(top, bottom, left, right) >= 0:
        return grown
    rows, cols = (
        slice(max(-before, 0), total - max(-after, 0))
        for before, after, total in zip((top, left), (bottom, right), grown.field.size)
    )
    return _crop(grown, rows, cols)


def _crop(x: Traced, rows: slice, cols: slice) -> Traced:
    reads = [
        copied_reads(np.arange(size)[part], size) for size, part in zip(x.field.size, (rows, cols))
    ]
    plain = x.plain()[..., rows, cols]
    steps = tuple(s * (part.step or 1) for s, part in zip(x.field.stride, (rows, cols)))
    return x.like(plain, moved(x.field, *reads, stride=steps))


@handles(_T.__getitem__)
def getitem(func: Callable, x: Any, index: Any) -> Any:
    """Crops, with or without a step, and slices of channels."""
    parts = index if isinstance(index, tuple) else (index,)
    if isinstance(x, Traced) and all(isinstance(i, (slice, type(...))) for i in parts):
        if ... in parts:
            at = parts.index(...)
            parts = (*parts[:at], *[slice(None)] * (x.dim() + 1 - len(parts)), *parts[at + 1 :])
        parts = (*parts, *[slice(None)] * (x.dim() - len(parts)))
        if x.axes == (-2, -1):
            others = x.like(x.plain()[(*parts[:-2], ...)])
            return _crop(others, *parts[-2:])
    return elsewhere(func, x, index)


@handles(F.interpolate)
def interpolate(
    func: Callable, input: Traced, size: Any = None, scale_factor: Any = None, *args: Any,
    **kwargs: Any,
) -> Traced:  # fmt: skip
    """Resizing: an output cell reads each input cell with non-zero weight once."""
    reads, steps = [], []
    for axis, cells in enumerate(input.field.size):
        # Let torch compute the weights: interpolate an identity matrix, one channel per cell.
        own_size, own_scale = (
            None if value is None else (_of_axis(value, axis), 1) for value in (size, scale_factor)
        )
        mixed = func(torch.eye(cells)[None, :, :, None], own_size, own_scale, *args, **kwargs)
        weights = mixed[0, :, :, 0].T.numpy()
        reads.append(Reads(tuple(tuple(map(int, np.flatnonzero(w))) for w in weights), cells))
        # Strides stay integer ratios: upsampling 7 cells to 13 counts as a factor of 2.
        ratio = round(len(weights) / cells) or 1 / round(cells / len(weights))
        steps.append(input.field.stride[axis] / ratio)
    plain = input.plain().new_empty((*input.shape[:-2], *map(len, reads)))
    return input.like(plain, moved(input.field, *reads, stride=tuple(steps)))


def _of_axis(value: Any, axis: int) -> Any:
    return value[axis] if isinstance(value, (tuple, list)) else value


@handles(*named('flip'))
def flip(func: Callable, x: Traced, *dims: Any) -> Any:
    """Flipping."""
    plain = run_plain(func, x, *dims)
    given = dims[0] if isinstance(dims[0], (tuple, list)) else dims
    flipped = [axis % x.dim() in [d % x.dim() for d in given] for axis in x.axes]
    reads = [
        copied_reads(np.arange(size)[:: -1 if turn else 1], size)
        for size, turn in zip(x.field.size, flipped)
    ]
    return x.like(plain, moved(x.field, *reads, stride=x.field.stride))
