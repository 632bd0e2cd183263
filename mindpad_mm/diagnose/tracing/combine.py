"""Tracing of pointwise functions, functions that combine maps, and all other functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mindpad_mm.core.torch_functions import find, name_of, named, replace, writes_in_place
from mindpad_mm.diagnose.tracing.cells import (
    Reads,
    aligned_reads,
    broadcast_reads,
    identity_reads,
)
from mindpad_mm.diagnose.tracing.trace import (
    SAME,
    VALID,
    Field,
    Traced,
    handles,
    moved,
    run_plain,
)

_T = torch.Tensor

# Functions whose result has the shape and cells of the first argument (the statistics of
# normalisation layers are not traced).
KEEPS_SHAPE = frozenset(
    named(
        *('relu', 'relu6', 'leaky_relu', 'rrelu', 'prelu', 'elu', 'selu', 'celu', 'gelu', 'silu'),
        *(
            'mish',
            'sigmoid',
            'tanh',
            'hardtanh',
            'hardsigmoid',
            'hardswish',
            'softplus',
            'softsign',
        ),
        *(
            'logsigmoid',
            'exp',
            'log',
            'sqrt',
            'rsqrt',
            'square',
            'abs',
            'neg',
            'reciprocal',
            'sign',
        ),
        *('clamp', 'clip', 'clamp_min', 'clamp_max', 'float', 'half', 'double', 'bfloat16'),
        *('type_as', 'to', 'type', 'detach', 'requires_grad', '__neg__'),
        *('dropout', 'dropout2d', 'dropout3d', 'alpha_dropout', 'feature_dropout', 'batch_norm'),
        *('group_norm', 'instance_norm', 'layer_norm', 'local_response_norm', 'normalize'),
        *('floor', 'round'),
    )
)
# Pointwise functions: the result at a position depends on the arguments at that position.
SAME_PLACE = frozenset(
    named(
        *('add', 'sub', 'mul', 'div', 'true_divide', 'pow', 'maximum', 'minimum', 'where', 'lerp'),
        *(
            'addcmul',
            'clone',
            'contiguous',
            'expand_as',
            'linear',
            'gt',
            'lt',
            '__pow__',
            '__rpow__',
            '__rdiv__',
        ),
        *(
            f'__{kind}{name}__'
            for name in ('add', 'sub', 'mul', 'truediv', 'and', 'or')
            for kind in ('', 'r', 'i')
        ),
    )
)


def merged(fields: Sequence[Field]) -> Field:
    """The combined field of several maps; a map of one cell is broadcast over the others.

    A cell that was pooled from a whole map and scales or shifts another map (squeeze-and-excitation)
    is ignored: it uses every pixel for every cell, which would hide all other differences.
    """
    distinct = list(dict.fromkeys(fields))
    own = [field for field in distinct if not field.pooled] or distinct
    size = tuple(max(field.size[axis] for field in own) for axis in (0, 1))
    if len(own) == 1:
        return own[0]
    first = next((field for field in own if field.size == size), own[0])
    reads = [(field, *map(_spread, field.size, size)) for field in own]
    return Field(size, reads, first.stride, pooled=own[0].pooled)


def _spread(size: int, results: int) -> Reads:
    return broadcast_reads(results) if size == 1 < results else identity_reads(size)


def _aligned(value: Any) -> Any:
    """Align maps whose sizes differ under the scheme ``valid`` (crop) or ``full`` (surround)."""
    maps = [x for x in find(value, Traced) if not x.field.pooled and x.axes == (-2, -1)]
    if not maps or maps[0].trace.scheme == SAME or len({x.field.size for x in maps}) == 1:
        return value
    bound = min if maps[0].trace.scheme == VALID else max
    size = [bound(x.field.size[axis] for x in maps) for axis in (0, 1)]

    def align(x: Traced) -> Traced:
        if not any(x is each for each in maps):
            return x
        field = moved(x.field, *map(aligned_reads, x.field.size, size), stride=x.field.stride)
        return x.like(x.plain().new_empty((*x.shape[:-2], *size)), field)

    return replace(value, Traced, align)


@handles(None)
def elsewhere(func: Callable, *args: Any, **kwargs: Any) -> Any:
    """All functions without a handler of their own."""
    if func in KEEPS_SHAPE and args and isinstance(args[0], Traced):
        # Not run, to save time: the shape is known.
        return args[0] if writes_in_place(func, kwargs) else args[0].like(args[0].plain())
    if func in SAME_PLACE:
        return _at_one_place(func, *args, **kwargs)
    result = run_plain(func, *args, **kwargs)
    if writes_in_place(func, kwargs) and args and isinstance(args[0], Traced):
        args[0].field = _unknown(func, args[0].field.size)
        return result
    traced = find((args, kwargs), Traced)
    name = getattr(func, '__name__', '')
    if not traced or name.startswith('new_') or name.endswith('_like'):
        return result

    def wrap(plain: Tensor) -> Tensor:
        if plain.dim() != 4:
            return plain
        return Traced.of(plain, _unknown(func, tuple(plain.shape[-2:])), traced[0].trace)

    return replace(result, Tensor, wrap)


def _unknown(func: Callable, size: tuple[int, int]) -> Field:
    return Field(size, unknown=name_of(func))


def _at_one_place(func: Callable, *args: Any, **kwargs: Any) -> Any:
    target = args[0] if args and writes_in_place(func, kwargs) else None
    args, kwargs = _aligned((args, kwargs))
    traced = find((args, kwargs), Traced)
    plain = run_plain(func, *args, **kwargs)
    axes = max((x.axes for x in traced), key=lambda axes: axes != (-2, -1))
    field = merged([x.field for x in traced])
    if tuple(plain.shape[axis] for axis in axes) != field.size or (func is F.linear and -1 in axes):
        return _leave(traced[0], plain)
    result = Traced.of(plain, field, traced[0].trace, axes)
    if isinstance(target, Traced) and target.shape == result.shape:
        target.field = field
        return target
    return result


def _leave(x: Traced, plain: Tensor) -> Tensor:
    """A result that is no longer a map."""
    x.trace.left = x.field
    return plain


@handles(torch.cat, torch.concat, torch.stack)
def cat(func: Callable, tensors: Sequence[Tensor], dim: int = 0, **kwargs: Any) -> Any:
    """Concatenation of channels."""
    tensors = _aligned(tensors)
    traced = find(tensors, Traced)
    plain = run_plain(func, tensors, dim, **kwargs)
    axes = traced[0].axes
    onto = dim if dim < 0 else dim - plain.dim()
    if any(x.axes != axes for x in traced) or (func is not torch.stack and onto in axes):
        return elsewhere(func, tensors, dim, **kwargs)
    field = merged([x.field for x in traced])
    if tuple(plain.shape[axis] for axis in axes) != field.size:
        return _leave(traced[0], plain)
    return Traced.of(plain, field, traced[0].trace, axes)


@handles(*named('chunk', 'split', 'unbind', 'tensor_split'))
def split(func: Callable, x: Any, *args: Any, **kwargs: Any) -> Any:
    """Splitting of channels."""
    parts = run_plain(func, x, *args, **kwargs)
    if any(tuple(part.shape[a] for a in x.axes) != x.field.size for part in parts):
        return elsewhere(func, x, *args, **kwargs)
    return type(parts)(x.like(part) for part in parts)


@handles(*named('view', 'reshape', 'flatten', 'unflatten', 'squeeze', 'unsqueeze', 'expand'))
def view(func: Callable, x: Any, *args: Any, **kwargs: Any) -> Any:
    """Changes of shape; the result is no longer a map if rows and columns are merged."""
    plain = run_plain(func, x, *args, **kwargs)
    if not isinstance(x, Traced):
        return plain
    if x.axes == (-2, -1) and tuple(plain.shape[-2:]) == x.field.size:
        return x.like(plain)
    return _leave(x, plain)


@handles(*named('permute', 'transpose', 'movedim', 'moveaxis', 'swapaxes'))
def permute(func: Callable, x: Traced, *args: Any, **kwargs: Any) -> Any:
    """Changes of the order of axes."""
    plain = run_plain(func, x, *args, **kwargs)
    # Find the new position of each axis with a tensor whose axes all differ in size.
    marks = func(torch.empty(tuple(range(2, 2 + x.dim())), device='meta'), *args, **kwargs).shape
    axes = tuple(marks.index(axis % x.dim() + 2) - x.dim() for axis in x.axes)
    return Traced.of(plain, x.field, x.trace, axes)


@handles(*named('sum', 'mean', 'amax', 'amin', 'std', 'var', 'norm', 'softmax', 'log_softmax'))
@handles(*named('max', 'min', 'argmax', 'logsumexp'))
def reduce(func: Callable, x: Any, *args: Any, **kwargs: Any) -> Any:
    """Reductions over axes."""
    if find((args, kwargs), Tensor):  # elementwise maximum or minimum of two maps
        return _at_one_place(func, x, *args, **kwargs)
    result = run_plain(func, x, *args, **kwargs)
    is_pair = isinstance(result, tuple)
    parts = [_reduced(func, x, plain) for plain in (result if is_pair else (result,))]
    return type(result)(parts) if is_pair else parts[0]


def _reduced(func: Callable, x: Traced, plain: Tensor) -> Tensor:
    keeps = plain.dim() == x.dim()
    if not keeps and x.axes != (-2, -1):
        return _leave(x, plain)
    size = tuple(plain.shape[-2:]) if x.axes == (-2, -1) else tuple(plain.shape[a] for a in x.axes)
    if size == x.field.size:
        return x.like(plain)
    if not keeps:
        return _leave(x, plain)
    reads = [
        identity_reads(cells) if cells == left else Reads((tuple(range(cells)),), cells)
        for cells, left in zip(x.field.size, size)
    ]
    return x.like(plain, moved(x.field, *reads, pooled=math.prod(size) == 1))
