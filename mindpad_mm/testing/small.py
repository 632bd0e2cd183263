"""Small detectors for tests: an untrained SSDLite, and one whose scores follow a formula."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import nn

from mindpad_mm.core.loading import load_detector

CLASSES = ('car', 'traffic light')
CONFIG = """
_base_ = 'mmdet::ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py'
input_size = 96
model = dict(
    backbone=dict(widen_factor=0.25),
    neck=dict(in_channels=(24, 1280)),
    bbox_head=dict(
        num_classes=2,
        in_channels=(24, 1280, 512, 256, 256, 128),
        anchor_generator=dict(min_sizes=[24, 40, 56, 72, 80, 88],
                              max_sizes=[40, 56, 72, 80, 88, 96])))
model['neck']['out_channels'] = (24, 1280, 512, 256, 256, 128)
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(input_size, input_size), keep_ratio=False),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs',
         meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]
test_dataloader = dict(dataset=dict(
    pipeline=test_pipeline, metainfo=dict(classes=('car', 'traffic light'))))
"""


def write_small_ssd(folder: Path) -> Path:
    """Write ``config.py``, ``weights.pth``, ``photo.png`` (64 x 80) and ``light.png``.

    The detector is an untrained SSDLite for 96 x 96 pixels whose scores vary between positions.
    """
    (folder / 'config.py').write_text(CONFIG)
    model = load_detector(str(folder / 'config.py'), None)
    # The config's initial weights are so small that all scores are equal in float32.
    torch.manual_seed(0)
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            if 'reg_convs' in name:
                module.weight.data.mul_(0.3)
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, folder / 'weights.pth')
    rng = np.random.default_rng(0)
    photo = cv2.resize(rng.integers(0, 256, (8, 10, 3), np.uint8), (80, 64))
    cv2.imwrite(str(folder / 'photo.png'), photo)
    light = np.zeros((40, 30, 4), np.uint8)
    cv2.ellipse(light, (15, 20), (12, 17), 0, 0, 360, (30, 60, 230, 255), -1, cv2.LINE_AA)
    cv2.imwrite(str(folder / 'light.png'), light)
    return folder


class SpotDetector(nn.Module):
    """Detects the white pixels of an image as one box.

    The score is ``(1 + row + 100 * col) / 10000`` for a box with its top-left pixel at (row, col),
    times the smallest green value of the image / 255.
    """

    def test_step(self, data):
        results = []
        for image, sample in zip(data['inputs'], data['data_samples']):
            white = (image == 255).all(0)
            instances = InstanceData(
                bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0).long()
            )
            if white.any():
                rows, cols = white.any(1).nonzero()[:, 0], white.any(0).nonzero()[:, 0]
                box = [cols[0], rows[0], cols[-1] + 1, rows[-1] + 1]
                level = image[1].float().min() / 255
                score = (1 + rows[0] + 100 * cols[0]) / 10000 * level
                instances.bboxes = torch.tensor([box]).float()
                instances.scores, instances.labels = score.reshape(1), torch.tensor([1])
            results.append(DetDataSample(pred_instances=instances, metainfo=sample.metainfo))
        return results
