"""Nothing pads unseen: whatever pads is swapped, or named in the report.

The oracle is a symmetry: a module of stride 1 whose only padding is circular moves its output by as much
as its input is rolled. One that does not, pads by something else, and the report must name it.
"""

from __future__ import annotations

import functools
import re
import types

import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmdet.models.backbones.trident_resnet import TridentConv
from torch import nn
from torch.utils.checkpoint import checkpoint

from mindpad_mm import swap_padding
from mindpad_mm.core.errors import UserError

WEIGHT = torch.rand(3, 3, 3, 3, generator=torch.Generator().manual_seed(0))
ALL = (1, 1, 1, 1)


class Code(nn.Module):
    """A module whose forward is a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class OwnSame(nn.Conv2d):
    """A convolution without padding whose forward pads."""

    def forward(self, x):
        return F.conv2d(F.pad(x, ALL), self.weight, self.bias)


class OwnPool(nn.MaxPool2d):
    """A pooling layer without padding whose forward pads."""

    def forward(self, x):
        return super().forward(F.pad(x, ALL))


class Block(nn.Module):
    """A block that declares padding and pads, and whose layer does not."""

    def __init__(self):
        super().__init__()
        self.padding = 1
        self.conv = nn.Conv2d(3, 3, 3)

    def forward(self, x):
        return self.conv(F.pad(x, ALL))


class InInferenceMode(nn.Module):
    """A module that leaves no trace for gradients."""

    @torch.inference_mode()
    def forward(self, x):
        return F.conv2d(x, WEIGHT, padding=1)


class Trident(nn.Module):
    """A branch of a trident convolution."""

    def __init__(self):
        super().__init__()
        self.conv = TridentConv(3, 3, 3, test_branch_idx=1)
        nn.init.uniform_(self.conv.weight)

    def forward(self, x):
        return self.conv([x])[0]


def bare():
    return nn.Conv2d(3, 3, 3)


def padded():
    return nn.Conv2d(3, 3, 3, padding=1)


def with_forward(layer, forward):
    layer.forward = forward
    return layer


def with_conv_forward():
    layer = padded()
    layer._conv_forward = lambda x, weight, bias: F.conv2d(x, weight, bias, padding=1)
    return layer


def with_hook(layer, hook):
    layer.register_forward_pre_hook(hook)
    return layer


def pad_input(module, args):
    return (F.pad(args[0], ALL),)


def unfolded(x):
    columns = F.unfold(x, 3, padding=1)
    return (WEIGHT.flatten(1) @ columns).unflatten(2, x.shape[-2:])


def written_into(larger, x, rows=slice(1, -1), cols=slice(1, -1)):
    larger[:, :, rows, cols] = x
    return larger


def copied_into(larger, x):
    larger.narrow(2, 1, 12).narrow(3, 1, 12).copy_(x)
    return larger


def with_channels_of(y, x):
    y[:, 1:] = x[:, :-1]
    return y


def between_zeros(x):
    y = x.new_zeros(1, 3, 24, 24)
    y[:, :, ::2, ::2] = x
    return y


def own_forward(self, x):
    return F.conv2d(x, self.weight, self.bias, padding=1)


def bound_forward():
    layer = padded()
    return with_forward(layer, types.MethodType(own_forward, layer))


def partial_forward():
    layer = bare()
    return with_forward(layer, functools.partial(own_forward, layer))


def script(module):
    return torch.jit.script(module.eval())


def trace(module):
    return torch.jit.trace(module.eval(), torch.rand(1, 3, 12, 12))


# Seen with and without an example.
DECLARED = {
    'own forward, padding 0': lambda: OwnSame(3, 3, 3),
    'own pooling, padding 0': lambda: OwnPool(3, 1),
    'forward bound to the layer': bound_forward,
    'forward of a layer as a partial': partial_forward,
    '_conv_forward of the layer': with_conv_forward,
    'a block with padding over a layer without': Block,
    'trident': Trident,
    'scripted layer': lambda: script(padded()),
    'scripted network': lambda: script(nn.Sequential(bare(), padded(), nn.MaxPool2d(3, 1, 1))),
    'traced layer': lambda: trace(padded()),
    'traced code': lambda: trace(Code(lambda x: F.conv2d(F.pad(x, ALL), WEIGHT))),
    'scripted same': lambda: script(nn.Conv2d(3, 3, 3, padding='same')),
    'circular ConvModule': lambda: ConvModule(3, 3, 3, padding=1, padding_mode='circular'),
    'pooling layer': lambda: nn.AvgPool2d(3, 1, 1),
    'transposed': lambda: nn.ConvTranspose2d(3, 3, 3, padding=1),
    'unfold': lambda: nn.Sequential(nn.Unfold(3, padding=1), nn.Unflatten(2, (12, 12))),
}
# Seen by an example alone.
IN_CODE = {
    'F.pad': lambda x: F.conv2d(F.pad(x, ALL), WEIGHT),
    'F.pad reflect': lambda x: F.conv2d(F.pad(x, ALL, mode='reflect'), WEIGHT),
    'F.pad replicate': lambda x: F.conv2d(F.pad(x, ALL, mode='replicate'), WEIGHT),
    'F.pad of one side': lambda x: F.conv2d(F.pad(x, (2, 0, 0, 2)), WEIGHT),
    'F.conv2d': lambda x: F.conv2d(x, WEIGHT, padding=1),
    'F.conv2d same': lambda x: F.conv2d(x, WEIGHT, padding='same'),
    'F.conv2d by position': lambda x: F.conv2d(x, WEIGHT, None, 1, (1, 1)),
    'torch.conv2d': lambda x: torch.conv2d(x, WEIGHT, padding=1),
    'F.conv1d': lambda x: F.conv1d(x.flatten(1, 2), torch.ones(36, 1, 3), padding=1, groups=36),
    'F.max_pool2d': lambda x: F.max_pool2d(x, 3, 1, 1),
    'F.avg_pool2d': lambda x: F.avg_pool2d(x, 3, 1, 1),
    'F.unfold': unfolded,
    'aten': lambda x: torch.ops.aten.convolution(
        x, WEIGHT, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1
    ),
    'reflection_pad2d': lambda x: F.conv2d(torch._C._nn.reflection_pad2d(x, [1] * 4), WEIGHT),
    'concatenated rows': lambda x: F.max_pool2d(
        torch.cat([torch.zeros(1, 3, 2, 12), x], 2), (3, 1), 1
    ),
    'slice of a larger map': lambda x: F.conv2d(written_into(x.new_zeros(1, 3, 14, 14), x), WEIGHT),
    'slice in channels_last': lambda x: F.conv2d(
        written_into(x.new_zeros(1, 3, 14, 14).to(memory_format=torch.channels_last), x), WEIGHT
    ),
    'slice of more rows': lambda x: F.max_pool2d(
        written_into(x.new_zeros(1, 3, 14, 12), x, cols=slice(None)), (3, 1), 1
    ),
    'slice of more columns, expanded': lambda x: F.max_pool2d(
        written_into(x.new_zeros(1, 3, 12, 14), x.mean(1, keepdim=True).expand_as(x), slice(None)),
        (1, 3),
        1,
    ),
    'copy into a narrowed map': lambda x: F.conv2d(
        copied_into(x.new_zeros(1, 3, 14, 14), x), WEIGHT
    ),
    'a layer made in the forward': lambda x: nn.MaxPool2d(3, 1, 1)(x),
    'checkpointed': lambda x: checkpoint(
        lambda y: F.max_pool2d(y, 3, 1, 1), x, use_reentrant=False
    ),
}
HIDDEN = {
    **{name: functools.partial(Code, function) for name, function in IN_CODE.items()},
    'inference mode': InInferenceMode,
    'a hook of a bare layer': lambda: with_hook(bare(), pad_input),
    'a hook of a layer that pads': lambda: with_hook(nn.Conv2d(3, 3, 5, padding=1), pad_input),
    'a forward of the block': lambda: with_forward(
        nn.Sequential(nn.ReLU()), lambda x: F.max_pool2d(x, 3, 1, 1)
    ),
    'scripted function': lambda: Code(torch.jit.script(_scripted_pad)),
}


def _scripted_pad(x: torch.Tensor):
    return torch.nn.functional.max_pool2d(x, 3, 1, 1)


def swapped(net, **options):
    """The report; where nothing can be swapped, the error's text tells what was named."""
    try:
        report = swap_padding(net, 'circular', **options)
    except UserError as error:
        return str(error), True
    return str(report), bool(report.skipped)


