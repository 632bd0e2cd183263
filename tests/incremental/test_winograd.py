"""Winograd's algorithm equals convolution within its error bound."""

from __future__ import annotations

import mindpad_mm  # noqa: F401  # isort: skip  # first, so that MMDetection imports on mmcv-lite

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.cnn.bricks.conv_ws import ConvWS2d
from mmdet.models.layers.normed_predictor import NormedConv2d
from torch import nn

from mindpad_mm.incremental import winograd
from mindpad_mm.incremental.graph import OperationGraph
from mindpad_mm.incremental.windowed import WindowedTensor
from mindpad_mm.incremental.winograd import WinogradConvolution, convolve, transform_kernel
from mindpad_mm.padding import swap_padding
from mindpad_mm.padding.convolution import Convolution
from mindpad_mm.padding.functional import padded_conv2d
from mindpad_mm.padding.modes import get_modes

CHANNELS = winograd._CHANNELS


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**31), st.integers(1, 3), st.integers(3, 13), st.integers(3, 13),
    st.tuples(st.integers(0, 2), st.integers(0, 2)), st.booleans(), st.booleans(),
)  # fmt: skip
def test_it_equals_convolution_in_float64(seed, batch, height, width, padding, biased, last):
    generator = torch.Generator().manual_seed(seed)
    x, weight, bias = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((batch, 5, height, width), (4, 5, 3, 3), (4,))
    )
    bias = bias if biased else None
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    found = convolve(x, transform_kernel(weight), bias, padding)
    wanted = F.conv2d(x, weight, bias, padding=padding)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(('channels', 'size'), [(CHANNELS, 10), (512, 10), (CHANNELS, 19)])
def test_the_error_is_below_the_documented_bound(channels, size):
    torch.manual_seed(0)
    x = torch.randn(2, channels, size, size).relu().contiguous(memory_format=torch.channels_last)
    weight = torch.randn(channels, channels, 3, 3) / channels**0.5
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    found = convolved(x, weight, None)
    assert not torch.equal(found, F.conv2d(x, weight, padding=1))
    assert (found - exact).square().mean() <= 2e-6**2 * exact.square().mean()


def parameter(value):
    return nn.Parameter(value, requires_grad=False)


def convolved(x, weight, bias, **form):
    weight = parameter(weight)
    form = {'stride': (1, 1), 'dilation': (1, 1), 'groups': 1, **form}
    convolution = WinogradConvolution(Convolution(weight, **form), OperationGraph())
    return convolution(x, bias, (1, 1))


@pytest.mark.parametrize(
    ('size', 'channels', 'kernel', 'form'),
    [
        (5, CHANNELS, 3, {}),
        (4, CHANNELS, 3, {}),
        (10, CHANNELS - 1, 3, {}),
        (10, CHANNELS, 1, {}),
        (10, CHANNELS, 3, {'stride': (2, 2)}),
        (12, CHANNELS, 3, {'dilation': (2, 2)}),
        (10, 2 * CHANNELS, 3, {'groups': 2}),
    ],
    ids=[
        'odd and small',
        'few tiles',
        'few channels',
        'other kernel',
        'strided',
        'dilated',
        'grouped',
    ],
)
def test_torchs_convolution_runs_if_it_is_faster(size, channels, kernel, form):
    torch.manual_seed(0)
    x = torch.randn(4, channels, size, size)
    weight = torch.randn(channels, channels // form.get('groups', 1), kernel, kernel)
    wanted = F.conv2d(x, weight, None, padding=1, **form)
    assert torch.equal(convolved(x, weight, None, **form), wanted)


def test_torchs_convolution_runs_in_mixed_precision():
    torch.manual_seed(0)
    x, weight = torch.randn(2, CHANNELS, 10, 10), torch.randn(CHANNELS, CHANNELS, 3, 3)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found, wanted = convolved(x, weight, None), F.conv2d(x, weight, None, padding=1)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, wanted)


def test_a_deleted_parameter_is_not_confused_with_a_later_one():
    graph, x = OperationGraph(), torch.randn(2, CHANNELS, 10, 10)
    for values in torch.randn(3, CHANNELS, CHANNELS, 3, 3).unbind():
        weight = parameter(values)
        found = WinogradConvolution(Convolution(weight, (1, 1), (1, 1), 1), graph)(x, None, (1, 1))
        wanted = F.conv2d(x, weight, padding=1)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4 * float(wanted.abs().max()))
        del found, wanted, weight


@pytest.mark.parametrize('mode', ['zeros', 'reflect'])
@pytest.mark.parametrize('layer', [ConvWS2d, NormedConv2d])
def test_weights_computed_in_every_run_are_not_confused(layer, mode):
    torch.manual_seed(0)
    net = nn.Sequential(*(layer(CHANNELS, CHANNELS, 3, padding=1) for _ in range(4))).eval()
    swap_padding(net, mode)
    clean = torch.randn(1, CHANNELS, 14, 14).contiguous(memory_format=torch.channels_last)
    graph = OperationGraph()
    for _ in range(2):
        graph.rewind()
        patch = torch.randn(2, CHANNELS, 8, 8)
        x = WindowedTensor.pasted(clean, patch, np.array([[2, 2], [3, 1]]), graph)
        with torch.inference_mode():
            found, wanted = net(x).dense(), net(x.dense())
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4 * float(wanted.abs().max()))


@pytest.mark.parametrize('mode', ['zeros', 'reflect', 'circular', 'partial'])
@pytest.mark.parametrize('length', [8, 12])
def test_windows_of_many_channels_use_it_in_every_mode(mode, length, monkeypatch):
    calls = []
    monkeypatch.setattr(winograd, 'convolve', lambda *args: calls.append(args) or convolve(*args))
    torch.manual_seed(0)
    clean = torch.randn(1, CHANNELS, 14, 14).contiguous(memory_format=torch.channels_last)
    patch = torch.randn(2, CHANNELS, length, length)
    weight, bias = torch.randn(CHANNELS, CHANNELS, 3, 3) * 0.05, torch.randn(CHANNELS)
    weight = parameter(weight)
    x = WindowedTensor.pasted(clean, patch, np.array([[2, 2], [1, 2]]), OperationGraph())
    dense = x.dense()
    convolution = Convolution(weight, (1, 1), (1, 1), 1)
    if mode == 'zeros':
        found, wanted = (F.conv2d(value, weight, bias, padding=1) for value in (x, dense))
    else:
        found, wanted = (
            padded_conv2d(value, bias, convolution, get_modes(mode), (1, 1, 1, 1))
            for value in (x, dense)
        )
    torch.testing.assert_close(found.dense(), wanted, rtol=1e-4, atol=1e-4)
    assert calls
