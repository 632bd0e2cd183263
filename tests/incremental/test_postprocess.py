"""Fast post-processing gives the detections of MMMDetection's own functions."""

from __future__ import annotations

import mindpad_mm  # noqa: F401  # isort: skip  # first, so that MMDetection imports on mmcv-lite

import contextlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.ops import batched_nms, nms
from mmdet.models.dense_heads import (
    FCOSHead,
    RetinaHead,
    SSDHead,
    YOLOV3Head,
    YOLOXHead,
    base_dense_head,
)
from mmengine.config import ConfigDict
from torch import nn

from mindpad_mm.incremental import postprocess
from mindpad_mm.incremental.graph import OperationGraph
from mindpad_mm.incremental.levels import LazyLevel
from mindpad_mm.incremental.ties import MOST_EQUAL, Ties
from mindpad_mm.incremental.whole_batch import predicts_as_usual
from mindpad_mm.incremental.windowed import WindowedTensor


def boxes_and_scores(seed, count, spread=20):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, spread, (count, 2))
    boxes = np.hstack([corners, corners + rng.uniform(1, 30, (count, 2))])
    scores = rng.permutation(count) / max(count, 1)
    return torch.from_numpy(boxes).float(), torch.from_numpy(scores).float()


images = st.tuples(st.integers(0, 2**31), st.integers(0, 400), st.sampled_from([2, 20, 200]))


@settings(max_examples=100, deadline=None)
@given(st.lists(images, min_size=1, max_size=4), st.integers(1, 60), st.floats(0.05, 0.95))
def test_the_first_kept_boxes_of_each_image_are_the_same(images, kept, threshold):
    ties = Ties(kept)
    quick = postprocess._PrefixNms(ties)
    for seed, count, spread in images:
        ties.clear()
        boxes, scores = boxes_and_scores(seed, count, spread)
        dets, indices = nms(boxes, scores, threshold)
        found_dets, found = quick(boxes, scores, iou_threshold=threshold)
        assert torch.equal(found[:kept], indices[:kept])
        assert torch.equal(found_dets[:kept], dets[:kept])
        assert len(found) >= min(kept, len(indices))
        assert not ties.matter(0.0)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float16])
def test_nms_keeps_the_dtype(dtype):
    boxes, scores = (each.to(dtype) for each in boxes_and_scores(0, 300))
    given = []

    def own(boxes, scores, iou_threshold):
        given.extend([boxes.dtype, scores.dtype])
        return nms(boxes.float(), scores.float(), iou_threshold)

    quick = postprocess._PrefixNms(Ties(5))
    quick.nms = own
    dets, found = quick(boxes, scores, iou_threshold=0.5)
    assert torch.equal(found[:5], own(boxes, scores, 0.5)[1][:5])
    assert {dets.dtype, *given} == {dtype}


def test_nms_starts_with_as_many_boxes_as_the_previous_image_needed(monkeypatch):
    boxes, scores = boxes_and_scores(0, 2000)
    quick, calls = postprocess._PrefixNms(Ties(20)), []

    def counted(*args):
        calls.append(len(args[0]))
        return nms(*args)

    monkeypatch.setattr(quick, 'nms', counted)
    quick(boxes, scores, iou_threshold=0.3)
    first = len(calls)
    quick(boxes, scores, iou_threshold=0.3)
    assert first > 1
    assert len(calls) == first + 1
    assert calls[-1] < 2000


def by_length(boxes, scores, iou_threshold):
    """NMS whose tie-break depends on the number of boxes: the first or the last of equal scores."""
    backwards = len(boxes) % 2 == 0
    order = torch.arange(len(boxes))
    order = order.flip(0) if backwards else order
    dets, kept = nms(boxes[order], scores[order], iou_threshold)
    return dets, order[kept]


