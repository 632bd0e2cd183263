"""Random networks give the same results on windows as on whole maps."""

from __future__ import annotations

import mindpad_mm  # noqa: F401  # isort: skip  # first, so that MMDetection imports on mmcv-lite

from unittest import mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mindpad_mm.incremental import pointwise, sliding
from mindpad_mm.incremental.graph import NotFollowed, OperationGraph
from mindpad_mm.incremental.windowed import WindowedTensor
from mindpad_mm.padding import swap_padding

CHANNELS = 4
MODES = ('zeros', 'reflect', 'symmetric', 'replicate', 'circular', 'partial')


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Residual(nn.Module):
    def __init__(self, conv, in_place):
        super().__init__()
        self.conv, self.in_place = conv, in_place

    def forward(self, x):
        y = self.conv(x)
        return y.add_(x) if self.in_place else x + y


class Fork(nn.Module):
    """Two branches with different receptive fields, concatenated and mixed."""

    def __init__(self, *branches):
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.mix = nn.Conv2d(CHANNELS * len(branches), CHANNELS, 1)

    def forward(self, x):
        return self.mix(torch.cat([branch(x) for branch in self.branches], dim=1))


class Normed(nn.Module):
    """A convolution with batch norms: one, one beside another reader, or two of a shared convolution."""

    def __init__(self, conv, readers):
        super().__init__()
        self.conv, self.readers = conv, readers
        self.norms = nn.ModuleList(nn.BatchNorm2d(CHANNELS, eps=0.1) for _ in range(2))
        for norm in self.norms:
            for value in norm.state_dict().values():
                if value.is_floating_point():
                    nn.init.uniform_(value, 0.5, 1.5)

    def forward(self, x):
        y = self.conv(x)
        if self.readers == 'one':
            return self.norms[0](y).relu_()
        if self.readers == 'another':
            return self.norms[0](y) + y
        return self.norms[0](y) - self.norms[1](self.conv(x))


class Pyramid(nn.Module):
    """Downsampling by a stride, then upsampling to the old size by nearest neighbours."""

    def __init__(self, conv):
        super().__init__()
        self.conv = conv

    def forward(self, x):
        return x + F.interpolate(self.conv(x), size=x.shape[-2:], mode='nearest')


@st.composite
def convs(draw, strides=(1, 3), same=False):
    kernel = draw(st.sampled_from([1, 3, 5] if same else [1, 2, 3, 5]))
    dilation = draw(st.integers(1, 3))
    padding = dilation * (kernel - 1) // 2 if same else draw(st.integers(0, 4))
    conv = nn.Conv2d(
        CHANNELS, CHANNELS, kernel, 1 if same else draw(st.integers(*strides)), padding, dilation,
        groups=draw(st.sampled_from([1, 2, CHANNELS])), bias=draw(st.booleans()),
    )  # fmt: skip
    modes = st.sampled_from((*MODES, 'learned'))
    mode = draw(st.one_of(modes, st.tuples(modes, modes)))
    if padding and mode != 'zeros':
        swap_padding(conv, mode)
    if hasattr(conv, 'learned_padding'):
        with torch.no_grad():
            conv.learned_padding.uniform_(-1, 1)
    return conv


