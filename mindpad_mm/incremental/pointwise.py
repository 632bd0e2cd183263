"""Handlers of functions whose result at a cell depends on that cell alone."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mindpad_mm.core.torch_functions import find, name_of, named, replace, writes_in_place
from mindpad_mm.incremental.geometry import Span
from mindpad_mm.incremental.windowed import WindowedTensor, handles, run_whole

_T = torch.Tensor


def common_windows(values: Sequence[WindowedTensor]) -> tuple[Span, Span]:
    """Windows that contain the dirty regions of several maps of one size."""
    rows = functools.reduce(Span.union, (value.rows for value in values))
    cols = functools.reduce(Span.union, (value.cols for value in values))
    return rows, cols


def _one_cell(value: Tensor) -> Tensor | None:
    """One cell of a tensor that is the same in all images and cells, as (..., 1, 1); else None.

    Windowed tensors are returned as they are.
    """
    if isinstance(value, WindowedTensor) or value.numel() == 1:
        return value
    if value.dim() not in (3, 4):
        return None
    axes = [axis for axis in range(value.dim()) if axis != value.dim() - 3]
    for axis in axes:
        if value.shape[axis] != 1:
            if value.stride(axis) != 0:
                return None
            value = value.narrow(axis, 0, 1)
    return value


def run_on_windows(func: Callable, *args: Any, **kwargs: Any) -> Any:
    """Run a function on windows that contain the dirty regions of all its arguments."""
    return _run_on_windows(func, None, args, kwargs)


def _run_on_windows(
    func: Callable, in_place: Callable | None, args: tuple, kwargs: dict[str, Any]
) -> Any:
    """:func:`run_on_windows`.

    Args:
        in_place: Does the same as ``func``, but overwrites its first argument. It is called instead
            of ``func`` if the first windowed tensor owns its memory.
    """
    values = find((args, kwargs), WindowedTensor)
    first = values[0]
    if any(value.clean.shape[-2:] != first.clean.shape[-2:] for value in values):
        return run_whole(func, *args, **kwargs)
    rows, cols = common_windows(values)
    graph = first.graph

    def run(func: Callable, of: Callable[[WindowedTensor], Tensor]) -> Any:
        own_args, own_kwargs = replace((args, kwargs), WindowedTensor, of)
        return func(*own_args, **own_kwargs)

    cleans = [value.clean for value in values]
    operation = graph.next_operation(func, lambda: run(func, lambda value: value.clean), *cleans)
    if graph.is_unneeded(operation):
        return WindowedTensor.all_clean(operation.clean, len(first), graph)
    rows, cols = graph.restrict_to_demand(operation, rows, cols)
    if in_place and first.owned and first.rows.same_windows(rows) and first.cols.same_windows(cols):
        func = in_place
    patch = run(func, lambda value: value.at(rows, cols))
    same = [value for value in values if value.clean.data_ptr() == operation.clean.data_ptr()]
    for value in same:
        # The function returned its argument: a later write to one must show in the other.
        value.is_view, value.owned = True, False
    return WindowedTensor(
        operation.clean, patch, rows, cols, graph, is_view=bool(same), owned=not same
    )


@handles(
    *named(
        *('relu', 'relu6', 'leaky_relu', 'elu', 'selu', 'celu', 'gelu', 'silu', 'mish', 'sigmoid'),
        *('tanh', 'hardtanh', 'hardsigmoid', 'hardswish', 'softplus', 'logsigmoid', 'exp', 'log'),
        *('sqrt', 'rsqrt', 'square', 'abs', 'neg', 'reciprocal', 'clamp', 'clip', 'clamp_min'),
        *('clamp_max', 'add', 'sub', 'mul', 'div', 'true_divide', 'pow', 'maximum', 'minimum'),
        *('float', 'type_as', 'to', 'type', 'clone', '__neg__', '__pow__', '__rpow__'),
        *(
            f'__{kind}{name}__'
            for name in ('add', 'sub', 'mul', 'truediv')
            for kind in ('', 'r', 'i')
        ),
    )
)
def pointwise(func: Callable, *args: Any, **kwargs: Any) -> Any:
    """Activations and arithmetic, also in place."""
    constants = [
        value for value in find((args, kwargs), Tensor) if not isinstance(value, WindowedTensor)
    ]
    if 'out' in kwargs or any(_one_cell(value) is None for value in constants):
        return NotImplemented
    target = args[0] if writes_in_place(func, kwargs) else None
    args, kwargs = replace((args, kwargs), Tensor, _one_cell)
    if target is None:
        return run_on_windows(func, *args, **kwargs)
    if not isinstance(target, WindowedTensor):
        return NotImplemented
    in_place = func
    if kwargs.pop('inplace', False):
        in_place = functools.partial(func, inplace=True)
    return target.become(_run_on_windows(_out_of_place(func), in_place, args, kwargs))


def _out_of_place(func: Callable) -> Callable:
    """The variant of an in-place function that returns a new tensor; other functions as they are."""
    name = func.__name__
    if name.startswith('__i'):
        return getattr(_T, f'__{name[3:]}')
    if name.endswith('_'):
        home = _T if hasattr(_T, name) else F
        return getattr(home, name[:-1])
    return func


@handles(
    *named('group_norm', 'instance_norm', 'layer_norm', 'prelu', 'conv_transpose2d'),
    *named('adaptive_avg_pool2d', 'adaptive_max_pool2d', 'pixel_shuffle', 'pixel_unshuffle'),
)
def on_whole_maps(func: Callable, *args: Any, **kwargs: Any) -> Any:
    """Functions that read the whole map, and others that have no handler for windows."""
    if writes_in_place(func, kwargs):
        return NotImplemented
    find((args, kwargs), WindowedTensor)[0].graph.fallbacks.add(name_of(func))
    return run_whole(func, *args, **kwargs)


@handles(*named('contiguous', 'detach', 'requires_grad'))
def unchanged(func: Callable, x: WindowedTensor, *args: Any, **kwargs: Any) -> WindowedTensor:
    """Functions that change only memory layout or autograd state, which windowed tensors do not have."""
    return x


@handles(_T.expand_as)
def expand_as(func: Callable, constant: Tensor, x: WindowedTensor) -> Any:
    """A constant expanded to the shape of a map, without a copy for each cell."""
    return NotImplemented if isinstance(constant, WindowedTensor) else constant.expand(x.shape)


@handles(*named('dropout', 'dropout2d', 'dropout3d', 'alpha_dropout', 'feature_dropout'))
def dropout(func: Callable, x: WindowedTensor, *args: Any, **kwargs: Any) -> Any:
    """Dropout outside of training, which does nothing."""
    training = kwargs.get('training', args[1] if len(args) > 1 else True)
    return NotImplemented if training else x


@handles(torch.batch_norm, F.batch_norm)
def batch_norm(func: Callable, x: Any, *args: Any, **kwargs: Any) -> Any:
    """Batch norm with running statistics."""
    names = ('running_mean', 'running_var', 'weight', 'bias', 'training')
    if func is torch.batch_norm:
        names = ('weight', 'bias', 'running_mean', 'running_var', 'training')
    given = {**dict(zip(names, args)), **kwargs}
    if given.get('training') or given['running_mean'] is None:
        return NotImplemented
    if x.graph.passes_over(func, x.clean):
        return x
    y = run_on_windows(func, x, *args, **kwargs)
    operation = x.graph.operation_of(y.clean)
    if operation is not None and operation.affine is None:
        epsilon = kwargs.get('eps', args[6] if len(args) > 6 else 1e-5)
        operation.affine = _affine(given, y.shape[1], epsilon)
    return y


def _affine(given: dict[str, Any], channels: int, epsilon: float) -> tuple[Tensor, Tensor]:
    """What batch norm multiplies each channel by and adds, in float64."""
    mean, variance = given['running_mean'].double(), given['running_var'].double()
    weight, bias = given.get('weight'), given.get('bias')
    scale = (variance + epsilon).rsqrt() * (1 if weight is None else weight.double())
    return scale, (0 if bias is None else bias.double()) - mean * scale


@handles(*named('sum', 'mean', 'amax', 'amin', 'softmax', 'log_softmax', 'normalize', 'norm'))
def over_channels(func: Callable, x: Any, *args: Any, **kwargs: Any) -> Any:
    """Functions over the channels of each cell that keep the channel axis."""
    position = 1 if func in (F.normalize, torch.norm, _T.norm) else 0
    default = 1 if func is F.normalize else None
    axis = kwargs.get('dim', args[position] if len(args) > position else default)
    axis = axis[0] if isinstance(axis, (tuple, list)) and len(axis) == 1 else axis
    keeps = func.__name__ in ('softmax', 'log_softmax', 'normalize')
    keeps = keeps or kwargs.get('keepdim', args[position + 1 : position + 2] == (True,))
    if axis not in (1, -3) or not keeps or kwargs.get('out') is not None:
        return NotImplemented
    return run_on_windows(func, x, *args, **kwargs)


@handles(torch.cat, torch.concat)
def cat(func: Callable, tensors: Sequence[Tensor], dim: int = 0, **kwargs: Any) -> Any:
    """Concatenation of channels."""
    if dim not in (1, -3) or kwargs or not all(isinstance(t, WindowedTensor) for t in tensors):
        return NotImplemented
    return run_on_windows(func, list(tensors), dim)
