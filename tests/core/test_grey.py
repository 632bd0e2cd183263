"""Detectors of grey images (one channel): scans in both spaces, border loss and diagnosis run on them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import inference_detector
from torch import nn

from mindpad_mm import blindspot_scan, border_loss
from mindpad_mm.core.loading import load_detector
from mindpad_mm.core.scenes import paste
from mindpad_mm.diagnose import DiagnoseSettings, Subject, diagnose

CHILD = """
model = dict(
    data_preprocessor=dict(mean=[120.0], std=[60.0], bgr_to_rgb=False, pad_size_divisor=1))
test_pipeline = [
    dict(type='LoadImageFromFile', color_type='grayscale'),
    dict(type='Resize', scale=(96, 96), keep_ratio=False),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs',
         meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
"""


@pytest.fixture(scope='module')
def grey(files):
    """The small detector with a first convolution of one channel."""
    config = files / 'grey.py'
    config.write_text(f"_base_ = '{files / 'config.py'}'\n{CHILD}")
    model = load_detector(str(config), str(files / 'weights.pth'))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight = nn.Parameter(module.weight.sum(1, keepdim=True))
            module.in_channels = 1
            break
    return model


@pytest.mark.parametrize('engine', ['full', 'incremental'])
@pytest.mark.parametrize('space', ['input', 'image'])
def test_scores_are_those_of_mmdetection_on_the_pasted_photo(grey, files, tmp_path, space, engine):
    if (space, engine) == ('image', 'incremental'):
        return
    result = blindspot_scan(
        grey, files / 'photo.png', files / 'light.png', space=space, engine=engine, sizes=24,
        stride=24, label='car', iou_thr=0.1,
    )  # fmt: skip
    assert result.scores.max() > 0
    thresholds = grey.bbox_head.test_cfg.score_thr
    grey.bbox_head.test_cfg.score_thr = 0.001
    row, col = 1, 1
    pasted = paste(result.scene_pixels(0), result.object_pixels(0, 0), 24 * row, 24 * col)
    path = tmp_path / 'pasted.png'
    cv2.imwrite(str(path), cv2.cvtColor(pasted, cv2.COLOR_BGR2GRAY))
    found = inference_detector(grey, str(path)).pred_instances
    grey.bbox_head.test_cfg.score_thr = thresholds
    x, y, (height, width) = 24 * col, 24 * row, result.info.objects[0].boxes[0]
    boxes = found.bboxes[found.labels == 0]
    scores = found.scores[found.labels == 0]
    left, top = boxes[:, 0].clamp(x, x + width), boxes[:, 1].clamp(y, y + height)
    right, bottom = boxes[:, 2].clamp(x, x + width), boxes[:, 3].clamp(y, y + height)
    shared = (right - left) * (bottom - top)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    matched = shared / (areas + height * width - shared) >= 0.1
    best = scores[matched].max() if matched.any() else torch.tensor(0.0)
    assert result.scores[0, 0, 0, row, col] == pytest.approx(float(best), abs=1e-4)


@pytest.mark.parametrize('padding', [(), ('reflect', 'constant')])
def test_border_loss_runs(grey, padding):
    rng = np.random.default_rng(0)
    photo = cv2.resize(rng.integers(0, 256, (30, 40, 3), np.uint8), (400, 300))
    result = border_loss(
        grey, [photo], window=(96, 96), object=[np.full((16, 12, 3), 200, np.uint8)], label='car',
        distances=(0,), far=16, max_objects=1, minutes=0, input_padding=padding,
    )  # fmt: skip
    assert np.isfinite(result.values[..., 0]).any()


def test_every_check_runs(grey):
    photos = [np.full((360, 400, 3), 90, np.uint8)]
    settings = DiagnoseSettings(modes=('zeros', 'reflect'))
    suite = diagnose(Subject(grey, (96, 96)), settings, photos)
    assert not suite.refused
