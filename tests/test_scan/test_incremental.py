"""The incremental engine gives what the full engine gives, on detectors of many families."""

from __future__ import annotations

import mindpad_mm  # noqa: F401  # isort: skip  # first, so that MMDetection imports on mmcv-lite

import contextlib

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hub import get_config
from torch import nn
from torch.utils._pytree import tree_flatten

from mindpad_mm.loading import load_detector
from mindpad_mm.padding import swap_padding
from mindpad_mm.scan.engines import FullEngine, find_engine
from mindpad_mm.scan.engines.incremental import IncrementalEngine
from mindpad_mm.scan.incremental import Windowed
from mindpad_mm.scan.matching import match_each
from mindpad_mm.scan.positions import position_boxes
from mindpad_mm.scan.scenes import Background, make_scene

MODES = (
    'zeros',
    'reflect',
    'symmetric',
    'replicate',
    'circular',
    'partial',
    ('reflect', 'circular'),
)
R18 = {'model.backbone.depth': 18, 'model.neck.in_channels': [64, 128, 256, 512]}
FEW = {**R18, 'model.test_cfg.rpn.max_per_img': 30}
# Config, input size, how many positions each way, what to override, what runs on whole maps.
FAMILIES = {
    'SSD300': ('ssd/ssd300_coco.py', 300, 2, {}, []),
    'RetinaNet': ('retinanet/retinanet_r18_fpn_1x_coco.py', 160, 3, {}, []),
    'FCOS': ('fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py', 160, 3, R18, ['group_norm']),
    'ATSS': ('atss/atss_r50_fpn_1x_coco.py', 160, 3, R18, ['group_norm']),
    'YOLOX': ('yolox/yolox_tiny_8xb8-300e_coco.py', 160, 4, {}, []),
    'YOLOv3': ('yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py', 160, 4, {}, []),
    'Faster R-CNN': ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', 160, 3, FEW, None),
}


def settle(model, scene):
    """Random weights whose scores are neither all alike nor saturated, on any architecture."""
    torch.manual_seed(0)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    head = model.bbox_head if hasattr(model, 'bbox_head') else model.rpn_head
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    for norm in norms:
        norm.train().momentum = 1.0
    images = [np.ascontiguousarray(scene.pixels[::y, ::x]) for x in (1, -1) for y in (1, -1)]
    with torch.inference_mode():
        inputs = model.data_preprocessor(scene.pack(images), False)['inputs']
        outputs = head(model.extract_feat(inputs))
    model.eval()
    for norm in norms:
        # Over a few cells a variance can come out next to nothing, and would blow up float rounding.
        norm.running_var.clamp_(min=0.3)
    largest = max(float(output.abs().max()) for output in tree_flatten(outputs)[0])
    for name, module in head.named_modules():
        if isinstance(module, nn.Conv2d) and not any(k in name for k in ('_convs', 'rpn_conv')):
            module.weight.data.mul_(5 / largest)


def detector(name):
    path, size, across, options, whole_maps = FAMILIES[name]
    config = get_config(f'mmdet::{path}')
    config.merge_from_dict(options)
    config.test_dataloader.dataset.pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(size, size), keep_ratio=False),
        dict(type='PackDetInputs',
             meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
    ]  # fmt: skip
    model = load_detector(config, None)
    scene = make_scene(Background.drawn(1), config)
    settle(model, scene)
    return model, scene, across, whole_maps


def small_object(height=32, width=16):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 4)).astype(np.uint8)
    pixels[..., 3] = 255
    pixels[0, :, 3] = 90
    return pixels


def spread_positions(scene, pixels, across):
    """Evenly spread positions, borders and corners among them, in an order of no use."""
    axes = [
        np.unique(np.linspace(0, size - part, across).astype(int))
        for size, part in zip(scene.size, pixels.shape)
    ]
    positions = np.stack(np.meshgrid(*axes, indexing='ij'), -1).reshape(-1, 2)
    return np.random.default_rng(0).permutation(positions)


