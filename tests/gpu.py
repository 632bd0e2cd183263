"""A stand-in for a GPU, for machines without one: it computes on the CPU, and refuses what a GPU refuses.

Tensors say that they are on ``cuda:0``. As with a GPU, an operation on tensors of both devices raises an
error, and so does ``numpy()``. Kernels, rounding and speed of a GPU are not imitated, and neither is
training: autograd asks for the driver.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

aten = torch.ops.aten
# A GPU takes places from the CPU, copies from it, and numbers (tensors without a dimension).
_TAKE_PLACES = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default)
_COPIES = (aten._to_copy.default, aten.copy_.default)


class StandIn(Tensor):
    """A tensor that says it is on a GPU.

    Attributes:
        held: Its values, on the CPU.
    """

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> StandIn:
        tensor = Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, layout=held.layout, device='cuda:0',
        )  # fmt: skip
        tensor.held = held
        return tensor

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _computed(function, args, kwargs or {})

    def __deepcopy__(self, copied: dict[int, Any]) -> Tensor:
        if id(self) not in copied:
            copy: Tensor = StandIn(self.held.clone())
            if isinstance(self, nn.Parameter):
                copy = nn.Parameter(copy, self.requires_grad)
            copied[id(self)] = copy
        return copied[id(self)]

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    def tolist(self) -> Any:
        return self.held.tolist()

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def __array__(self, *args: Any) -> Any:
        return self.numpy()

    def __repr__(self) -> str:
        return f'StandIn({self.held!r})'


class _OnGpu(TorchDispatchMode):
    """Catches what makes a tensor on ``cuda`` from nothing."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return _computed(function, args, kwargs or {})


def _computed(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of an operation, computed on the CPU."""
    values, structure = tree_flatten((args, kwargs))
    on_gpu = [value for value in values if isinstance(value, StandIn)]
    if on_gpu and function not in (*_COPIES, *_TAKE_PLACES):
        for value in values:
            if isinstance(value, Tensor) and not isinstance(value, StandIn) and value.dim():
                raise RuntimeError(f'{function}: expected all tensors to be on the same device')
    inner_args, inner_kwargs = tree_unflatten([_on_cpu(value) for value in values], structure)
    result = function(*inner_args, **inner_kwargs)
    if kwargs.get('device') is not None:
        moved = torch.device(kwargs['device']).type == 'cuda'
    elif function in _COPIES:
        moved = isinstance(args[0], StandIn)
    else:
        moved = bool(on_gpu)
    if not moved:
        return result
    # In-place operations return the tensor that they were given.
    given = {id(value.held): value for value in on_gpu}

    def moved_to_gpu(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return given[id(value)] if id(value) in given else StandIn(value)

    return tree_map(moved_to_gpu, result)


def _on_cpu(value: Any) -> Any:
    if isinstance(value, StandIn):
        return value.held
    if isinstance(value, torch.device) and value.type == 'cuda':
        return torch.device('cpu')
    return value


@contextlib.contextmanager
def stand_in_gpu() -> Iterator[None]:
    """The device ``'cuda'`` exists in the context, without a GPU. See the module for what it is not."""
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(torch.cuda, '_lazy_init', lambda: None)
        patch.setattr(torch.cuda, 'is_available', lambda: True)
        patch.setattr(torch.cuda, 'device_count', lambda: 1)
        patch.setattr(torch.cuda, 'current_device', lambda: 0)
        patch.setattr(torch.cuda, 'synchronize', lambda *_: None)
        # Operations of cuDNN have no kernel on the CPU.
        patch.setattr(torch.backends.cudnn, 'enabled', False)
        # Tensors of inference mode cannot be wrapped.
        patch.setattr(torch.inference_mode, '__enter__', _no_grad)
        patch.setattr(torch.inference_mode, '__exit__', _as_before)
        torch._C._ensureCUDADeviceGuardSet()
        # Parameters cannot change their class: `Module.to` makes new ones.
        before = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, before)
        # Lists used as indices become tensors on the CPU first.
        torch._C._set_only_lift_cpu_tensors(True)
        stack.callback(torch._C._set_only_lift_cpu_tensors, False)
        stack.enter_context(_OnGpu())
        yield


def _no_grad(self: Any) -> None:
    self.before = torch.is_grad_enabled()
    torch._C._set_grad_enabled(False)


def _as_before(self: Any, *_: Any) -> None:
    torch._C._set_grad_enabled(self.before)
