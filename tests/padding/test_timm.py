"""timm's convolutions that pad by TensorFlow's rule are swapped, and its other layers named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mindpad_mm import swap_padding
from mindpad_mm.core.errors import UserError

try:
    import timm
except ImportError:
    timm = None
needs_timm = pytest.mark.skipif(timm is None, reason='timm is not installed')


class StandIn(nn.Conv2d):
    """timm's Conv2dSame, as far as a swap looks at it."""

    def forward(self, x):
        pads = []
        for size, kernel, stride, dilation in reversed(
            [*zip(x.shape[-2:], self.kernel_size, self.stride, self.dilation)]
        ):
            total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
            pads += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, pads), self.weight, self.bias, self.stride, 0, self.dilation)

    forward.__module__, forward.__qualname__ = 'timm.layers.conv2d_same', 'Conv2dSame.forward'


KINDS = [StandIn, pytest.param(timm and timm.layers.Conv2dSame, marks=needs_timm)]


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(('mode', 'rule'), [('reflect', 'reflect'), ('circular', 'wrap')])
@pytest.mark.parametrize('size', [(7, 8), (12, 9), (1, 4)])
@pytest.mark.parametrize(
    ('kernel', 'stride', 'dilation'), [(3, 2, 1), (5, 2, 1), (4, 1, 1), (3, 3, 2)]
)
def test_conv2d_same_pads_by_the_mode(kind, mode, rule, size, kernel, stride, dilation):
    conv = kind(2, 3, kernel, stride, dilation=dilation)
    x = torch.rand(1, 2, *size)
    shape = conv(x).shape
    pads = [(0, 0), (0, 0)]
    for cells in size:
        total = max((-(-cells // stride) - 1) * stride + (kernel - 1) * dilation + 1 - cells, 0)
        pads.append((total // 2, total - total // 2))
    wanted = torch.from_numpy(np.pad(x.numpy(), pads, rule))
    wanted = F.conv2d(wanted, conv.weight, conv.bias, stride, dilation=dilation)
    stock = conv(x)
    assert [layer.kind for layer in swap_padding(conv, mode).swapped] == [kind.__name__]
    assert conv(x).shape == shape
    torch.testing.assert_close(conv(x), wanted)
    swap_padding(conv, 'zeros')
    assert torch.equal(conv(x), stock)
    assert type(conv) is kind


@needs_timm
def test_efficientnet_keeps_no_convolution_that_pads_with_zeros():
    net = timm.create_model('tf_efficientnet_b0').eval()
    report = swap_padding(net, 'circular', example_input=torch.rand(1, 3, 64, 64))
    assert 'conv_stem' in [layer.name for layer in report.swapped]
    assert not report.skipped


@needs_timm
@pytest.mark.parametrize('name', ['StdConv2dSame', 'ScaledStdConv2dSame'])
def test_other_convolutions_of_their_own_are_named(name):
    with pytest.raises(UserError, match='its forward is its own and may pad'):
        swap_padding(getattr(timm.layers, name)(2, 3, 3, 2), 'reflect')
