"""The teacher's aim: confidences of the head, at the same places as the window's, and a distance of 0."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmdet.models.dense_heads import FCOSHead, GFLHead, YOLOXHead
from torch import nn

from mindpad_mm import zoo
from mindpad_mm.adapt.teacher import Level, distance, levels_of, within
from mindpad_mm.core.errors import UserError
from mindpad_mm.diagnose import Subject


@pytest.fixture(scope='module')
def subject():
    return Subject.load(*map(str, zoo.model_files('zeros', 'ssd128')))


def images(size, count=1, seed=1):
    return list(np.random.default_rng(seed).integers(0, 256, (count, *size, 3), np.uint8))


@torch.no_grad()
def test_confidences_are_those_of_a_head_with_softmax(subject):
    outputs = subject.dense(subject.preprocess(images((128, 128))))
    classes = subject.model.bbox_head.num_classes + 1
    for level, logits in zip(levels_of(subject.model, outputs), outputs[0]):
        n, channels, h, w = logits.shape
        flat = logits.permute(0, 2, 3, 1).reshape(n, h, w, channels // classes, classes)
        torch.testing.assert_close(level.scores, flat.softmax(-1)[..., :-1].amax(-1))


@pytest.mark.parametrize(
    ('head', 'bins'),
    [
        (lambda: FCOSHead(3, 8, feat_channels=8, stacked_convs=1, norm_cfg=None), 4),
        (lambda: YOLOXHead(3, 8, feat_channels=8, stacked_convs=1, strides=(8, 16)), 4),
        (lambda: GFLHead(3, 8, feat_channels=8, stacked_convs=1, reg_max=4, norm_cfg=None,
                         anchor_generator=dict(type='AnchorGenerator', ratios=[1.0],
                                               octave_base_scale=8, scales_per_octave=1,
                                               strides=[8, 16])), 20),
    ],
)  # fmt: skip
@torch.no_grad()
def test_heads_of_other_kinds_are_understood(head, bins):
    model = nn.Module()
    model.bbox_head = head().eval()
    strides = 5 if isinstance(model.bbox_head, FCOSHead) else 2
    maps = tuple(torch.rand(2, 8, 8 // 2**i or 1, 8 // 2**i or 1) for i in range(strides))
    outputs = model.bbox_head(maps)
    levels = levels_of(model, outputs)
    assert [tuple(level.scores.shape) for level in levels] == [
        (2, *each.shape[2:], 1) for each in maps
    ]
    assert {level.boxes.shape[-1] for level in levels} == {bins}
    best = outputs[0][0].sigmoid()
    if isinstance(model.bbox_head, YOLOXHead):
        best = best * outputs[2][0].sigmoid()
    torch.testing.assert_close(levels[0].scores[..., 0], best.amax(1))


def test_another_head_is_refused_in_one_line(subject):
    with pytest.raises(UserError, match='one-stage detector'):
        levels_of(subject.model, [torch.rand(1, 3, 4, 4)])
    with pytest.raises(UserError, match='Linear'):
        levels_of(nn.Linear(1, 1), torch.rand(1))


@torch.no_grad()
def test_deep_inside_a_window_the_aim_is_the_windows_own_output(subject):
    """Where no output reads a border, the two must agree: so the priors are at the same places."""
    large = subject.preprocess(images((384, 384)))
    window = large[..., 64:320, 64:320]
    ours, theirs = (
        levels_of(subject.model, subject.dense(each.contiguous())) for each in (window, large)
    )
    aim = within(theirs[0], ours[0], 64, (256, 256))
    assert aim is not None
    assert aim.scores.shape == ours[0].scores.shape
    middle = np.s_[:, 14:18, 14:18]
    torch.testing.assert_close(aim.scores[middle], ours[0].scores[middle], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(aim.boxes[middle], ours[0].boxes[middle], rtol=1e-4, atol=1e-5)


def level_of(rows, cols):
    return Level(torch.rand(1, rows, cols, 2), torch.rand(1, rows, cols, 2, 4))


@pytest.mark.parametrize(
    ('stride', 'size', 'surroundings', 'fits'),
    [(8, 128, 64, True), (32, 128, 64, True), (64, 128, 64, True), (128, 128, 64, False),
     (16, 300, 64, True), (64, 300, 64, True), (32, 320, 48, False), (256, 400, 192, False)],
)  # fmt: skip
def test_a_level_whose_stride_does_not_divide_the_surroundings_has_no_aim(
    stride, size, surroundings, fits
):
    small, large = (-(-n // stride) for n in (size, size + 2 * surroundings))
    aim = within(level_of(large, large), level_of(small, small), surroundings, (size, size))
    assert (aim is not None) == fits
    if aim is not None:
        assert aim.scores.shape[1:3] == (small, small)


def test_the_distance_is_0_for_equal_outputs_and_looks_near_the_sides_only():
    ours = level_of(16, 16)
    assert distance([ours], [ours], (128, 128), 16).item() == pytest.approx(0, abs=1e-7)
    inside = Level(ours.scores.clone(), ours.boxes.clone())
    inside.scores[:, 4:12, 4:12] = 0.9
    assert distance([ours], [inside], (128, 128), 16).item() == pytest.approx(0, abs=1e-7)
    inside.scores[:, 0, 5] = 0.99
    assert distance([ours], [inside], (128, 128), 16).item() > 0
    with pytest.raises(UserError, match='`surroundings`'):
        distance([ours], [None], (128, 128), 16)
