"""Shortcuts through post-processing give what MMDetection's own functions give."""

from __future__ import annotations

import mindpad_mm  # noqa: F401  # isort: skip  # first, so that MMDetection imports on mmcv-lite

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.ops import nms
from mmdet.models.utils import filter_scores_and_topk

from mindpad_mm.scan.incremental import shortcuts


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**31), st.integers(1, 300), st.integers(1, 5), st.integers(1, 80),
    st.floats(0, 1), st.booleans(),
)  # fmt: skip
def test_the_first_scores_are_the_same_in_the_same_order(seed, rows, classes, topk, thr, tied):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(rows, classes, generator=generator)
    priors = torch.arange(rows * 4).view(rows, 4)
    if tied:
        scores = (scores * 8).round() / 8
    wanted = filter_scores_and_topk(scores, thr, topk, dict(priors=priors))
    found = shortcuts.filter_scores_and_topk(scores, thr, topk, dict(priors=priors))
    for part, whole in zip(found[:3], wanted[:3]):
        assert torch.equal(part, whole)
    assert torch.equal(found[3]['priors'], wanted[3]['priors'])


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**31), st.integers(0, 400), st.integers(1, 60), st.floats(0.05, 0.95),
    st.sampled_from([2, 20, 200]),
)  # fmt: skip
def test_the_first_boxes_kept_are_the_same(seed, count, kept, threshold, spread):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, spread, (count, 2))
    boxes = torch.from_numpy(np.hstack([corners, corners + rng.uniform(1, 30, (count, 2))])).float()
    scores = torch.from_numpy(rng.permutation(count) / max(count, 1)).float()
    dets, indices = nms(boxes, scores, threshold)
    found_dets, found = shortcuts._Nms(kept)(boxes, scores, iou_threshold=threshold)
    assert torch.equal(found[:kept], indices[:kept])
    assert torch.equal(found_dets[:kept], dets[:kept])
    assert len(found) >= min(kept, len(indices))


@pytest.mark.parametrize('extra', [{'max_num': 3}, {'score_threshold': 0.5}])
def test_suppression_with_further_arguments_is_left_alone(extra):
    boxes, scores = torch.rand(50, 4).sort(1).values, torch.rand(50)
    for a, b in zip(
        nms(boxes, scores, 0.5, **extra), shortcuts._Nms(2)(boxes, scores, 0.5, **extra)
    ):
        assert torch.equal(a, b)
