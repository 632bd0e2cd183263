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

from mindpad_mm.scan.incremental import Level, Tape, Windowed, shortcuts


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


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**31), st.sampled_from([(1, 1), (2, 1), (3, 4)]), st.integers(1, 60),
    st.floats(0, 0.7), st.booleans(),
)  # fmt: skip
def test_the_first_scores_of_a_level_are_those_of_the_plain_tensor(seed, window, topk, thr, tied):
    generator = torch.Generator().manual_seed(seed)
    clean = torch.randn(1, 6, 9, 8, generator=generator)
    patch = torch.randn(2, 6, *window, generator=generator)
    if tied:
        clean, patch = clean.round(), patch.round()
    corners = np.random.default_rng(seed).integers(0, 5, (2, 2))
    tape = Tape()
    clean = clean.contiguous(memory_format=torch.channels_last)
    windowed = Windowed.pasted(clean, patch, corners, tape)
    boxes = torch.arange(9 * 8 * 2 * 4.0).view(-1, 4)
    for value in (windowed, Windowed.equal(clean, 2, tape)):
        for sample in (0, 1):
            rows = [x[sample].permute(1, 2, 0).reshape(-1, 3) for x in
                    (Level.of(value), value.dense())]  # fmt: skip
            scores = [x.softmax(-1)[:, :-1] for x in rows]
            extra = [dict(boxes=boxes, rows=x) for x in rows]
            found = shortcuts.filter_scores_and_topk(scores[0], thr, topk, extra[0])
            wanted = filter_scores_and_topk(scores[1], thr, topk, extra[1])
            assert torch.allclose(found[0], wanted[0])
            if not tied:
                for a, b in zip(found[1:3], wanted[1:3]):
                    assert torch.equal(a, b)
                for name in ('boxes', 'rows'):
                    assert torch.allclose(found[3][name], wanted[3][name])
