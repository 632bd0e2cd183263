"""padding_cfg is read wherever MMEngine builds a model; the innermost one decides for its part."""

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
def test_a_dict_built_through_any_registry_of_models_is_read(registry, value):
    backbone = registry.build(dict(RESNET, padding_cfg=value))
    assert set(modes(backbone).values()) == {'reflect'}


def test_the_config_keeps_the_key_and_the_module_never_sees_it():
    cfg = Config(dict(model=dict(RESNET, padding_cfg=dict(mode='circular'))))
    MODELS.build(cfg.model)
    assert cfg.model.padding_cfg.mode == 'circular'


def test_none_takes_back_what_a_base_config_said():
    assert set(modes(MODELS.build(dict(RESNET, padding_cfg=None))).values()) == {'zeros'}


def test_a_list_of_modules_is_read_one_by_one():
    @MODELS.register_module(force=True)
    class OneConv(nn.Conv2d):
        def __init__(self):
            super().__init__(1, 1, 3, padding=1)

    both = MODELS.build([dict(type='OneConv', padding_cfg='reflect'), dict(type='OneConv')])
    assert modes(both) == {'0': 'reflect', '1': 'zeros'}


def test_the_innermost_decides_for_its_part_and_the_outer_for_the_rest():
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


def test_the_innermost_decides_for_the_copies_of_its_part_too():
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


def test_a_dict_that_mmcv_builds_by_itself_is_named():
    cfg = dict(RESNET, conv_cfg=dict(type='Conv2d', padding_cfg='reflect'))
    with pytest.raises(
        UserError, match=r'inside mmdet\.ResNet that is not built through MODELS .*conv_cfg'
    ) as caught:
        MODELS.build(cfg)
    assert '\n' not in str(caught.value)


def test_cfg_options_reach_the_mode():
    cfg = Config(dict(model=dict(RESNET, padding_cfg=dict(mode='reflect'))))
    cfg.merge_from_dict({'model.padding_cfg.mode': 'circular'})
    assert set(modes(MODELS.build(cfg.model)).values()) == {'circular'}


def test_a_backbone_users_wrote_themselves_needs_nothing():
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
        (dict(mode='reflect', include=['nope']), r"ResNet: .*include pattern 'nope' matches none"),
        (dict(mode='reflect', pool='yes'), r'ResNet: padding_cfg.pool must be True or False'),
    ],
)
def test_a_mistake_is_one_line_that_names_the_module_the_value_and_the_choices(value, says):
    with pytest.raises(UserError, match=says) as caught:
        MODELS.build(dict(RESNET, padding_cfg=value))
    assert '\n' not in str(caught.value)


def test_installing_twice_does_nothing():
    before = MODELS.build_func
    hook.install()
    assert MODELS.build_func is before


def test_initial_weights_under_one_seed_do_not_depend_on_the_padding():
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
