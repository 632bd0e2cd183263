"""The top scores of a lazy level equal those that MMDetection finds in the plain tensor."""

from __future__ import annotations

import mindpad_mm  # noqa: F401  # isort: skip  # first, so that MMDetection imports on mmcv-lite

from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.models.utils import filter_scores_and_topk

from mindpad_mm.incremental import topk as topk_module
from mindpad_mm.incremental.graph import OperationGraph
from mindpad_mm.incremental.levels import LazyLevel
from mindpad_mm.incremental.topk import top_scores
from mindpad_mm.incremental.windowed import WindowedTensor


def pasted(clean, patch, seed=0):
    """The clean map with one patch in each image, at random places."""
    room = np.subtract(clean.shape[-2:], patch.shape[-2:]) + 1
    corners = np.random.default_rng(seed).integers(0, room, (len(patch), 2))
    clean = clean.contiguous(memory_format=torch.channels_last)
    return WindowedTensor.pasted(clean, patch, corners, OperationGraph())


@st.composite
def scored_levels(draw, tied):
    """A head output, and the function that makes scores of one image's map."""
    batch, height, width = draw(st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7)))
    priors, classes, softmax = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.booleans())
    columns = classes + softmax
    part = [draw(st.integers(1, size)) for size in (height, width)]
    window = draw(st.sampled_from([part, part, (height, width), None]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))

    def logits(*shape):
        values = torch.randn(shape, generator=generator)
        if not tied:
            return values
        if softmax:
            return values.round()
        # Their sigmoid is the same in torch's vectorised loop and in the loop for the remainder.
        return torch.tensor([-200.0, 0, 30])[(values > 0).long() + (values > 1)]

    clean = logits(1, priors * columns, height, width)
    if window is None:
        windowed = WindowedTensor.all_clean(
            clean.contiguous(memory_format=torch.channels_last), batch, OperationGraph()
        )
    else:
        patch = logits(batch, priors * columns, *window)
        scale = draw(st.sampled_from([0, 1] if tied else [0.3, 1, 3]))
        windowed = pasted(clean, patch * scale, draw(st.integers(0, 99)))

    def scores(maps):
        rows = maps.permute(1, 2, 0).reshape(-1, columns)
        return rows.softmax(-1)[:, :-1] if softmax else rows.sigmoid()

    return windowed, scores


def of_images(level, threshold, count):
    found = top_scores(level, threshold, count)
    return [found.of_image(image) for image in range(len(level.windowed))]


thresholds_and_counts = st.sampled_from([-1, 0, 0.1, 0.5, 0.9]), st.integers(1, 60)


@settings(max_examples=150, deadline=None)
@given(scored_levels(tied=False), *thresholds_and_counts, st.sampled_from([1, 100, 10**6]))
def test_the_top_scores_of_every_image_equal_mmdetections(level, threshold, count, at_once):
    windowed, scores = level
    with mock.patch.object(topk_module, '_AT_ONCE', at_once):
        bests = of_images(scores(LazyLevel.of(windowed)[0]), threshold, count)
    assert len(bests) == len(windowed)
    for best, maps in zip(bests, windowed.dense()):
        values, labels, rows, _ = filter_scores_and_topk(scores(maps), threshold, count)
        torch.testing.assert_close(best.scores, values)
        assert places(best.rows, best.columns) == places(rows, labels)
        torch.testing.assert_close(best.scores, scores(maps)[best.rows, best.columns])


def places(rows, columns):
    return sorted(zip(rows.tolist(), columns.tolist()))


@settings(max_examples=200, deadline=None)
@given(scored_levels(tied=True), *thresholds_and_counts)
def test_tied_scores_equal_mmdetections_and_a_tie_at_the_cut_is_reported(level, threshold, count):
    windowed, scores = level
    for best, maps in zip(
        of_images(scores(LazyLevel.of(windowed)[0]), threshold, count), windowed.dense()
    ):
        plain = scores(maps)
        one_more = filter_scores_and_topk(plain, threshold, count + 1)[0]
        assert torch.equal(best.scores, one_more[:count])
        assert torch.equal(best.scores, plain[best.rows, best.columns])
        assert len(set(places(best.rows, best.columns))) == len(best.rows)
        assert best.cut_is_tied == (
            len(one_more) > count and bool(one_more[count - 1] == one_more[count])
        )


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize('window', [3, 6])
def test_scores_of_any_dtype_are_not_rounded(dtype, window):
    generator = torch.Generator().manual_seed(0)
    clean, patch = (
        torch.randn(batch, 4, size, size, generator=generator, dtype=torch.float64).to(dtype)
        for batch, size in ((1, 6), (2, window))
    )
    windowed = pasted(clean, patch)
    rows = LazyLevel.of(windowed)[0].permute(1, 2, 0).reshape(-1, 2)
    for best, maps in zip(of_images(rows, -1, 20), windowed.dense()):
        plain = maps.permute(1, 2, 0).reshape(-1, 2)
        assert torch.equal(best.scores, filter_scores_and_topk(plain, -1, 20)[0])
        assert torch.equal(best.scores, plain[best.rows, best.columns])


def test_nan_scores_do_not_hide_others():
    clean = torch.randn(1, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    patch = clean.repeat(1, 1, 1, 1) + 1
    patch[0, :2, :3] = torch.nan
    windowed = WindowedTensor.pasted(clean, patch, np.zeros((1, 2), int), OperationGraph())
    scores = [
        x[0].permute(1, 2, 0).reshape(-1, 2).sigmoid() for x in (LazyLevel.of(windowed), patch)
    ]
    (best,) = of_images(scores[0], 0.1, 20)
    values, labels, rows, _ = filter_scores_and_topk(scores[1], 0.1, 20)
    assert torch.equal(best.scores, values)
    assert places(best.rows, best.columns) == places(rows, labels)
