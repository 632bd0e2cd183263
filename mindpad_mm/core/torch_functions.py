"""Find and replace tensors in the arguments of torch functions.

``torch.utils._pytree`` does the same for any container. These functions only know lists, tuples and
dicts, and are many times faster. They run several times for each operation of a network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F


def replace(value: Any, kind: type, by: Callable[[Any], Any]) -> Any:
    """A copy of nested lists, tuples and dicts with each instance of ``kind`` replaced.

    Args:
        value: The container, or a single value.
        kind: Type of the values to replace.
        by: Function from a value to its replacement.
    """
    if isinstance(value, kind):
        return by(value)
    if type(value) in (list, tuple):
        return type(value)(replace(item, kind, by) for item in value)
    if type(value) is dict:
        return {key: replace(item, kind, by) for key, item in value.items()}
    return value


def find(value: Any, kind: type) -> list:
    """All instances of ``kind`` in nested lists, tuples and dicts, in order."""
    found: list = []
    replace(value, kind, found.append)
    return found


def named(*names: str) -> list[Callable]:
    """Functions by name from torch, torch.Tensor and torch.nn.functional, with in-place variants."""
    return [
        getattr(home, spelling)
        for name in names
        for home in (torch, torch.Tensor, F, torch._C._nn)
        for spelling in (name, f'{name}_')
        if hasattr(home, spelling)
    ]


def name_of(func: Callable) -> str:
    """The name of a torch function, for messages."""
    return getattr(func, '__name__', None) or repr(func)


def writes_in_place(func: Callable, kwargs: dict[str, Any]) -> bool:
    """Whether a call writes to its first argument."""
    name = getattr(func, '__name__', '')
    by_name = name.endswith('_') and not name.endswith('__')
    return by_name or name in _DUNDERS_IN_PLACE or bool(kwargs.get('inplace'))


_DUNDERS_IN_PLACE = {'__setitem__', '__iadd__', '__isub__', '__imul__', '__itruediv__', '__ipow__'}

_T = torch.Tensor
# Functions that read properties of a tensor, but not its values.
OF_SHAPE = {
    _T.size, _T.dim, _T.ndimension, _T.numel, _T.nelement, _T.is_floating_point, _T.is_complex,
    _T.is_contiguous, _T.stride, _T.__len__, _T.get_device, _T.__repr__, _T.__hash__,
    torch.is_floating_point, torch.is_complex, torch.numel,
}  # fmt: skip
for _name in (
    'shape', 'ndim', 'dtype', 'device', 'layout', 'requires_grad', 'is_cuda', 'is_cpu', 'is_meta',
    'is_sparse', 'is_quantized', 'is_mkldnn', 'is_leaf', 'grad_fn', 'names',
):  # fmt: skip
    if hasattr(getattr(_T, _name, None), '__get__'):
        OF_SHAPE.add(getattr(_T, _name).__get__)
