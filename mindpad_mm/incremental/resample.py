"""Handlers of functions that copy cells: padding, crops, strides, nearest-neighbour resizing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mindpad_mm.incremental.geometry import ReceptiveField, Source
from mindpad_mm.incremental.pointwise import on_whole_maps
from mindpad_mm.incremental.windowed import WindowedTensor, handles
from mindpad_mm.padding.functional import pad2d
from mindpad_mm.padding.kernels import Pads, by_axis
from mindpad_mm.padding.learned import pad_learned
from mindpad_mm.padding.modes import Modes, get_modes

_T = torch.Tensor


def copy_cells(
    func: Callable,
    x: WindowedTensor,
    sources: Callable[[], Sequence[Source]],
    *args: Any,
    **kwargs: Any,
) -> WindowedTensor:
    """Run a function whose result is made of copies of the cells of ``x``.

    Args:
        func: Called as ``func(x, *args, **kwargs)``.
        x: The map.
        sources: Gives the (vertical, horizontal) sources of the result's cells. Called once for all
            runs.
    """
    operation = x.graph.next_operation(func, lambda: func(x.clean, *args, **kwargs), x.clean)
    if operation.fields is None:
        operation.fields = [ReceptiveField(source, len(source)) for source in sources()]
    if x.graph.is_unneeded(operation):
        return WindowedTensor.all_clean(operation.clean, len(x), x.graph)
    rows, cols = (field.results(span) for field, span in zip(operation.fields, (x.rows, x.cols)))
    rows, cols = x.graph.restrict_to_demand(operation, rows, cols)
    places = [
        (field.source, span.start, span.length)
        for field, span in zip(operation.fields, (rows, cols))
    ]
    return WindowedTensor(operation.clean, x.read(operation.clean, *places), rows, cols, x.graph)


@handles(pad2d)
def pad_by_modes(func: Callable, x: WindowedTensor, modes: Modes, pads: Pads) -> WindowedTensor:
    """Padding by modes."""
    if not any(pads):
        return x
    return copy_cells(func, x, lambda: padded_sources(x, modes, pads), modes, pads)


@handles(pad_learned)
def pad_by_learned_values(
    func: Callable, x: WindowedTensor, values: Tensor, pads: Pads
) -> WindowedTensor:
    """Padding by learned values: the nearest cells, times a map of gains, plus a map of constants."""
    if not any(pads):
        return x

    def maps() -> tuple[Tensor, Tensor]:
        constants = func(torch.zeros_like(x.clean), values, pads)
        return func(torch.ones_like(x.clean), values, pads) - constants, constants

    gains, constants = (
        WindowedTensor.all_clean(each, len(x), x.graph)
        for each in x.graph.cached(values, (func, x.clean.shape, pads), maps)
    )
    return pad2d(x, get_modes('replicate'), pads) * gains + constants


def padded_sources(x: WindowedTensor, modes: Modes, pads: Pads) -> list[Source]:
    """The (vertical, horizontal) sources of a map that is padded by modes."""
    return [
        Source(mode.source(size, *padded)) if any(padded) else Source.identity(size)
        for mode, size, padded in zip(modes, x.clean.shape[-2:], by_axis(pads))
    ]


@handles(F.pad, torch._C._nn.pad)
def pad(func: Callable, x: WindowedTensor, pad: Sequence[int], *args: Any, **kwargs: Any) -> Any:
    """torch's own padding; negative widths crop."""
    mode = kwargs.get('mode', args[0] if args else 'constant')
    if len(pad) > 4:
        if any(pad[4:]):
            return NotImplemented
        pad = pad[:4]
    left, right, top, bottom = (*pad, 0, 0)[:4]

    def sources() -> list[Source]:
        modes = get_modes('zeros' if mode == 'constant' else mode)
        padded = padded_sources(
            x, modes, (max(top, 0), max(bottom, 0), max(left, 0), max(right, 0))
        )
        crops = [(min(top, 0), min(bottom, 0)), (min(left, 0), min(right, 0))]
        return [
            Source(source.cells[-first : len(source) + last])
            for source, (first, last) in zip(padded, crops)
        ]

    return copy_cells(func, x, sources, pad, *args, **kwargs)


@handles(F.interpolate)
def interpolate(func: Callable, x: WindowedTensor, *args: Any, **kwargs: Any) -> Any:
    """Resizing by nearest neighbours."""
    mode = kwargs.get('mode', args[2] if len(args) > 2 else 'nearest')
    if mode not in ('nearest', 'nearest-exact'):
        return on_whole_maps(func, x, *args, **kwargs)

    def sources() -> list[Source]:
        # Resize a map that holds its own cell indices: the result is torch's choice of cells.
        sources = []
        for axis, size in enumerate(x.clean.shape[-2:]):
            cells = torch.arange(size, dtype=torch.float64).view((size, 1) if axis == 0 else size)
            cells = cells.expand(1, 1, *x.clean.shape[-2:]).contiguous()
            moved = func(cells, *args, **kwargs)[0, 0]
            sources.append(Source((moved[:, 0] if axis == 0 else moved[0]).numpy().astype(int)))
        return sources

    return copy_cells(func, x, sources, *args, **kwargs)


@handles(_T.__getitem__)
def getitem(func: Callable, x: Any, index: Any) -> Any:
    """Slices of channels, and crops, also with a stride."""
    index = index if isinstance(index, tuple) else (index,)
    if not isinstance(x, WindowedTensor) or not all(
        isinstance(i, slice) or i is ... for i in index
    ):
        return NotImplemented
    if ... in index:
        at = index.index(...)
        rest = len(index) - at - 1
        index = (*index[:at], *[slice(None)] * (4 - at - rest), *index[at + 1 :])
    index = (*index, *[slice(None)] * (4 - len(index)))
    if len(index) != 4 or index[0] != slice(None):
        return NotImplemented
    cells = [np.arange(size)[part] for size, part in zip(x.clean.shape[-2:], index[2:])]
    if not all(len(axis) for axis in cells):
        return NotImplemented
    part = x if index[1] == slice(None) else channels(func, x, (slice(None), index[1]))
    if all(len(axis) == size for axis, size in zip(cells, x.clean.shape[-2:])):
        return part
    result = copy_cells(func, part, lambda: [Source(axis) for axis in cells], (..., *index[2:]))
    result.is_view = x.is_view = True
    return result


def channels(func: Callable, x: WindowedTensor, *args: Any, **kwargs: Any) -> WindowedTensor:
    """Run a function that returns a view of some channels."""
    operation = x.graph.next_operation(func, lambda: func(x.clean, *args, **kwargs), x.clean)
    patch = func(x.patch, *args, **kwargs)
    x.is_view = True
    return WindowedTensor(operation.clean, patch, x.rows, x.cols, x.graph, is_view=True)


@handles(torch.chunk, _T.chunk, torch.split, _T.split)
def split(func: Callable, x: WindowedTensor, *args: Any, **kwargs: Any) -> Any:
    """Splits along the channels."""
    dim = kwargs.get('dim', args[1] if len(args) > 1 else 0)
    if dim not in (1, -3):
        return NotImplemented
    begin, parts = 0, []
    for part in func(x.clean, *args, **kwargs):
        index = (slice(None), slice(begin, begin + part.shape[1]))
        parts.append(channels(_T.__getitem__, x, index))
        begin += part.shape[1]
    return tuple(parts)
