"""A ConvModule that asks for circular padding is named by a swap, and cured by it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from torch import nn

from mindpad_mm import compat, swap_padding

pytestmark = pytest.mark.skipif(
    not compat.status()['conv_module_circular'], reason='this mmcv passes the mode on'
)
X = torch.rand(1, 3, 7, 8, generator=torch.Generator().manual_seed(0))


def block(**options):
    return ConvModule(3, 4, 3, padding=1, padding_mode='circular', act_cfg=None, **options)


def test_it_is_cured_by_a_swap_to_circular():
    net = block()
    wrapped = torch.from_numpy(np.pad(X.numpy(), [(0, 0), (0, 0), (1, 1), (1, 1)], 'wrap'))
    wanted = F.conv2d(wrapped, net.conv.weight, net.conv.bias)
    report = swap_padding(net, 'circular')
    assert [(layer.before, layer.after) for layer in report.swapped] == [('zeros', 'circular')]
    torch.testing.assert_close(net(X), wanted)


@pytest.mark.parametrize(
    'make',
    [
        block,
        lambda: ConvModule(3, 4, 3, 1, 1, 1, 1, 'auto', None, None, None, True, False, 'circular'),
        lambda: copy.deepcopy(block()),
        lambda: nn.Sequential(block(norm_cfg=dict(type='BN'))),
        lambda: DepthwiseSeparableConvModule(3, 4, 3, padding=1, padding_mode='circular'),
        lambda: block(conv_cfg=dict(type='ConvWS')),
    ],
    ids=['keyword', 'position', 'copy', 'inside', 'depthwise', 'other convolution'],
)
@pytest.mark.parametrize('mode', ['circular', 'reflect', 'zeros'])
def test_the_report_warns_of_it(make, mode):
    report = swap_padding(make(), mode)
    assert len(report.warnings) == 1
    assert 'mmcv #3078' in report.warnings[0]
    assert 'circular' in report.warnings[0]
    assert report.warnings[0] in report.summary()
    assert report.warnings[0] in str(report)


def test_it_warns_of_layers_that_are_left_alone():
    net = nn.ModuleDict({'a': block(), 'b': nn.Conv2d(3, 3, 3, padding=1)})
    assert 'a.conv' in swap_padding(net, 'reflect', include=['b']).warnings[0]


def test_a_second_swap_has_nothing_to_warn_of():
    net = block()
    swap_padding(net, 'circular')
    assert not swap_padding(net, 'reflect').warnings


@pytest.mark.parametrize('mode', ['zeros', 'reflect', 'replicate'])
def test_it_does_not_warn_of_modes_that_mmcv_runs(mode):
    assert not swap_padding(ConvModule(3, 4, 3, padding=1, padding_mode=mode), 'circular').warnings


def test_a_block_that_was_not_swapped_runs_as_before():
    net = block()
    wanted = F.conv2d(X, net.conv.weight, net.conv.bias, padding=1)
    torch.testing.assert_close(net(X), wanted)
