"""mmengine cannot start more distributed processes than there are GPUs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

_STARTERS = ('_init_dist_pytorch', '_init_dist_mpi', '_init_dist_slurm')


def init_dist_without_gpus() -> bool:
    """Let ``mmengine.dist.init_dist`` start more processes over gloo than there are GPUs.

    With every backend, mmengine 0.10.7 selects the GPU of the local rank, which fails if there is no
    such GPU. gloo needs none, so with gloo a missing GPU is not selected. Other backends are not
    changed.

    Upstream: ``dist/utils.py`` of mmengine; no issue is known.
    """
    from mmengine.dist import utils

    for name in _STARTERS:
        setattr(utils, name, _without_missing_gpu(getattr(utils, name)))
    return True


def _without_missing_gpu(start: Callable[..., None]) -> Callable[..., None]:
    select = torch.cuda.set_device

    def select_if_there(device: int) -> None:
        if device < torch.cuda.device_count():
            select(device)

    @functools.wraps(start)
    def wrapped(backend: str, **kwargs: Any) -> None:
        if backend != 'gloo':
            return start(backend, **kwargs)
        torch.cuda.set_device = select_if_there
        try:
            return start(backend, **kwargs)
        finally:
            torch.cuda.set_device = select

    return wrapped
