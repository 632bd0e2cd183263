"""Unusual detectors and checkpoints: scanned as any other, or told in one line before the scan."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import nn

from mindpad_mm import blindspot_scan
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import load_config, load_detector
from mindpad_mm.diagnose import DiagnoseSettings, Subject, diagnose

DEEP: list = []
for _ in range(300):
    DEEP = [DEEP]
# Content of a checkpoint's meta -> its class names; None: refused.
OWN = ('car', 'traffic light')
METAS = [
    (None, OWN), (5, OWN), ('text', OWN), ([], OWN), ((1, 2), OWN), ({}, OWN), (DEEP, OWN),
    ({'dataset_meta': None}, OWN), ({'dataset_meta': {}}, OWN), ({'dataset_meta': 0}, OWN),
    ({'dataset_meta': {'classes': None}}, OWN), ({1: 2}, OWN), ({'CLASSES': None}, OWN),
    ({'dataset_meta': {'classes': ['a', 'b']}}, ('a', 'b')),
    ({'dataset_meta': {'CLASSES': ('a', 'b')}}, ('a', 'b')),
    ({'dataset_meta': {'classes': ('a', 'b'), 3: 4, 'palette': 7}}, ('a', 'b')),
    ({'CLASSES': ('$\\foo{$', '[/b]')}, ('$\\foo{$', '[/b]')),
    ({'dataset_meta': 5}, None), ({'dataset_meta': 'coco'}, None), ({'dataset_meta': [1]}, None),
    ({'dataset_meta': {'classes': 5}}, None), ({'dataset_meta': {'classes': (1, 2)}}, None),
    ({'dataset_meta': {'classes': [['a'], ['b']]}}, None),
    ({'dataset_meta': {'classes': {'a': 0, 'b': 1}}}, None),
    ({'dataset_meta': {'classes': (None, None)}}, None), ({'CLASSES': 3.5}, None),
    ({'dataset_meta': {'classes': torch.zeros(2)}}, None), ({'CLASSES': ['a', 2]}, None),
]  # fmt: skip


@pytest.mark.parametrize('number', range(len(METAS)))
def test_meta_of_any_shape_is_understood_or_told_before_the_scan(files, tmp_path, number):
    meta, classes = METAS[number]
    weights = torch.load(files / 'weights.pth')['state_dict']
    path = tmp_path / 'weights.pth'
    torch.save({'state_dict': weights, 'meta': meta}, path)
    if classes is None:
        with pytest.raises(UserError, match='meta'):
            load_detector(str(files / 'config.py'), str(path))
    else:
        assert load_detector(str(files / 'config.py'), str(path)).dataset_meta['classes'] == classes


def test_class_names_of_another_number_are_told_before_the_scan(files, tmp_path):
    weights = torch.load(files / 'weights.pth')['state_dict']
    meta = {'dataset_meta': {'classes': ('a', 'b', 'c')}}
    torch.save({'state_dict': weights, 'meta': meta}, tmp_path / 'weights.pth')
    with pytest.raises(UserError, match='2 classes'):
        blindspot_scan((files / 'config.py', tmp_path / 'weights.pth'), label='a')


DISTILLED = """
_base_ = 'mmdet::ld/ld_r18-gflv1-r101_fpn_1x_coco.py'
small = dict(type='ResNet', depth=18, base_channels=8, num_stages=4, out_indices=(0, 1, 2, 3),
             norm_cfg=dict(type='BN'))
teacher = dict(model=dict(
    type='GFL', backbone=small,
    neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=64, num_outs=5),
    bbox_head=dict(type='GFLHead', num_classes=2, in_channels=64, feat_channels=64, stacked_convs=1,
                   anchor_generator=dict(type='AnchorGenerator', ratios=[1.0], octave_base_scale=8,
                                         scales_per_octave=1, strides=[8, 16, 32, 64, 128]))))
model = dict(
    teacher_config=dict(_delete_=True, **teacher),
    backbone=dict(_delete_=True, **small),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=64),
    bbox_head=dict(num_classes=2, in_channels=64, feat_channels=64, stacked_convs=1))
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(96, 96), keep_ratio=False),
    dict(type='PackDetInputs',
         meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]
test_dataloader = dict(dataset=dict(
    pipeline=test_pipeline, metainfo=dict(classes=('car', 'traffic light'))))
"""


def test_the_student_of_a_distillation_is_scanned_and_diagnosed(tmp_path):
    """Its eval() and train() return None, its to() takes a device alone, its teacher is no submodule."""
    config = tmp_path / 'distilled.py'
    config.write_text(DISTILLED)
    model = load_detector(str(config), None)
    assert not model.training
    for engine in ('full', 'incremental'):
        result = blindspot_scan(model, sizes=24, stride=60, engine=engine)
        assert np.isfinite(result.scores).any()
    suite = diagnose(Subject(model, (96, 96)), DiagnoseSettings(checks=['evenness', 'shift']))
    assert not suite.refused


PURE_PYTHON = """
from mmengine.config import read_base

with read_base():
    from .parent import *

custom_imports = dict(imports=['layers_of_a_user'], allow_failed_imports=False)
model.update(dict(
    backbone=dict(type='MyResNet', depth=18, padding_cfg={mode}),
    neck=dict(type='FPN', in_channels=[64, 128, 256, 512], out_channels=16, num_outs=5,
              padding_cfg=dict(mode='circular'))))
"""
PARENT = """
from mmdet.datasets import CocoDataset
from mmdet.models import FPN, RetinaHead, RetinaNet

default_scope = 'mmdet'
model = dict(type=RetinaNet, bbox_head=dict(
    type=RetinaHead, num_classes=2, in_channels=16, feat_channels=16,
    anchor_generator=dict(type='AnchorGenerator', strides=[8, 16, 32, 64, 128], ratios=[1.0],
                          scales=[8])))
test_dataloader = dict(dataset=dict(
    type=CocoDataset, pipeline=[], metainfo=dict(classes=('car', 'light'))))
"""


@pytest.mark.parametrize('mode', ["'reflect'", "dict(mode='reflect')"])
def test_a_pure_python_config_swaps_padding_and_runs_its_imports(tmp_path, monkeypatch, mode):
    (tmp_path / 'layers_of_a_user.py').write_text(
        'from mmdet.registry import MODELS\n'
        'from mmdet.models import ResNet\n'
        "MODELS.register_module('MyResNet', module=type('MyResNet', (ResNet,), {}), force=True)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'parent.py').write_text(PARENT)
    (tmp_path / 'config.py').write_text(PURE_PYTHON.format(mode=mode))
    sys.modules.pop('layers_of_a_user', None)
    cfg = load_config(str(tmp_path / 'config.py'))
    model = load_detector(cfg, None)
    assert type(model.backbone).__name__ == 'MyResNet'
    for part, wanted in ((model.backbone, 'reflect'), (model.neck, 'circular')):
        padded = [m for m in part.modules() if isinstance(m, nn.Conv2d) and any(m.padding)]
        assert {layer.padding_mode for layer in padded} == {wanted}
