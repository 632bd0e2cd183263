"""The study's configs differ only in size and padding mode, as their names say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import nn

from mindpad_mm.core.loading import load_config, load_detector
from studies.traffic_lights import MODES, SETTINGS

FOLDER = Path(__file__).resolve().parents[2] / 'configs' / 'study'


def config(size, mode):
    return str(FOLDER / f'ssd{size}_{mode}_traffic-light.py')


def test_there_is_a_config_for_every_setting_and_one_for_the_border_study():
    names = {f'ssd{size}_{mode}_traffic-light' for size, mode in SETTINGS}
    assert {path.stem for path in FOLDER.glob('*.py')} == names | {'ssd128_border-study'}


@pytest.mark.parametrize('setting', SETTINGS[1:])
def test_one_seed_gives_every_setting_the_same_initial_weights(setting):
    seed = {'randomness.seed': 5}
    ours = load_detector(config(*setting), None, cfg_options=seed).state_dict()
    theirs = load_detector(config(128, 'zeros'), None, cfg_options=seed).state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_settings_of_one_size_differ_in_their_mode_alone():
    def without_mode(mode):
        cfg = load_config(config(128, mode)).to_dict()
        assert cfg['model'].pop('padding_cfg') == {'mode': mode}
        return cfg

    zeros = without_mode('zeros')
    assert all(without_mode(mode) == zeros for mode in MODES[1:])


@pytest.mark.parametrize(('size', 'even'), [(128, False), (129, True)])
def test_strided_layers_use_their_padding_evenly_at_129_and_none_does_at_128(size, even):
    """h_in + 2 p = s (h_out - 1) + d (k - 1) + 1, from the maps of the real network."""
    cfg = load_config(config(size, 'zeros'))
    init_default_scope('mmdet')
    model = MODELS.build(cfg.model).eval()
    equations = []

    def look(layer, inputs, output):
        for axis in (0, 1):
            kernel, stride, pad, dilation = (
                value[axis] if isinstance(value, tuple) else value
                for value in (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
            )
            # A 1 x 1 kernel has no padding; it is uneven if it skips the last row or column.
            used = stride * (output.shape[2 + axis] - 1) + dilation * (kernel - 1) + 1
            equations.append(inputs[0].shape[2 + axis] + 2 * pad == used)

    strided = [
        m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.MaxPool2d)) and _stride(m) > 1
    ]
    for layer in strided:
        layer.register_forward_hook(look)
    scale = cfg.test_pipeline[1]['scale']
    assert scale == (size, size) == cfg.train_pipeline[2]['scale']
    with torch.no_grad():
        model(torch.zeros(1, 3, *scale), mode='tensor')
    assert len(equations) == 2 * len(strided) == 18
    assert all(equations) if even else not any(equations)


def test_the_order_of_data_depends_on_the_seed_alone(tiny_config):
    def orders(mode, seed):
        cfg = load_config(str(tiny_config), {'model.padding_cfg.mode': mode})
        init_default_scope('mmdet')
        loader = Runner.build_dataloader(cfg.train_dataloader, seed=seed)
        found = []
        for epoch in (1, 2):
            loader.sampler.set_epoch(epoch)
            found.append(list(loader.sampler))
        return found

    zeros = orders('zeros', 0)
    assert zeros == orders('circular', 0)
    assert zeros != orders('zeros', 1)
    assert zeros[0] != zeros[1]


def _stride(layer):
    return layer.stride[0] if isinstance(layer.stride, tuple) else layer.stride