@torch.no_grad()
def rolls(net):
    x = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    y, moved = net(x), net(x.roll((2, 3), (2, 3)))
    if y.ndim == 3:
        return torch.allclose(
            moved.unflatten(1, (-1, 12)), y.unflatten(1, (-1, 12)).roll((2, 3), (2, 3))
        )
    return torch.allclose(moved, y.roll((2, 3), (2, 3)), atol=1e-5)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('with_example', [False, True])
@pytest.mark.parametrize('case', DECLARED)
def test_a_layer_that_pads_is_swapped_or_named(case, with_example):
    layer = DECLARED[case]().eval()
    net = nn.Sequential(padded(), layer)
    example = dict(example_input=torch.rand(1, 3, 12, 12)) if with_example else {}
    assert not rolls(net), 'the case does not pad'
    text, named = swapped(net, **example)
    assert rolls(net) or (named and '\n1' in text)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('case', HIDDEN)
def test_code_that_pads_is_named_with_its_module_and_line(case):
    net = nn.Sequential(padded(), HIDDEN[case]().eval())
    assert not rolls(net), 'the case does not pad'
    report = swap_padding(net, 'circular', example_input=torch.rand(1, 3, 12, 12))
    assert not rolls(net)
    assert [layer.name for layer in report.skipped] == ['1']
    assert 'its code pads' in report.skipped[0].reason
    assert re.search(r'test_hidden\.py:\d+$', report.skipped[0].reason)


