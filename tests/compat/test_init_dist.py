"""Over gloo, more processes than GPUs can start."""

from __future__ import annotations

import pytest
import torch
from mmengine.dist import utils

from mindpad_mm.compat.init_dist import _without_missing_gpu, init_dist_without_gpus


@pytest.mark.parametrize(
    ('backend', 'gpus', 'selected'),
    [('gloo', 0, []), ('gloo', 1, []), ('gloo', 4, [3]), ('nccl', 1, [3])],
)
def test_only_gloo_skips_a_missing_gpu(monkeypatch, backend, gpus, selected):
    asked = []
    monkeypatch.setattr(torch.cuda, 'set_device', asked.append)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: gpus)

    def start(backend, timeout):
        torch.cuda.set_device(3)
        return backend, timeout

    assert _without_missing_gpu(start)(backend, timeout=7) == (backend, 7)
    assert asked == selected
    torch.cuda.set_device(9)
    assert asked == [*selected, 9]


def test_all_launchers_are_wrapped(monkeypatch):
    names = ('_init_dist_pytorch', '_init_dist_mpi', '_init_dist_slurm')
    for name in names:
        monkeypatch.setattr(utils, name, lambda backend: backend)
    assert init_dist_without_gpus() is True
    for name in names:
        assert hasattr(getattr(utils, name), '__wrapped__')
