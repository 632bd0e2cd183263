"""All SSDs of MMDetection build, load, run and train in every mode."""

import functools

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import init_default_scope

from benchmarks.agreement import MODES
from mindpad_mm.padding.layers import PaddedLayer

# The smallest inputs that the last level's kernel allows; the smallest maps have one cell.
CONFIGS = {
    'ssd/ssd300_coco.py': 264,
    'ssd/ssd512_coco.py': 384,
    'ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py': 160,
}


def build(config: Config, mode=None):
    model = config.model.copy()
    model.backbone.init_cfg = dict(type='Kaiming', layer='Conv2d')
    if mode:
        model.padding_cfg = dict(mode=mode, pool=True)
    torch.manual_seed(0)
    model = MODELS.build(model)
    model.init_weights()
    return model


@functools.cache
def stock(name):
    init_default_scope('mmdet')
    config = get_config(f'mmdet::{name}')
    return config, build(config), CONFIGS[name]


FEW = ('zeros', ('reflect', 'circular'))  # the larger detector has the same layers
CASES = [(name, mode) for name in CONFIGS for mode in MODES if '512' not in name or mode in FEW]


@pytest.mark.parametrize(('name', 'mode'), CASES, ids=str)
def test_swapped_ssd_keeps_weights_and_shapes_and_trains(name, mode):
    config, plain, size = stock(name)
    model = build(config, mode)
    weights, expected = model.state_dict(), plain.state_dict()
    assert list(weights) == list(expected)
    assert all(torch.equal(weights[key], expected[key]) for key in weights)
    model.load_state_dict(expected, strict=True)
    plain.load_state_dict(weights, strict=True)

    swapped = [m for m in model.modules() if isinstance(m, PaddedLayer)]
    stock_padded = [
        m
        for m in plain.modules()
        if isinstance(m, (torch.nn.Conv2d, torch.nn.MaxPool2d))
        and any(torch.nn.modules.utils._pair(m.padding))
    ]
    assert len(swapped) == (0 if mode == 'zeros' else len(stock_padded))

    x = torch.rand(1, 3, size, size)
    model.eval()
    plain.eval()
    with torch.no_grad():
        theirs = plain._forward(x)
    ours = model._forward(x)
    for levels, plain_levels in zip(ours, theirs):
        for level, plain_level in zip(levels, plain_levels):
            assert level.shape == plain_level.shape
            assert torch.equal(level, plain_level) == (mode == 'zeros')
    sum(level.abs().sum() for levels in ours for level in levels).backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert len(grads) > 20
    assert all(grad.isfinite().all() for grad in grads)
