"""mmcv's compiled operators read any tensor's memory as if it were contiguous."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .mmcv_ops import ops_are_compiled


def compiled_ops_memory_format() -> bool:
    """Let the compiled operators of mmcv take tensors of any memory format, such as channels_last.

    Of maps in channels_last RoIAlign and modulated deformable convolutions compute wrong numbers
    without a word, and plain deformable convolutions refuse them. All functions of ``mmcv._ext`` now
    get contiguous copies of tensors that are not. Steps aside where those three read channels_last
    rightly, and on mmcv-lite, whose stand-ins do.

    Upstream: open-mmlab/mmcv#2203.
    """
    if not ops_are_compiled() or _channels_last_is_read_rightly():
        return False
    ext = importlib.import_module('mmcv._ext')
    # Everything in mmcv.ops looks its functions up in this module when it calls them.
    for name, value in list(vars(ext).items()):
        if callable(value):
            setattr(ext, name, _on_contiguous(value))
    return True


def _channels_last_is_read_rightly() -> bool:
    from mmcv.ops import deform_conv2d, modulated_deform_conv2d, roi_align

    x = torch.arange(18.0).view(1, 2, 3, 3).to(memory_format=torch.channels_last)
    offset, mask, weight = torch.zeros(1, 2, 3, 3), torch.ones(1, 1, 3, 3), torch.ones(1, 2, 1, 1)
    whole = torch.tensor([[0.0, 0, 0, 3, 3]])
    try:
        # One tap without an offset sums over the channels; a bin to a pixel takes x as it is.
        sums = [modulated_deform_conv2d(x, offset, mask, weight), deform_conv2d(x, offset, weight)]
        sums.append(roi_align(x, whole, 3, 1.0, 1).sum(1, keepdim=True))
    except RuntimeError:  # RuntimeError: input must be contiguous
        return False
    return all(torch.equal(each, x.sum(1, keepdim=True)) for each in sums)


def _on_contiguous(op: Callable[..., Any]) -> Callable[..., Any]:
    """A compiled function that is given contiguous tensors, and what it writes to them copied back."""

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
            # Which ones it wrote cannot be seen, but not those that take part in autograd, nor expanded
            # ones, whose elements share their memory.
            if not value.requires_grad and 0 not in value.stride():
                # Autograd does not see what compiled functions write, and is not to see this either.
                value.data.copy_(copy)
        return result

    return wrapped
