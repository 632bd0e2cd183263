from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.structures import InstanceData
from torchvision.ops import box_iou

from mindpad_mm.core.matching import match_all, match_each, paired_iou


def boxes(count, rng):
    corner, size = rng.integers(0, 12, (count, 2)), rng.integers(0, 12, (count, 2))
    return np.concatenate([corner, corner + size], 1).astype(np.float32)


def instances(count, rng):
    scores = rng.integers(1, 6, count) / 5  # coarse, so that confidences tie
    return InstanceData(
        bboxes=torch.from_numpy(boxes(count, rng)),
        scores=torch.from_numpy(scores).float(),
        labels=torch.from_numpy(rng.integers(0, 2, count)),
    )


def best_by_hand(found, label, target, iou_thr):
    """The definition of the best match, one detection at a time, with torchvision's IoU."""
    best, box_of_best = (0.0, 0.0), [np.nan] * 4
    for box, score, category in zip(found.bboxes, found.scores, found.labels):
        iou = box_iou(box[None].double(), torch.from_numpy(target)[None].double()).item()
        # If score and IoU are equal, the later detection is taken.
        if category == label and iou >= iou_thr and (score.item(), iou) >= best:
            best, box_of_best = (score.item(), iou), box.tolist()
    return *best, *box_of_best


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), iou_thr=st.sampled_from([0.1, 0.25, 0.5, 1.0]))
def test_match_is_the_highest_score_of_the_label_that_overlaps_enough(seed, iou_thr):
    rng = np.random.default_rng(seed)
    targets = boxes(3, rng) + np.array([0, 0, 1, 1], np.float32)
    found = [instances(rng.integers(0, 9), rng) for _ in targets]
    matches = match_each(found, 1, targets, iou_thr)
    expected = [best_by_hand(f, 1, t, iou_thr) for f, t in zip(found, targets)]
    np.testing.assert_allclose(np.column_stack(matches), expected, atol=1e-6)
    everywhere = match_all(found[0], 1, targets, iou_thr)
    same = [best_by_hand(found[0], 1, t, iou_thr)[0] for t in targets]
    np.testing.assert_allclose(everywhere, same, atol=1e-6)


def test_iou_at_the_threshold_counts():
    found = InstanceData(
        bboxes=torch.tensor([[0.0, 0, 2, 1]]), scores=torch.ones(1), labels=torch.zeros(1).long()
    )
    assert match_each([found], 0, np.array([[0.0, 0, 1, 1]]), 0.5)[0] == 1


def test_empty_boxes_overlap_nothing():
    assert paired_iou(np.zeros(4), np.zeros(4)) == 0
