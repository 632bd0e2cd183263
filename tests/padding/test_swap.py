"""A swap changes the padding mode, and nothing else."""

import re

import pytest
import torch
import torchvision
from mmcv.cnn import ConvModule
from mmengine.model import ExponentialMovingAverage
from torch import nn

from mindpad_mm import swap_padding
from mindpad_mm.core.errors import UserError


class OwnConv(nn.Conv2d):
    """A user's convolution that inherits its forward."""

    def __init__(self, channels):
        super().__init__(channels, channels, 3, padding=1)


class OwnForward(nn.Conv2d):
    """A user's convolution with a forward of its own."""

    def forward(self, x):
        return super().forward(x) * 2


def small_net():
    net = nn.Sequential()
    net.add_module('stem', nn.Conv2d(3, 8, 3, 2, padding=1))
    net.add_module('pool', nn.MaxPool2d(3, 2, 1))
    net.add_module('own', OwnConv(8))
    net.add_module('point', nn.Conv2d(8, 8, 1))
    net.add_module('up', nn.ConvTranspose2d(8, 8, 4, 2, 1))
    net.add_module('odd', OwnForward(8, 8, 3, padding=1))
    return net


def test_the_report_names_the_swapped_layers_and_why_others_were_left_alone():
    report = swap_padding(small_net(), 'reflect')
    assert [(layer.name, layer.kind, layer.pads) for layer in report.swapped] == [
        ('stem', 'Conv2d', (1, 1, 1, 1)),
        ('own', 'OwnConv', (1, 1, 1, 1)),
    ]
    reasons = {layer.name: layer.reason for layer in report.skipped}
    assert set(reasons) == {'pool', 'up', 'odd'}
    assert 'pool=True' in reasons['pool']
    assert 'transposed' in reasons['up']
    assert 'OwnForward' in reasons['odd']
    assert all(name in str(report) for name in ('stem', 'own', 'pool', 'up', 'odd'))
    assert '2 layers zeros -> reflect' in report.summary()


def test_state_dicts_and_output_shapes_stay_the_same():
    net, stock = small_net(), small_net()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    shape = net(torch.rand(1, 3, 20, 20)).shape
    swap_padding(net, 'circular', pool=True)
    after = net.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert net(torch.rand(1, 3, 20, 20)).shape == shape
    net.load_state_dict(stock.state_dict(), strict=True)
    stock.load_state_dict(after, strict=True)


def test_swapping_back_to_zeros_restores_the_stock_classes_and_output():
    net = small_net()
    x = torch.rand(1, 3, 20, 20)
    expected, classes = net(x), [type(layer) for layer in net]
    swap_padding(net, ('partial', 'symmetric'), pool=True)
    assert not torch.equal(net(x), expected)
    swap_padding(net, 'zeros', pool=True)
    assert torch.equal(net(x), expected)
    assert [type(layer) for layer in net] == classes


def test_swapping_draws_no_random_numbers():
    torch.manual_seed(0)
    expected = torch.rand(3)
    net = small_net()
    torch.manual_seed(0)
    swap_padding(net, 'reflect')
    assert torch.equal(torch.rand(3), expected)


def test_a_shared_layer_stays_shared_and_has_several_names():
    shared = nn.Conv2d(3, 3, 3, padding=1)
    net = nn.ModuleDict({'a': shared, 'b': shared, 'c': nn.Conv2d(3, 3, 3, padding=1)})
    report = swap_padding(net, 'reflect', include=['b'])
    assert [layer.name for layer in report.swapped] == ['a']
    assert net['a'] is net['b'] is shared
    assert net['c'].padding_mode == 'zeros'


def test_hooks_survive_the_swap():
    conv, seen = nn.Conv2d(1, 1, 3, padding=1), []
    conv.register_forward_hook(lambda *_: seen.append(True))
    swap_padding(conv, 'reflect')
    conv(torch.rand(1, 1, 4, 4))
    assert seen == [True]


def test_include_and_exclude_choose_layers_by_name():
    net = torchvision.models.resnet18()
    report = swap_padding(net, 'reflect', include=['layer1.*', 'conv1'], exclude=['*.conv2'])
    names = [layer.name for layer in report.swapped]
    assert names == ['conv1', 'layer1.0.conv1', 'layer1.1.conv1']


@pytest.mark.parametrize('field', ['include', 'exclude'])
def test_a_pattern_that_matches_no_layer_is_an_error(field):
    with pytest.raises(
        UserError, match=rf"^`{field}` pattern 'layer9\.\*' matches none of the 2 layers.*stem, own"
    ):
        swap_padding(small_net(), 'reflect', **{field: ['layer9.*']})