@contextlib.contextmanager
def head_outputs(model):
    """Collects what the dense head gives in each forward pass, as lists of tensors."""
    collected = []

    def collect(module, args, output):
        flat = tree_flatten(output)[0]
        collected.append([(t.dense() if isinstance(t, Windowed) else t).clone() for t in flat])

    head = model.bbox_head if hasattr(model, 'bbox_head') else model.rpn_head
    hook = head.register_forward_hook(collect)
    yield collected
    hook.remove()


def assert_same(model, scene, positions, pixels=None, batch_size=4):
    pixels = small_object() if pixels is None else pixels
    full = FullEngine(model, scene, pixels, 1)
    engine = IncrementalEngine(model, scene, pixels, batch_size)
    positions = positions[engine.order(positions)]
    with head_outputs(model) as expected:
        wanted = full.detect(positions)
    with head_outputs(model) as outputs:
        found = engine.detect(positions)
    for k, maps in enumerate(zip(*[[torch.cat(level) for level in zip(*collected)] for collected in
                                   (expected, outputs)])):  # fmt: skip
        a, b = maps
        assert 0.01 < a.abs().max() < torch.inf
        assert (a - b).abs().max() <= 1e-4 * a.abs().max(), f'head output {k}'
    boxes = position_boxes(positions, pixels.shape[:2])
    for label in (0, 1):
        scores, _ = match_each(wanted, label, boxes, 0.1)
        np.testing.assert_allclose(match_each(found, label, boxes, 0.1)[0], scores, atol=1e-4)
    for a, b in zip(wanted, found):
        assert len(a) == len(b)
        np.testing.assert_allclose(b.scores.sort()[0], a.scores.sort()[0], atol=1e-4)
    return engine


@pytest.mark.parametrize('name', FAMILIES)
def test_heads_and_scores_equal_the_full_engines(name):
    model, scene, across, whole_maps = detector(name)
    positions = spread_positions(scene, small_object(), across)
    notes = assert_same(model, scene, positions).notes()
    assert notes['macs_saved'] > 0
    if whole_maps is not None:
        assert notes['whole_maps'] == whole_maps


@pytest.fixture(scope='module')
def ssdlite(files):
    config = Config.fromfile(files / 'config.py')
    scene = make_scene(Background(cv2.imread(str(files / 'photo.png')), 'photo'), config)
    model = load_detector(config, None)
    settle(model, scene)
    return model, scene


@pytest.mark.parametrize('mode', MODES, ids=str)
def test_a_whole_scan_is_equal_in_every_padding_mode(ssdlite, mode):
    model, scene = ssdlite
    swap_padding(model, mode)
    settle(model, scene)
    pixels = small_object(12, 8)
    assert_same(model, scene, spread_positions(scene, pixels, 7), pixels, 16)


def test_results_come_in_the_order_of_the_positions_whatever_the_batches(ssdlite):
    model, scene = ssdlite
    pixels = small_object(12, 8)
    positions = spread_positions(scene, pixels, 4)
    engine = IncrementalEngine(model, scene, pixels, 3)
    for position, together in zip(positions, engine.detect(positions)):
        alone = engine.detect(position[None])[0]
        np.testing.assert_allclose(together.scores, alone.scores, atol=1e-5)
        np.testing.assert_allclose(together.bboxes, alone.bboxes, atol=1e-2)


def test_auto_picks_the_incremental_engine_in_input_space_only():
    assert find_engine('auto') is IncrementalEngine
    assert find_engine('auto', 'image') is FullEngine


class Stencil(nn.Module):
    """Adds to a model's backbone something that writes into a part of a map."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, x):
        maps = self.backbone(x)
        maps[0][:, 0] = 0
        return maps


def test_a_detector_that_windows_cannot_follow_runs_on_the_full_engine(ssdlite, monkeypatch):
    model, scene = ssdlite
    monkeypatch.setattr(model, 'backbone', Stencil(model.backbone))
    pixels = small_object(12, 8)
    engine = assert_same(model, scene, spread_positions(scene, pixels, 2), pixels)
    assert '__setitem__' in engine.notes()['full_engine_because']
