"""The incremental engine equals the full engine, on detectors of many families."""

from __future__ import annotations

import mindpad_mm  # noqa: F401  # isort: skip  # first, so that MMDetection imports on mmcv-lite

import copy

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch import nn

from benchmarks.agreement import MODES, head_outputs
from mindpad_mm.compat import status
from mindpad_mm.core.detector import lowered_thresholds
from mindpad_mm.core.loading import load_detector
from mindpad_mm.core.matching import match_each
from mindpad_mm.core.scenes import Background, make_scene
from mindpad_mm.padding import swap_padding
from mindpad_mm.scan.engines import FullEngine, find_engine
from mindpad_mm.scan.engines.focused import FocusedEngine
from mindpad_mm.scan.engines.incremental import IncrementalEngine
from mindpad_mm.scan.positions import position_boxes
from mindpad_mm.testing.detectors import FAMILIES, LABEL, family_config, random_object, settle

# Positions along each axis.
ACROSS = {'SSD300': 2, 'YOLOX': 4, 'YOLOv3': 4}
UNTRAINED = [
    name for name in FAMILIES if name not in ('SSD512', 'SSDLite') and not FAMILIES[name].trained
]


def detector(name):
    config = family_config(name)
    model = load_detector(config, None)
    scene = make_scene(Background.drawn(1), config)
    settle(model, scene)
    return model, scene


def spread_positions(scene, pixels, across):
    """Evenly spread positions, with borders and corners, in random order."""
    axes = [
        np.unique(np.linspace(0, size - part, across).astype(int))
        for size, part in zip(scene.size, pixels.shape)
    ]
    positions = np.stack(np.meshgrid(*axes, indexing='ij'), -1).reshape(-1, 2)
    return np.random.default_rng(0).permutation(positions)


