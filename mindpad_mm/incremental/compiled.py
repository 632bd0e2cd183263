"""Modules of mmcv whose compiled functions torch does not see: they are given whole maps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from mindpad_mm.core.torch_functions import replace
from mindpad_mm.incremental.windowed import Windowed

_COMPILED = 'mmcv.ops.'


@contextlib.contextmanager
def whole_maps_for_compiled(model: nn.Module) -> Iterator[None]:
    """While active, modules from ``mmcv.ops`` get whole maps: RoIAlign, deformable convolutions.

    Their functions read a tensor's memory directly, and windows have none of their own.
    """

    def give_whole(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple:
        def whole(value: Windowed) -> Tensor:
            value.tape.fallbacks.add(type(module).__name__)
            value.tape.escape(value.clean)
            return value.dense()

        return replace((args, kwargs), Windowed, whole)

    hooks = [
        module.register_forward_pre_hook(give_whole, with_kwargs=True)
        for module in model.modules()
        if any(kind.__module__.startswith(_COMPILED) for kind in type(module).__mro__)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
