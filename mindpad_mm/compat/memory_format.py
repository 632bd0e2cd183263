"""mmcv's compiled operators read all tensors as if they were contiguous."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .mmcv_ops import ops_are_compiled


def compiled_ops_memory_format() -> bool:
    """Let mmcv's compiled operators accept tensors of any memory format, for example channels_last.

    For channels_last maps, RoIAlign and modulated deformable convolution silently give wrong numbers,
    and deformable convolution raises. The workaround passes contiguous copies to all functions of
    ``mmcv._ext``. Not applied if those three operators are right, or on mmcv-lite, whose replacements
    are.

    Upstream: open-mmlab/mmcv#2203.
    """
    if not ops_are_compiled() or _channels_last_is_supported():
        return False
    ext = importlib.import_module('mmcv._ext')
    # mmcv.ops looks the functions up in this module at every call.
    for name, value in list(vars(ext).items()):
        if callable(value):
            setattr(ext, name, _on_contiguous(value))
    return True


def _channels_last_is_supported() -> bool:
    from mmcv.ops import deform_conv2d, modulated_deform_conv2d, roi_align

    x = torch.arange(18.0).view(1, 2, 3, 3).to(memory_format=torch.channels_last)
    offset, mask, weight = torch.zeros(1, 2, 3, 3), torch.ones(1, 1, 3, 3), torch.ones(1, 2, 1, 1)
    whole = torch.tensor([[0.0, 0, 0, 3, 3]])
    try:
        # With one tap and no offset, a convolution with weight 1 sums the channels. With one bin for
        # each pixel, RoIAlign returns x.
        sums = [modulated_deform_conv2d(x, offset, mask, weight), deform_conv2d(x, offset, weight)]
        sums.append(roi_align(x, whole, 3, 1.0, 1).sum(1, keepdim=True))
    except RuntimeError:  # RuntimeError: input must be contiguous
        return False
    return all(torch.equal(each, x.sum(1, keepdim=True)) for each in sums)


def _on_contiguous(op: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a compiled function: it gets contiguous copies, and what it writes there is copied back."""

    @functools.wraps(op)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        copies: list[tuple[Tensor, Tensor]] = []

        def contiguous(value: Any) -> Any:
            if not isinstance(value, Tensor) or value.is_contiguous():
                return value
            copies.append((value, value.contiguous()))
            return copies[-1][1]

        result = op(*map(contiguous, args), **{k: contiguous(v) for k, v in kwargs.items()})
        for value, copy in copies:
            # It is unknown which tensors the function wrote to. It does not write to tensors that
            # require gradients, or to expanded tensors, whose elements share memory.
            if not value.requires_grad and 0 not in value.stride():
                # Through ``data``, because autograd does not see what compiled functions write either.
                value.data.copy_(copy)
        return result

    return wrapped