def test_circular_padding_in_code_is_named_too():
    net = nn.Sequential(padded(), Code(lambda x: F.conv2d(F.pad(x, ALL, 'circular'), WEIGHT)))
    report = swap_padding(net, 'reflect', example_input=torch.rand(1, 3, 12, 12))
    assert [layer.name for layer in report.skipped] == ['1']


@pytest.mark.parametrize(
    'net',
    [
        lambda: nn.Sequential(padded(), bare(), nn.Conv2d(3, 3, 1), nn.MaxPool2d(2), nn.ReLU()),
        lambda: nn.Sequential(padded(), Code(lambda x: F.pad(x, (-1, -1, -1, -1)))),
        lambda: nn.Sequential(padded(), Code(lambda x: F.conv2d(x, WEIGHT))),
        lambda: nn.Sequential(padded(), nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(4), nn.Upsample(8)),
        lambda: nn.Sequential(
            nn.ZeroPad2d(1), ConvModule(3, 3, 3, padding=1, padding_mode='reflect')
        ),
        lambda: nn.Sequential(padded(), nn.ConvTranspose2d(3, 3, 2, 2)),
        lambda: nn.Sequential(padded(), Code(lambda x: torch.cat([x, x, x[:, :1]], 1))),
        lambda: nn.Sequential(padded(), Code(lambda x: torch.cat([x, x], 3))),
        lambda: nn.Sequential(padded(), Code(lambda x: with_channels_of(x.clone(), x))),
        lambda: nn.Sequential(padded(), Code(lambda x: between_zeros(x))),
        lambda: nn.Sequential(padded(), Code(lambda x: torch.empty_like(x).copy_(x))),
    ],
)
def test_nothing_is_named_where_nothing_else_pads(net):
    example = torch.rand(1, 3, 12, 12)
    for mode in ('reflect', 'circular', 'zeros', 'zeros'):
        report = swap_padding(net(), mode, example_input=example)
        assert not report.skipped
        assert not report.warnings


def test_each_line_is_named_once_and_lines_apart():
    def twice(x):
        for _ in range(3):
            x = F.max_pool2d(x, 3, 1, 1)
        return F.avg_pool2d(x, 3, 1, 1)

    net = nn.Sequential(padded(), Code(twice), Code(twice))
    report = swap_padding(net, 'reflect', example_input=torch.rand(1, 3, 12, 12))
    assert [layer.name for layer in report.skipped] == ['1', '1', '2', '2']
    lines = {layer.reason.rsplit(':', 1)[1] for layer in report.skipped}
    assert len(lines) == 2


def test_the_example_changes_nothing_in_the_module():
    net = nn.Sequential(padded(), nn.BatchNorm2d(3), nn.Dropout(), Code(IN_CODE['F.pad']))
    net[1].eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    swap_padding(
        net, 'reflect', example_input=torch.rand(1, 3, 12, 12, generator=torch.Generator())
    )
    assert torch.equal(torch.rand(3), expected)
    assert [layer.training for layer in net] == [True, False, True, True]
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_an_example_that_does_not_run_is_one_line_and_nothing_is_swapped():
    net = nn.Sequential(padded())
    with pytest.raises(
        UserError, match=r'^`example_input` does not run through Sequential: '
    ) as caught:
        swap_padding(net, 'reflect', example_input=torch.rand(1, 4, 12, 12))
    assert '\n' not in str(caught.value)
    assert net[0].padding_mode == 'zeros'
    assert net.training


@pytest.mark.parametrize(
    'example', [(torch.rand(1, 3, 9, 9), 2), dict(x=torch.rand(1, 3, 9, 9), k=2)]
)
def test_an_example_is_a_tensor_arguments_or_keyword_arguments(example):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = padded()

        def forward(self, x, k):
            return F.pad(self.conv(x), (k, k, k, k))

    report = swap_padding(Two(), 'reflect', example_input=example)
    assert [layer.kind for layer in report.skipped] == ['Two']