@given(st.integers(0, 2**31), st.integers(1, 400), st.integers(1, 60), st.sampled_from([2, 20]))
def test_ties_do_not_depend_on_earlier_images(seed, count, kept, steps):
    images = [boxes_and_scores(seed + k, count + 7 * k) for k in range(2)]
    (first, other), (boxes, scores) = images[0], images[1]
    scores = (scores * steps).round() / steps
    found = []
    for before in ([], [(first, other)]):
        quick = postprocess._PrefixNms(Ties(kept))
        quick.nms = by_length
        for each in before:
            quick(*each, iou_threshold=0.4)
        found.append(quick(boxes, scores, iou_threshold=0.4))
    for a, b in zip(*found):
        assert torch.equal(a, b)


@pytest.mark.parametrize('extra', [{'max_num': 3}, {'score_threshold': 0.5}, {'offset': 1}])
def test_nms_with_other_arguments_is_mmcvs_own(extra):
    boxes, scores = boxes_and_scores(0, 50)
    found = postprocess._PrefixNms(Ties(2))(boxes, scores, 0.5, **extra)
    for a, b in zip(nms(boxes, scores, 0.5, **extra), found):
        assert torch.equal(a, b)


def ties_after(boxes, scores, count=10, threshold=0.5):
    ties = Ties(count)
    postprocess._PrefixNms(ties)(torch.tensor(boxes), torch.tensor(scores), threshold)
    return ties


def row_of_boxes(count, apart):
    return [[apart * k, 0.0, apart * k + 10, 10.0] for k in range(count)]


def test_a_tie_of_overlapping_boxes_matters_down_to_its_score():
    # The two boxes with score 0.7 are neighbours, and their IoU is 7 / 13.
    boxes = row_of_boxes(4, 3.0)
    ties = ties_after(boxes, [0.7, 0.7, 0.2, 0.9], threshold=0.5)
    assert ties.matter(0.0)
    assert ties.matter(0.5)
    assert not ties.matter(0.75)
    assert not ties_after(boxes, [0.7, 0.7, 0.2, 0.9], threshold=0.6).matter(0.0)
    # Other boxes of the same score between them do not hide them.
    assert ties_after([*row_of_boxes(5, 50.0), [1.0, 0, 10, 10]], [0.5] * 6).matter(0.5)


def test_a_tie_of_separate_boxes_does_not_matter():
    assert not ties_after(row_of_boxes(9, 50.0), [0.5] * 9).matter(0.0)


def test_a_tie_at_the_last_detection_matters_down_to_its_score():
    boxes = row_of_boxes(5, 50.0)
    ties = ties_after(boxes, [0.9, 0.4, 0.4, 0.6, 0.3], count=3)
    assert ties.matter(0.4)
    assert not ties.matter(0.5)
    for count in (1, 2, 4, 5):
        assert not ties_after(boxes, [0.9, 0.4, 0.4, 0.6, 0.3], count).matter(0.0)


def test_a_tie_at_the_last_detection_is_found_behind_suppressed_boxes():
    boxes = [[0.0, 0, 10, 10], [0, 0, 10, 9], [50, 0, 60, 10], [90, 0, 99, 9]]
    assert ties_after(boxes, [0.9, 0.8, 0.4, 0.4], count=2).matter(0.4)


def test_a_tie_below_the_last_detection_does_not_matter():
    boxes = [[0.0, 0, 10, 10], [50, 0, 60, 10], [50, 0, 60, 9]]
    assert ties_after(boxes, [0.9, 0.4, 0.4], count=2).matter(0.0)
    ties = ties_after(boxes, [0.9, 0.4, 0.4], count=1)
    ties.scores.append(0.8)
    assert not ties.matter(0.0)
    ties.scores.append(0.95)
    assert ties.matter(0.0)


def test_ties_of_all_nms_calls_of_an_image_count():
    pair, apart = row_of_boxes(2, 1.0), row_of_boxes(2, 50.0)
    ties = Ties(3)
    for boxes, scores in ((pair, [0.5, 0.5]), (apart, [0.7, 0.4])):
        postprocess._PrefixNms(ties)(torch.tensor(boxes), torch.tensor(scores), 0.5)
    assert ties.matter(0.5)
    assert not ties.matter(0.6)
    ties.clear()
    for scores in ([0.9, 0.5], [0.7, 0.5]):
        postprocess._PrefixNms(ties)(torch.tensor(apart), torch.tensor(scores), 0.5)
    assert ties.matter(0.5)
    assert not ties.matter(0.6)
    ties.clear()
    assert not ties.matter(0.0)


