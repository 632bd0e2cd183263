"""Modules of mmcv whose compiled functions torch does not see: they are given plain maps."""

from __future__ import annotations

import contextlib
from typing import Any, Iterator

from torch import Tensor, nn

from mindpad_mm.scan.incremental.nested import find, replace
from mindpad_mm.scan.incremental.windowed import Windowed

_COMPILED = 'mmcv.ops.'


@contextlib.contextmanager
def plain_maps_for_compiled(model: nn.Module) -> Iterator[None]:
    """While active, modules from ``mmcv.ops`` get whole maps: RoIAlign, deformable convolutions.

    Their functions read a tensor's memory directly, and windows have none of their own. Some refuse
    what is not contiguous, as maps in channels_last are.
    """

    def plain(value: Tensor) -> Tensor:
        return (value.dense() if isinstance(value, Windowed) else value).contiguous()

    def give_plain(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple:
        for value in find((args, kwargs), Windowed):
            value.tape.fallbacks.add(type(module).__name__)
            value.tape.escape(value.clean)
        return replace((args, kwargs), Tensor, plain)

    hooks = [
        module.register_forward_pre_hook(give_plain, with_kwargs=True)
        for module in model.modules()
        if any(kind.__module__.startswith(_COMPILED) for kind in type(module).__mro__)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
