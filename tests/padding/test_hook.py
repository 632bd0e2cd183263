"""``padding_cfg`` is read in any dict that MMEngine builds a module from; the innermost one wins."""

import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT
from mmengine.registry import init_default_scope
from torch import nn

from mindpad_mm.core.errors import UserError
from mindpad_mm.padding import mmdet as hook

RESNET = dict(
    type='mmdet.ResNet', depth=18, num_stages=1, out_indices=(0,), strides=(1,), dilations=(1,)
)


@pytest.fixture(autouse=True)
def mmdet_scope():
    init_default_scope('mmdet')


def modes(module):
    return {
        name: layer.padding_mode
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Conv2d) and any(layer.padding)
    }


@pytest.mark.parametrize('registry', [MODELS, ROOT])
@pytest.mark.parametrize(
    'value', ['reflect', dict(mode='reflect'), dict(mode=['reflect', 'reflect'])]
)
def test_padding_cfg_is_read_by_all_model_registries(registry, value):
    backbone = registry.build(dict(RESNET, padding_cfg=value))
    assert set(modes(backbone).values()) == {'reflect'}


def test_the_config_keeps_its_padding_cfg():
    cfg = Config(dict(model=dict(RESNET, padding_cfg=dict(mode='circular'))))
    MODELS.build(cfg.model)
    assert cfg.model.padding_cfg.mode == 'circular'


def test_none_cancels_the_padding_cfg_of_a_base_config():
    assert set(modes(MODELS.build(dict(RESNET, padding_cfg=None))).values()) == {'zeros'}


def test_each_module_of_a_list_has_its_own_padding_cfg():
    @MODELS.register_module(force=True)
    class OneConv(nn.Conv2d):
        def __init__(self):
            super().__init__(1, 1, 3, padding=1)

    both = MODELS.build([dict(type='OneConv', padding_cfg='reflect'), dict(type='OneConv')])
    assert modes(both) == {'0': 'reflect', '1': 'zeros'}


def test_the_innermost_padding_cfg_wins():
    model = dict(
        type='FCOS',
        backbone=dict(RESNET, padding_cfg=dict(mode='zeros', include=['layer1.0.*'])),
        neck=dict(type='FPN', in_channels=[64], out_channels=8, num_outs=1, padding_cfg='circular'),
        bbox_head=dict(
            type='FCOSHead',
            num_classes=1,
            in_channels=8,
            feat_channels=8,
            strides=[4],
            norm_cfg=None,
        ),
        padding_cfg=dict(mode='reflect'),
    )
    found = modes(MODELS.build(model))
    for name, mode in found.items():
        if name.startswith('backbone.layer1.0'):
            assert mode == 'zeros'
        elif name.startswith('neck'):
            assert mode == 'circular'
        else:
            assert mode == 'reflect'
    assert set(found.values()) == {'zeros', 'circular', 'reflect'}


def test_the_innermost_padding_cfg_wins_for_copies_too():
    @MODELS.register_module(force=True)
    class CopyingHead(nn.Module):
        def __init__(self, block):
            super().__init__()
            block = MODELS.build(block)
            self.blocks = nn.ModuleList(copy.deepcopy(block) for _ in range(2))
            self.last = nn.Conv2d(1, 1, 3, padding=1)

    block = dict(type='ConvModule', in_channels=1, out_channels=1, kernel_size=3, padding=1)
    for mode in ('circular', 'zeros'):
        head = dict(type='CopyingHead', block=dict(block, padding_cfg=mode), padding_cfg='reflect')
        assert modes(MODELS.build(head)) == {
            'blocks.0.conv': mode,
            'blocks.1.conv': mode,
            'last': 'reflect',
        }


def test_padding_cfg_in_a_dict_that_mmcv_builds_is_an_error():
    cfg = dict(RESNET, conv_cfg=dict(type='Conv2d', padding_cfg='reflect'))
    with pytest.raises(
        UserError, match=r'inside mmdet\.ResNet that is not built through MODELS .*conv_cfg'
    ) as caught:
        MODELS.build(cfg)
    assert '\n' not in str(caught.value)


def test_cfg_options_can_set_the_mode():
    cfg = Config(dict(model=dict(RESNET, padding_cfg=dict(mode='reflect'))))
    cfg.merge_from_dict({'model.padding_cfg.mode': 'circular'})
    assert set(modes(MODELS.build(cfg.model)).values()) == {'circular'}


def test_a_users_own_backbone_reads_padding_cfg():
    @MODELS.register_module(force=True)
    class OwnBackbone(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.conv = nn.Conv2d(3, width, 3, padding=1)

    assert modes(MODELS.build(dict(type='OwnBackbone', width=4, padding_cfg='partial'))) == {
        'conv': 'partial'
    }


@pytest.mark.parametrize(
    ('value', 'says'),
    [
        ('reflekt', r"padding_cfg of .*ResNet: unknown padding mode 'reflekt'.*reflect"),
        (
            dict(mod='reflect'),
            r"padding_cfg of .*ResNet: .*no field 'mod' \(did you mean 'mode'\?\)",
        ),
        (dict(pool=True), r"padding_cfg of .*ResNet: .*lacks 'mode'"),
        (dict(mode='reflect', include=['nope']), r"ResNet: `include` pattern 'nope' matches none"),
        (dict(mode='reflect', pool='yes'), r'ResNet: `pool` must be True or False'),
    ],
)
def test_a_mistake_is_one_line_with_the_module_and_the_value(value, says):
    with pytest.raises(UserError, match=says) as caught:
        MODELS.build(dict(RESNET, padding_cfg=value))
    assert '\n' not in str(caught.value)


def test_installing_twice_does_nothing():
    before = MODELS.build_func
    hook.install()
    assert MODELS.build_func is before


def test_initial_weights_do_not_depend_on_the_padding():
    weights = []
    for padding_cfg in (None, dict(mode='reflect', pool=True)):
        torch.manual_seed(0)
        init_cfg = dict(type='Normal', layer='Conv2d', std=0.3)
        backbone = MODELS.build(dict(RESNET, init_cfg=init_cfg, padding_cfg=padding_cfg))
        backbone.init_weights()
        weights.append(backbone.state_dict())
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert weights[0]['conv1.weight'].std() > 0.2