def test_a_suppressed_box_does_not_tie_with_the_last_detection():
    # The third box ties with the second, but the first box suppresses it.
    boxes = [[0.0, 0, 10, 10], [50, 0, 60, 10], [0, 0, 10, 10], [90, 0, 99, 9]]
    assert not ties_after(boxes, [0.9, 0.4, 0.4, 0.3], count=2).matter(0.0)


def test_very_many_equal_scores_are_assumed_to_overlap():
    most = MOST_EQUAL
    assert not ties_after(row_of_boxes(most, 50.0), [0.5] * most, 999).matter(0.5)
    many = ties_after(row_of_boxes(most + 1, 50.0), [0.5] * (most + 1), 999)
    assert many.matter(0.5)
    assert not many.matter(0.6)


TEST_CFG = dict(
    nms_pre=60,
    min_bbox_size=0,
    score_thr=0.02,
    max_per_img=20,
    nms=dict(type='nms', iou_threshold=0.4),
)


class FirstOfAll(RetinaHead):
    """Takes the best detections without NMS."""

    def _bbox_post_process(self, results, cfg, **kwargs):
        return results[results.scores.sort(descending=True).indices[: cfg.max_per_img]]


def retina(kind=RetinaHead, **test_cfg):
    return kind(
        num_classes=4, in_channels=4, feat_channels=4, stacked_convs=1,
        anchor_generator=dict(
            type='AnchorGenerator', scales=[2.0], ratios=[1.0, 2.0], strides=[8, 16]
        ),
        test_cfg=ConfigDict({**TEST_CFG, **test_cfg}),
    )  # fmt: skip


def ssd():
    generator = dict(
        type='SSDAnchorGenerator', scale_major=False, input_size=64, strides=[8, 16],
        min_sizes=[16, 30], max_sizes=[30, 48], ratios=[[], []],
    )  # fmt: skip
    return SSDHead(
        num_classes=3, in_channels=(4, 4), anchor_generator=generator,
        test_cfg=ConfigDict(TEST_CFG),
    )  # fmt: skip


def fcos():
    return FCOSHead(
        num_classes=4, in_channels=4, feat_channels=4, stacked_convs=1, strides=(8, 16),
        norm_cfg=None, test_cfg=ConfigDict(TEST_CFG),
    )  # fmt: skip


HEADS = {
    'SSD': (ssd, (8, 8)),
    'RetinaNet': (retina, (8, 8)),
    'class-agnostic NMS': (
        lambda: retina(nms=dict(iou_threshold=0.4, class_agnostic=True)), (8, 8),
    ),
    'NMS with max_num': (
        lambda: retina(nms=dict(type='nms', iou_threshold=0.4, max_num=9)), (8, 8),
    ),
    'no NMS': (lambda: retina(nms=None), (8, 8)),
    'FCOS, with score factors': (fcos, (4, 4, 1)),
    'post-processing of its own': (lambda: retina(FirstOfAll), (8, 8)),
}  # fmt: skip
BATCH = 3


def head_outputs(channels, seed):
    """Outputs of two levels with many equal logits.

    All windows have 32 cells: torch's sigmoid uses another formula for the remainder of its vectorised
    loop, so that equal logits there would give scores that differ in the last bit.
    """
    generator = torch.Generator().manual_seed(seed)
    steps = [2, 16, 128][seed % 3]
    outputs = []
    for kind, depth in enumerate(channels):
        levels = []
        for size in ((8, 16), (4, 8)):
            maps = torch.randn(1 + BATCH, depth, *size, generator=generator)
            maps = (maps * steps).round() / steps if kind != 1 else maps.abs() * 0.5
            clean = maps[:1].contiguous(memory_format=torch.channels_last)
            if size == (4, 8) and seed % 2:
                levels.append(WindowedTensor.all_clean(clean, BATCH, OperationGraph()))
            else:
                corners = np.random.default_rng(seed).integers(
                    0, (size[0] - 3, size[1] - 7), (BATCH, 2)
                )
                levels.append(
                    WindowedTensor.pasted(clean, maps[1:, :, :4, :8], corners, OperationGraph())
                )
        outputs.append(levels)
    return outputs


