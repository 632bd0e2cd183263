"""Modules of mmcv whose compiled functions torch does not see: they are given plain maps."""

from __future__ import annotations

import contextlib
from typing import Any, Iterator

import torch
from torch import Tensor, nn

from mindpad_mm.scan.incremental.nested import find, replace
from mindpad_mm.scan.incremental.windowed import Windowed

_COMPILED = 'mmcv.ops.'


def to_channels_last(model: nn.Module) -> None:
    """Convert a model's parameters to channels_last in place, but for modules from ``mmcv.ops``.

    oneDNN and cuDNN run convolutions up to five times faster in this format; compiled deformable
    convolutions refuse it or, modulated ones, read it as if it were the other.
    """
    model.to(memory_format=torch.channels_last)
    for module in _compiled(model):
        module.to(memory_format=torch.contiguous_format)


def _compiled(model: nn.Module) -> list[nn.Module]:
    return [
        module
        for module in model.modules()
        if any(kind.__module__.startswith(_COMPILED) for kind in type(module).__mro__)
    ]


@contextlib.contextmanager
def plain_maps_for_compiled(model: nn.Module) -> Iterator[None]:
    """While active, modules from ``mmcv.ops`` get whole maps: RoIAlign, deformable convolutions.

    Their functions read a tensor's memory directly, and windows have none of their own. See
    :func:`to_channels_last` for why these are contiguous.
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
        for module in _compiled(model)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