@st.composite
def pools(draw):
    kernel = draw(st.integers(1, 4))
    args = kernel, draw(st.integers(1, 3)), draw(st.integers(0, kernel // 2))
    ceil = draw(st.booleans())
    if draw(st.booleans()):
        layer = nn.MaxPool2d(*args, dilation=draw(st.integers(1, 2)), ceil_mode=ceil)
    else:
        layer = nn.AvgPool2d(*args, ceil_mode=ceil, count_include_pad=draw(st.booleans()))
    if args[2] and draw(st.booleans()):
        swap_padding(layer, draw(st.sampled_from(MODES)), pool=True)
    return layer


def functions():
    # With a smaller epsilon, norms of nearly equal cells would only amplify rounding errors.
    weight = torch.rand(1, CHANNELS, 1, 1) + 0.5
    return st.sampled_from([
        lambda x: F.relu(x, inplace=True),
        lambda x: F.leaky_relu(x, 0.1),
        lambda x: F.hardtanh(x, -0.5, 0.5, True),
        lambda x: x.sigmoid_() * x,
        lambda x: (x.sigmoid() + x.relu_()).mul_(x),
        lambda x: F.silu(x) - 0.3,
        lambda x: weight.expand_as(x) * x / (x.pow(2).sum(1, keepdim=True).sqrt() + 0.1),
        lambda x: F.batch_norm(x, weight.flatten(), weight.flatten(), eps=0.1),
        lambda x: F.pad(x, (1, 2, 0, 1), value=0.3),
        lambda x: F.pad(x, (1, 0, 0, 1), mode='replicate'),
        lambda x: F.pad(x, (-1, 1, 1, -1)) if min(x.shape[-2:]) > 3 else x,
        lambda x: torch.cat([x[:, 1:], x[:, :1]], 1),
        lambda x: torch.cat(x.chunk(2, dim=1)[::-1], 1),
        lambda x: torch.cat([x[..., ::2, ::2][:, :2], x[..., ::2, ::2][:, 2:]], 1),
        lambda x: F.interpolate(x, scale_factor=2, mode='nearest'),
        lambda x: F.interpolate(x, scale_factor=2, mode='bilinear'),
        lambda x: x * F.adaptive_avg_pool2d(x, 1).sigmoid(),
        lambda x: F.group_norm(x, 2, eps=0.1),
        lambda x: x + torch.linspace(0, 1, x.shape[-1]),
    ])  # fmt: skip


def blocks():
    modules = [
        convs(), convs(), pools(), functions().map(Function),
        st.builds(Residual, convs(same=True), st.booleans()),
        st.builds(Fork, convs(same=True), convs(same=True)),
        st.builds(Normed, convs(), st.sampled_from(['one', 'another', 'shared'])),
        st.builds(Pyramid, convs(strides=(2, 3))),
    ]  # fmt: skip
    return st.lists(st.one_of(modules), min_size=1, max_size=6)


@st.composite
def pasted(draw):
    """A clean map, patches and their corners."""
    size = draw(st.tuples(*[st.integers(4, 24)] * 2))
    patch = [draw(st.integers(1, max(1, extent // 3))) for extent in size]
    batch = draw(st.integers(1, 4))
    corners = [
        [draw(st.integers(0, extent - part)) for extent, part in zip(size, patch)]
        for _ in range(batch)
    ]
    return torch.rand(1, CHANNELS, *size), torch.rand(batch, CHANNELS, *patch), np.array(corners)


def overlaid(clean, patch, corners):
    maps = clean.repeat(len(patch), 1, 1, 1)
    for image, part, (row, col) in zip(maps, patch, corners):
        image[:, row : row + part.shape[1], col : col + part.shape[2]] = part
    return maps


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**31), st.booleans(), st.data())
def test_windows_equal_whole_maps_in_any_network(seed, by_difference, data):
    torch.manual_seed(seed)
    few = 1 if by_difference else sliding._DIFFERENCE_CHANNELS
    net = nn.Sequential(*data.draw(blocks())).eval()
    clean, patch, corners = data.draw(pasted())
    try:
        with torch.inference_mode():
            expected = net(overlaid(clean, patch, corners))
    except RuntimeError:
        return  # the map became too small for the next kernel
    graph = OperationGraph()
    for part in (patch, patch.flip(0)):
        graph.rewind()
        with torch.inference_mode(), mock.patch.object(sliding, '_DIFFERENCE_CHANNELS', few):
            expected = net(overlaid(clean, part, corners))
            y = net(WindowedTensor.pasted(clean.clone(), part.clone(), corners, graph))
        y = y.dense() if isinstance(y, WindowedTensor) else y
        # The promise for head outputs: 1e-4 of the largest value of the map.
        atol = 1e-4 * expected.abs().max().item()
        torch.testing.assert_close(y, expected, rtol=0, atol=max(atol, 1e-6))


def moved(x):
    return WindowedTensor.pasted(x.clean.clone(), x.patch, np.full((len(x), 2), 3), x.graph)


WRITES = {
    'a slice': lambda x: x[:, :2].mul_(2),
    'a crop': lambda x: x[..., 1:].relu_(),
    'a map with a slice': lambda x: (x[:, :2], x.relu_()),
    'by an unknown function': lambda x: x.fill_(1),
    'a map that a function returned as it is': lambda x: (x.float(), x.relu_()),
    'the result of a function that returned its input': lambda x: x.to(torch.float32).relu_(),
    'a map that a function returned as it is, in other windows': lambda x: x.type_as(
        moved(x)
    ).relu_(),
    'by index': lambda x: x.__setitem__((slice(None), 0), 1),
}


@pytest.mark.parametrize('write', WRITES.values(), ids=WRITES)
def test_writing_to_shared_maps_is_refused(write):
    clean = torch.rand(1, CHANNELS, 9, 9).contiguous(memory_format=torch.channels_last)
    corners = np.zeros((2, 2), int)
    windowed = WindowedTensor.pasted(
        clean, torch.rand(2, CHANNELS, 2, 2), corners, OperationGraph()
    )
    with pytest.raises(NotFollowed):
        write(windowed)


def test_in_place_operations_change_no_other_map():
    conv, graph = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), OperationGraph()
    clean = torch.rand(1, CHANNELS, 9, 9).contiguous(memory_format=torch.channels_last)
    untouched, corners = clean.clone(), np.array([[0, 0], [4, 6]])

    def run(x):
        y = conv(x)
        before = y - 1
        return x, before, y.relu_().mul_(3), y

    for _ in range(2):
        graph.rewind()
        patch = torch.randn(2, CHANNELS, 3, 3)
        with torch.inference_mode():
            wanted = run(overlaid(clean, patch, corners))
            found = run(WindowedTensor.pasted(clean, patch, corners, graph))
        assert found[1].owned
        assert found[2] is found[3]
        for a, b in zip(found, wanted):
            torch.testing.assert_close(a.dense(), b)
        assert torch.equal(clean, untouched)


def test_macs_are_counted_in_every_padding_mode():
    clean = torch.rand(1, 2, 12, 12).contiguous(memory_format=torch.channels_last)
    corners = np.array([[0, 0], [5, 6]])
    counts = []
    for mode in ('zeros', 'reflect', 'partial'):
        conv, graph = nn.Conv2d(2, 3, 3, padding=1), OperationGraph()
        swap_padding(conv, mode)
        with torch.inference_mode():
            conv(WindowedTensor.pasted(clean, torch.rand(2, 2, 2, 2), corners, graph))
        counts.append((graph.full_macs, graph.macs < graph.full_macs))
    assert counts == [(2 * 3 * 12 * 12 * 2 * 9, True)] * 3


@pytest.mark.parametrize('mode', ['zeros', 'reflect', 'partial'])
def test_a_batch_norm_that_alone_reads_a_convolution_is_not_run_again(mode, monkeypatch):
    net = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(True)).eval()
    nn.init.uniform_(net[1].running_mean)
    swap_padding(net, mode)
    clean = torch.rand(1, 2, 12, 12).contiguous(memory_format=torch.channels_last)
    corners, patch, graph = np.array([[2, 2], [9, 5]]), torch.rand(2, 2, 2, 2), OperationGraph()
    calls = []
    on_windows = pointwise.run_on_windows
    monkeypatch.setattr(
        pointwise, 'run_on_windows', lambda f, *a, **k: calls.append(f) or on_windows(f, *a, **k)
    )
    norms = []
    for _ in range(3):
        graph.rewind()
        with torch.inference_mode():
            y = net(WindowedTensor.pasted(clean, patch, corners, graph))
            torch.testing.assert_close(y.dense(), net(overlaid(clean, patch, corners)))
        norms.append(sum('batch_norm' in f.__name__ for f in calls))
    # Partial convolution adds its bias after it has weighted the windows.
    assert norms == ([1, 2, 3] if mode == 'partial' else [1, 1, 1])


def test_operations_that_were_not_recorded_are_refused_once_weights_are_folded():
    net = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3)).eval()
    clean = torch.rand(1, 2, 12, 12).contiguous(memory_format=torch.channels_last)
    corners, patch, graph = np.array([[2, 2]]), torch.rand(1, 2, 2, 2), OperationGraph()
    with torch.inference_mode():
        net(WindowedTensor.pasted(clean, patch, corners, graph))
        graph.rewind()
        y = net(WindowedTensor.pasted(clean, patch, corners, graph))
        with pytest.raises(NotFollowed):
            y.relu()


@pytest.mark.parametrize('mode', ['zeros', 'reflect', 'circular'])
def test_wide_kernels_of_many_channels_convolve_the_difference(mode, monkeypatch):
    calls = []
    add_convolved = sliding.add_convolved
    monkeypatch.setattr(
        sliding, 'add_convolved', lambda *args: calls.append(args) or add_convolved(*args)
    )
    conv = nn.Conv2d(sliding._DIFFERENCE_CHANNELS, 3, 3, padding=4, dilation=4)
    swap_padding(conv, mode)
    clean = torch.rand(1, sliding._DIFFERENCE_CHANNELS, 15, 15)
    patch, corners = torch.rand(2, sliding._DIFFERENCE_CHANNELS, 2, 3), np.array([[0, 4], [13, 12]])
    clean = clean.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        y = conv(WindowedTensor.pasted(clean, patch, corners, OperationGraph()))
        expected = conv(overlaid(clean, patch, corners))
    torch.testing.assert_close(y.dense(), expected)
    assert len(calls) == 1