@contextlib.contextmanager
def counted_calls(head):
    """Collects the head's calls of its post-processing of one image."""
    calls, predict = [], head._predict_by_feat_single

    def single(*args, **kwargs):
        calls.append(args)
        return predict(*args, **kwargs)

    head._predict_by_feat_single = single
    yield calls
    del head._predict_by_feat_single


def predicted(head, outputs):
    metas = [dict(img_shape=(64, 128), scale_factor=(1.0, 1.0))] * BATCH
    with torch.no_grad():
        return head.predict_by_feat(*outputs, batch_img_metas=metas)


def detections(head, outputs, floor):
    """Detections by the fast functions, and how many images MMDetection's own functions processed."""
    model = nn.Module()
    model.bbox_head = head
    levels = [[LazyLevel.of(level) for level in kind] for kind in outputs]
    with counted_calls(head) as calls, postprocess.fast_postprocess(model, lambda *_: floor):
        found = predicted(head, levels)
    return found, len(calls) - (0 if predicts_as_usual(head) else BATCH)


def plain_detections(head, outputs):
    return predicted(head, [[level.dense().clone() for level in kind] for kind in outputs])


def assert_equal(found, wanted):
    for name in ('scores', 'bboxes', 'labels'):
        assert torch.equal(found[name], wanted[name])


def in_order(found, floor=0.0):
    """(N, 6) detections with at least a score, as score, box, label; ties in a fixed order."""
    columns = torch.cat([found.scores[:, None], found.bboxes, found.labels[:, None]], 1).numpy()
    columns = columns[columns[:, 0] >= floor]
    return columns[np.lexsort(columns.T[::-1])]


@pytest.mark.parametrize(('build', 'channels'), HEADS.values(), ids=HEADS)
def test_detections_are_the_same_with_any_ties(build, channels):
    head = build().eval()
    again = 0
    for seed in range(12):
        outputs = head_outputs(channels, seed)
        found, more = detections(head, outputs, floor=0.0)
        again += more
        for a, b in zip(found, plain_detections(head, outputs)):
            assert len(b) >= 9
            np.testing.assert_array_equal(in_order(a), in_order(b))
            if more == BATCH:
                # All images were processed again, so the order of ties is the same too.
                assert_equal(a, b)
    assert again > 0


@pytest.mark.parametrize(('build', 'channels'), HEADS.values(), ids=HEADS)
def test_ties_below_the_floor_do_not_change_detections_above_it(build, channels):
    head = build().eval()
    spared = 0
    for seed in range(12):
        outputs = head_outputs(channels, seed)
        plain = plain_detections(head, outputs)
        floor = float(torch.cat([each.scores for each in plain]).quantile(0.8))
        found, again = detections(head, outputs, floor)
        spared += again < detections(head, outputs, 0.0)[1]
        for a, b in zip(found, plain):
            np.testing.assert_array_equal(in_order(a, floor), in_order(b, floor))
    assert spared > 0


@pytest.mark.parametrize(('build', 'channels'), HEADS.values(), ids=HEADS)
def test_with_an_infinite_floor_no_image_is_processed_again(build, channels):
    head = build().eval()
    for seed in range(3):
        found, again = detections(head, head_outputs(channels, seed), math.inf)
        assert again == 0
        assert len(found) == BATCH


def test_each_image_has_its_own_floor():
    head = retina().eval()
    outputs = head_outputs((8, 8), 0)
    asked = []

    def floor(image, found):
        asked.append((image, len(found)))
        return 0.0 if image == 1 else math.inf

    model = nn.Module()
    model.bbox_head = head
    levels = [[LazyLevel.of(level) for level in kind] for kind in outputs]
    with counted_calls(head) as calls, postprocess.fast_postprocess(model, floor):
        found = predicted(head, levels)
    assert len(calls) == 1
    assert set(asked) <= {(k, len(each)) for k, each in enumerate(found)}
    assert_equal(found[1], plain_detections(head, outputs)[1])


