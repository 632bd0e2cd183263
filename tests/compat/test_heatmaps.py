"""Heatmap detectors give the same peaks in every memory format."""

from __future__ import annotations

import mindpad_mm  # noqa: F401  # isort: skip  # first, so that MMDetection imports on mmcv-lite

import pytest
import torch
from mmdet.models.dense_heads import centernet_head, corner_head
from mmdet.models.utils import gaussian_target

from mindpad_mm.compat.heatmaps import heatmap_memory_format


@pytest.mark.parametrize('module', [centernet_head, corner_head, gaussian_target])
def test_peaks_do_not_depend_on_the_memory_format(module):
    scores = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    wanted = module.get_topk_from_heatmap(scores, 7)
    found = module.get_topk_from_heatmap(scores.to(memory_format=torch.channels_last), 7)
    assert torch.equal(wanted[0][0], scores[0].flatten().topk(7).values)
    for each, other in zip(found, wanted):
        assert torch.equal(each, other)


def test_it_is_not_applied_twice():
    before = centernet_head.get_topk_from_heatmap
    assert not heatmap_memory_format()
    assert centernet_head.get_topk_from_heatmap is before