@pytest.mark.parametrize('value', [None, 7, [3], [None]], ids=str)
@pytest.mark.parametrize('field', ['include', 'exclude'])
def test_the_error_for_invalid_patterns_names_the_argument_and_the_value(field, value):
    with pytest.raises(
        UserError, match=f'^`{field}` must be a list of .* not {re.escape(str(value))}'
    ):
        swap_padding(small_net(), 'reflect', **{field: value})


@pytest.mark.parametrize(
    'patterns',
    [dict(include=[]), dict(exclude=['*']), dict(include=['stem'], exclude=['s*'])],
    ids=str,
)
def test_patterns_that_leave_no_layer_are_an_error(patterns):
    with pytest.raises(UserError, match='leave none of the 5 layers that pad') as caught:
        swap_padding(small_net(), 'reflect', **patterns)
    for field, value in patterns.items():
        assert f'`{field}={value}`' in str(caught.value)


class OwnConvForward(nn.Conv2d):
    """A user's convolution that changes the weights."""

    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, 2 * weight, bias)


class OwnWeight(nn.Module):
    """A layer with padding of its own and a child that pads, like mmcv's deformable convolutions."""

    def __init__(self):
        super().__init__()
        self.padding = (1, 1)
        self.weight = nn.Parameter(torch.rand(3, 3, 3, 3))
        self.conv_offset = nn.Conv2d(3, 18, 3, padding=1)


class TensorPadding(nn.Module):
    """A module whose attribute ``padding`` is not a padding."""

    def __init__(self):
        super().__init__()
        self.padding = torch.ones(2, 2)


def test_layers_that_cannot_be_swapped_are_not_changed():
    x = torch.rand(1, 3, 8, 8)
    hooked = ConvModule(3, 3, 3, padding=1, padding_mode='reflect')
    hooked.padding_layer.register_forward_hook(lambda *_: None)
    net = nn.ModuleDict(
        {
            'own': OwnConvForward(3, 3, 3, padding=1),
            'lazy': nn.LazyConv2d(3, 3, padding=1),
            'deformable': OwnWeight(),
            'tensor': TensorPadding(),
            'hooked': hooked,
            'plain': ConvModule(3, 3, 3, padding=1),
        }
    )
    expected = net['own'](x), hooked(x)
    report = swap_padding(net, 'circular')
    assert [layer.name for layer in report.swapped] == ['deformable.conv_offset', 'plain.conv']
    assert {layer.name: layer.reason for layer in report.skipped} == {
        'own': 'it overrides _conv_forward',
        'lazy': 'lazy, and changes its class at its first input; swap after that',
        'deformable': 'no padded form of OwnWeight is known',
        'hooked.conv': 'its padding_layer has hooks, which a swap would remove',
    }
    assert torch.equal(net['own'](x), expected[0])
    assert torch.equal(hooked(x), expected[1])
    net['lazy'](x)
    assert swap_padding(net['lazy'], 'circular').swapped


@pytest.mark.parametrize('net', [nn.Linear(3, 3), nn.Conv2d(3, 3, 1)])
def test_nothing_to_swap_is_an_error(net):
    with pytest.raises(UserError, match=f'nothing to swap in {type(net).__name__}'):
        swap_padding(net, 'reflect')


def test_a_failed_swap_changes_nothing():
    net = small_net()
    with pytest.raises(UserError):
        swap_padding(net, 'nope')
    with pytest.raises(UserError):
        swap_padding(net, 'reflect', exclude=['nope'])
    assert net.stem.padding_mode == 'zeros'


@pytest.mark.parametrize('build', ['resnet18', 'vgg11', 'mobilenet_v2'])
def test_torchvision_classifiers_swap_and_train(build):
    net = getattr(torchvision.models, build)(num_classes=4)
    swap_padding(net, 'symmetric', pool=True)
    net(torch.rand(2, 3, 64, 64)).sum().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())


def test_reflect_works_on_a_one_cell_map_where_torchs_own_fails():
    conv = nn.Conv2d(1, 1, 3, padding=1, padding_mode='reflect')
    x = torch.rand(1, 1, 1, 1)
    with pytest.raises(RuntimeError):
        conv(x)
    swap_padding(conv, 'reflect')
    assert torch.allclose(conv(x), conv.weight.sum() * x + conv.bias)


def test_the_moving_average_of_a_swapped_model_is_swapped():
    net = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1))
    swap_padding(net, 'reflect')
    ema = ExponentialMovingAverage(net)
    x = torch.rand(1, 1, 5, 5)
    assert torch.equal(ema(x), net(x))