def test_only_images_with_ties_are_processed_again():
    outputs = head_outputs((8, 8), 2)
    for level, seed in zip(outputs[0], range(2)):
        generator = torch.Generator().manual_seed(seed)
        level.clean.copy_(torch.randn(level.clean.shape, generator=generator))
        level.patch[1:] = torch.randn(level.patch[1:].shape, generator=generator)
        level.patch[0] = 5
    head = retina().eval()
    found, again = detections(head, outputs, 0.0)
    assert again == 1
    for a, b in zip(found, plain_detections(head, outputs)):
        assert_equal(a, b)


@pytest.mark.parametrize('floor', [0.0, math.inf])
def test_detections_are_the_same_if_nms_runs_for_each_class(monkeypatch, floor):
    monkeypatch.setattr(
        base_dense_head, 'batched_nms',
        lambda boxes, scores, labels, cfg: batched_nms(boxes, scores, labels, {**cfg, 'split_thr': 50}),
    )  # fmt: skip
    head = retina(nms_pre=500, max_per_img=30, score_thr=0.0).eval()
    again = 0
    for seed in range(15):
        outputs = head_outputs((8, 8), seed)
        found, more = detections(head, outputs, floor)
        again += more
        for a, b in zip(found, plain_detections(head, outputs)):
            if floor == 0:
                np.testing.assert_array_equal(in_order(a), in_order(b))
            assert torch.equal(a.scores[:1], b.scores[:1])
            assert len(a) == len(b)
    assert (again > 0) == (floor == 0)


def test_detections_above_the_floor_are_the_detectors_first_ones_where_nms_stops_at_the_floor():
    head = retina(max_per_img=200, nms_pre=500, score_thr=0.0).eval()
    stopped = 0
    for seed in range(2, 12, 3):  # many different scores
        outputs = head_outputs((8, 8), seed)
        plain = plain_detections(head, outputs)
        for share in (0.5, 0.9):
            floor = float(torch.cat([each.scores for each in plain]).quantile(share))
            found, _ = detections(head, outputs, floor)
            for a, b in zip(found, plain):
                np.testing.assert_array_equal(in_order(a, floor), in_order(b, floor))
                stopped += len(a) < len(b)
    assert stopped > 0


@pytest.mark.parametrize('cfg', [TEST_CFG, {**TEST_CFG, 'score_thr': 0.3}])
def test_yolox_gives_mmdetections_detections(cfg):
    head = YOLOXHead(
        num_classes=3, in_channels=4, feat_channels=4, stacked_convs=1, strides=(8, 16),
        test_cfg=ConfigDict(cfg),
    ).eval()  # fmt: skip
    counts = []
    for seed in range(6):
        outputs = head_outputs((3, 4, 1), seed)
        for a, b in zip(detections(head, outputs, 0.0)[0], plain_detections(head, outputs)):
            counts.append(len(b))
            assert torch.equal(a.labels, b.labels)
            torch.testing.assert_close(a.scores, b.scores)
            torch.testing.assert_close(a.bboxes, b.bboxes)
    assert max(counts) > 9


def test_a_head_with_its_own_predict_by_feat_has_fast_nms_only():
    head = YOLOV3Head(
        num_classes=3, in_channels=(4, 4), out_channels=(4, 4), featmap_strides=(16, 8),
        anchor_generator=dict(
            type='YOLOAnchorGenerator', base_sizes=[[(20, 16)], [(9, 12)]], strides=[16, 8]
        ),
        test_cfg=ConfigDict(TEST_CFG),
    ).eval()  # fmt: skip
    maps = [torch.randn(BATCH, 8, *size) for size in ((4, 8), (8, 16))]
    model = nn.Module()
    model.bbox_head = head
    with postprocess.fast_postprocess(model, lambda *_: 0.0):
        found = predicted(head, [[each.clone() for each in maps]])
    for a, b in zip(found, predicted(head, [maps])):
        assert len(b) == 20
        assert_equal(a, b)
