"""Finding and replacing tensors in the arguments of torch functions.

What ``torch.utils._pytree`` does for any container, at a fraction of its cost for the few that occur: it
runs several times for each operation of the network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F


def replace(value: Any, kind: type, by: Callable[[Any], Any]) -> Any:
    """A copy of nested lists, tuples and dicts, each instance of ``kind`` in it replaced."""
    if isinstance(value, kind):
        return by(value)
    if type(value) in (list, tuple):
        return type(value)(replace(item, kind, by) for item in value)
    if type(value) is dict:
        return {key: replace(item, kind, by) for key, item in value.items()}
    return value


def find(value: Any, kind: type) -> list:
    """All instances of ``kind`` in nested lists, tuples and dicts, in their order."""
    found: list = []
    replace(value, kind, found.append)
    return found


def named(*names: str) -> list[Callable]:
    """The functions of these names in torch, its tensors (also in place) and torch.nn.functional."""
    return [
        getattr(home, spelling)
        for name in names
        for home in (torch, torch.Tensor, F, torch._C._nn)
        for spelling in (name, f'{name}_')
        if hasattr(home, spelling)
    ]


def name_of(func: Callable) -> str:
    """A torch function's name for a person to read."""
    return getattr(func, '__name__', None) or repr(func)


def writes_in_place(func: Callable, kwargs: dict[str, Any]) -> bool:
    """Whether a call writes to its first argument."""
    name = getattr(func, '__name__', '')
    by_name = name.endswith('_') and not name.endswith('__')
    return by_name or name in _DUNDERS_IN_PLACE or bool(kwargs.get('inplace'))


_DUNDERS_IN_PLACE = {'__setitem__', '__iadd__', '__isub__', '__imul__', '__itruediv__', '__ipow__'}

_T = torch.Tensor
# What asks for a tensor's form, not for its content.
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