def assert_same(model, scene, positions, pixels=None, batch_size=4):
    pixels = random_object() if pixels is None else pixels
    label, iou_thr = 0, 0.1
    full = FullEngine(model, scene, pixels, 1)
    engine = IncrementalEngine(model, scene, pixels, batch_size, label, iou_thr)
    positions = positions[engine.order(positions)]
    engine.score_floor = 0.0  # all detections are compared
    with head_outputs(model) as expected:
        wanted = full.detect(positions)
    engine.detect(positions[:1])  # records the operation graph
    with head_outputs(model) as outputs:
        found = engine.detect(positions)
    for k, maps in enumerate(zip(*[[torch.cat(level) for level in zip(*collected)] for collected in
                                   (expected, outputs)])):  # fmt: skip
        a, b = maps
        assert 0.01 < a.abs().max() < torch.inf
        assert (a - b).abs().max() <= 1e-4 * a.abs().max(), f'head output {k}'
    boxes = position_boxes(positions, pixels.shape[:2])
    scores = match_each(wanted, label, boxes, iou_thr)[0]
    np.testing.assert_allclose(match_each(found, label, boxes, iou_thr)[0], scores, atol=1e-4)
    alone = 0
    for a, b in zip(wanted, found):
        apart = (a.scores[:, None] - b.scores).abs() > 1e-4
        alone += int(apart.all(0).sum() + apart.all(1).sum())
    # Rounding may keep another of two boxes, which then both stand alone, once in hundreds.
    assert alone <= 2 * (1 + sum(map(len, wanted)) // 1000)
    # By default detections that cannot be the best match may be left out.
    engine.score_floor = 1.0
    few = slice(0, batch_size)
    np.testing.assert_allclose(
        match_each(engine.detect(positions[few]), label, boxes[few], iou_thr)[0],
        scores[few],
        atol=1e-4,
    )
    return engine


@pytest.mark.parametrize('name', UNTRAINED)
def test_head_outputs_and_scores_equal_the_full_engines(name):
    model, scene = detector(name)
    positions = spread_positions(scene, random_object(), ACROSS.get(name, 3))
    notes = assert_same(model, scene, positions).notes()
    assert notes['macs_saved'] > 0
    if FAMILIES[name].whole_maps is not None:
        assert notes['whole_maps'] == list(FAMILIES[name].whole_maps)


@pytest.mark.parametrize('dcn', ['DCNv2', 'DCN', None])
def test_engines_equal_mmdetection_in_its_own_memory_format(dcn):
    config = family_config('RetinaNet' if dcn else 'Faster R-CNN')
    if dcn and status()['mmcv_ops']:
        pytest.skip('mmcv-lite has no deformable convolutions')
    if dcn:
        config.model.backbone.update(
            depth=50,  # smaller ResNets do not support them
            base_channels=16,
            dcn=dict(type=dcn, deform_groups=1, fallback_on_stride=False),
            stage_with_dcn=(False, True, True, True),
            zero_init_residual=False,  # else they would have no effect
        )
    config.merge_from_dict(lowered_thresholds(config))
    model = load_detector(config, None)
    scene = make_scene(Background.drawn(1), config)
    settle(model, scene, LABEL)
    offsets = [m.conv_offset for m in model.modules() if hasattr(m, 'conv_offset')]
    assert bool(offsets) == bool(dcn)
    for conv in offsets:
        # Large random offsets would amplify rounding errors from layer to layer.
        conv.weight.data.mul_(0.03)
        nn.init.uniform_(conv.bias, -1, 1)

    pixels, plain = random_object(), copy.deepcopy(model)
    positions = spread_positions(scene, pixels, 4)[:12]
    boxes = position_boxes(positions, pixels.shape[:2])

    def scores(detections):
        return match_each(detections, LABEL, boxes, 0.1)[0]

    full = FullEngine(model, scene, pixels, 4)
    incremental = IncrementalEngine(model, scene, pixels, 4, LABEL, 0.1)
    with torch.inference_mode():
        images = [scene.pack([full.image(*position)]) for position in positions]
        wanted = scores([plain.test_step(image)[0].pred_instances for image in images])
    assert (wanted > 0.1).sum() > 6
    for engine in (full, incremental):
        np.testing.assert_allclose(scores(engine.detect(positions)), wanted, atol=1e-4)
    assert incremental.notes()['macs_saved'] > 0


@pytest.fixture(scope='module')
def ssdlite(files):
    config = Config.fromfile(files / 'config.py')
    scene = make_scene(Background(cv2.imread(str(files / 'photo.png')), 'photo'), config)
    model = load_detector(config, None)
    settle(model, scene, least_variance=1)
    return model, scene


@pytest.mark.parametrize('mode', MODES, ids=str)
def test_head_outputs_and_scores_are_equal_in_every_padding_mode(ssdlite, mode):
    model, scene = ssdlite
    swap_padding(model, mode)
    settle(model, scene, least_variance=1)
    pixels = random_object(12, 8)
    assert_same(model, scene, spread_positions(scene, pixels, 7), pixels, 16)


def test_results_do_not_depend_on_the_batches(ssdlite):
    model, scene = ssdlite
    pixels = random_object(12, 8)
    positions = spread_positions(scene, pixels, 4)
    engine = IncrementalEngine(model, scene, pixels, 3)
    for position, together in zip(positions, engine.detect(positions)):
        alone = engine.detect(position[None])[0]
        np.testing.assert_allclose(together.scores, alone.scores, atol=1e-4)
        np.testing.assert_allclose(together.bboxes, alone.bboxes, atol=1e-2)


def test_auto_is_the_incremental_engine_only_in_input_space():
    assert find_engine('auto') is IncrementalEngine
    assert find_engine('auto', 'image') is FullEngine


class Compiled(nn.Module):
    """Reads memory directly, like mmcv's compiled operators."""

    __module__ = 'mmcv.ops.compiled'

    def forward(self, x):
        with torch._C.DisableTorchFunctionSubclass():
            return torch.from_numpy(x.numpy() * 0.5)


class WithCompiled(nn.Module):
    """A backbone with a compiled operator after its first map."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone, self.compiled = backbone, Compiled()

    def forward(self, x):
        first, *others = self.backbone(x)
        return self.compiled(first), *others


def test_compiled_operators_get_whole_maps(ssdlite, monkeypatch):
    model, scene = ssdlite
    monkeypatch.setitem(model._modules, 'backbone', WithCompiled(model.backbone))
    pixels = random_object(12, 8)
    engine = assert_same(model, scene, spread_positions(scene, pixels, 2), pixels)
    assert 'Compiled' in engine.notes()['whole_maps']
    focused = FocusedEngine(model, scene, pixels, 4)
    positions = spread_positions(scene, pixels, 2)
    boxes = position_boxes(positions, pixels.shape[:2])
    wanted = match_each(engine.detect(positions), 0, boxes, 0.5)[0]
    np.testing.assert_allclose(
        match_each(focused.detect(positions), 0, boxes, 0.5)[0], wanted, atol=1e-3
    )


class Stencil(nn.Module):
    """A backbone that writes to a part of a map."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, x):
        maps = self.backbone(x)
        maps[0][:, 0] = 0
        return maps


def test_a_detector_that_windows_cannot_represent_runs_on_the_full_engine(ssdlite, monkeypatch):
    model, scene = ssdlite
    monkeypatch.setitem(model._modules, 'backbone', Stencil(model.backbone))
    pixels = random_object(12, 8)
    engine = assert_same(model, scene, spread_positions(scene, pixels, 2), pixels)
    assert '__setitem__' in engine.notes()['full_engine_because']
