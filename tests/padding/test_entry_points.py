"""All entry points of MMDetection that build a model read ``padding_cfg``."""

import pytest
from mmdet.apis import DetInferencer, init_detector
from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

from mindpad_mm.core.loading import load_config, load_detector

CONFIG = """
_base_ = 'mmdet::ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py'
custom_imports = dict(imports=['mindpad_mm'], allow_failed_imports=False)
model = dict(backbone=dict(padding_cfg=dict(mode='reflect'), widen_factor=0.25),
             neck=dict(in_channels=(24, 1280), out_channels=(24, 1280, 512, 256, 256, 128)),
             bbox_head=dict(in_channels=(24, 1280, 512, 256, 256, 128)))
"""


@pytest.fixture
def config(tmp_path):
    file = tmp_path / 'ssdlite_reflect.py'
    file.write_text(CONFIG)
    return file


def modes(model):
    found = {'backbone': set(), 'rest': set()}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d) and any(layer.padding):
            found['backbone' if name.startswith('backbone') else 'rest'].add(layer.padding_mode)
    return found


def test_init_detector(config):
    model = init_detector(str(config), None, device='cpu', palette='random')
    assert modes(model) == {'backbone': {'reflect'}, 'rest': {'zeros'}}


def test_det_inferencer(config):
    inferencer = DetInferencer(str(config), weights=None, device='cpu', palette='random')
    assert modes(inferencer.model) == {'backbone': {'reflect'}, 'rest': {'zeros'}}


def test_runner_and_cfg_options(config, tmp_path):
    cfg = Config.fromfile(config)
    cfg.merge_from_dict(
        {'model.backbone.padding_cfg.mode': 'circular', 'model.padding_cfg': 'partial'}
    )
    cfg.work_dir = str(tmp_path)
    for name in ('train', 'val', 'test'):
        for part in ('dataloader', 'cfg', 'evaluator'):
            cfg.pop(f'{name}_{part}', None)
    cfg.pop('optim_wrapper')
    cfg.pop('param_scheduler')
    runner = Runner.from_cfg(cfg)
    assert modes(runner.model) == {'backbone': {'circular'}, 'rest': {'partial'}}


def test_load_detector_with_cfg_options(config):
    cfg = load_config(str(config), {'model.backbone.padding_cfg.mode': ('reflect', 'circular')})
    assert modes(load_detector(cfg, None)) == {'backbone': {'reflect/circular'}, 'rest': {'zeros'}}
