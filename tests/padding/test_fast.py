"""The fast paths of padded convolution equal padding the map and then convolving."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from mindpad_mm import swap_padding
from mindpad_mm.padding import borders, functional, get_modes, pad2d

INDEX_MODES = ['reflect', 'symmetric', 'replicate', 'circular']
PAIRS = [('reflect', 'circular'), ('zeros', 'replicate'), ('symmetric', 'zeros')]
# The shapes of SSD300's and SSDLite's padded convolutions whose maps are large enough for strips,
# some at a smaller size: (channels, height, width, outputs, kernel, stride, dilation, groups).
SHAPES = [
    (12, 300, 300, 64, 3, 1, 1, 1),
    (64, 150, 150, 64, 3, 1, 1, 1),
    (64, 150, 150, 128, 3, 1, 1, 1),
    (128, 150, 150, 128, 3, 1, 1, 1),
    (128, 75, 60, 256, 3, 1, 1, 1),
    (16, 240, 240, 32, 3, 2, 1, 1),
    (32, 160, 160, 32, 3, 1, 1, 32),
    (96, 80, 80, 96, 3, 2, 1, 96),
    (64, 64, 64, 64, 3, 1, 2, 1),
    (64, 64, 64, 64, 5, 1, 1, 4),
]
LIMITS = {limit: getattr(borders, limit) for limit in ('WIDEST_KERNEL', 'SMALLEST_STRIP')}


@pytest.fixture(autouse=True)
def _strips_at_any_size(monkeypatch):
    monkeypatch.setattr(borders, 'SMALLEST', 0)
    monkeypatch.setattr(borders, 'SMALLEST_STRIP', 0)
    monkeypatch.setattr(borders, 'WIDEST_KERNEL', float('inf'))
    monkeypatch.setattr(borders, 'WORK', float('inf'))
    monkeypatch.setattr(borders, 'WORK_IF_LARGE', float('inf'))


def reference(conv, mode):
    """Padding by indexing, then the stock convolution; differentiable."""
    rows, columns = get_modes(mode)
    down, along = conv.padding

    def run(x):
        up = torch.from_numpy(rows.source(x.shape[-2], down, down))
        left = torch.from_numpy(columns.source(x.shape[-1], along, along))
        padded = x[:, :, up.clamp(min=0)][..., left.clamp(min=0)]
        padded = padded * ((up >= 0)[:, None] & (left >= 0))
        return F.conv2d(padded, conv.weight, conv.bias, conv.stride, 0, conv.dilation, conv.groups)

    return run


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_border_strips_are_bit_equal_to_padding_the_whole_map(shape, layout, monkeypatch):
    for limit in ('WIDEST_KERNEL', 'SMALLEST_STRIP'):
        monkeypatch.setattr(borders, limit, LIMITS[limit])
    channels, height, width, outputs, kernel, stride, dilation, groups = shape
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(channels, outputs, kernel, stride, padding, dilation, groups)
    conv.to(memory_format=layout)
    x = torch.randn(2, channels, height, width).to(memory_format=layout)
    convolve = functional.Convolution(conv.weight, conv.stride, conv.dilation, groups)
    for mode in ('reflect', 'circular'):
        pads = (padding,) * 4
        modes = get_modes(mode)
        border = borders.border_of(x, convolve, modes, pads)
        assert border is not None
        with torch.no_grad():
            expected = convolve(pad2d(x, modes, pads), conv.bias, (0, 0))
            y = borders.convolve_borders(x, conv.bias, convolve, border)
        assert torch.equal(y, expected)
        assert y.stride() == expected.stride()


@given(
    size=st.tuples(st.integers(3, 16), st.integers(3, 16)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    padding=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    groups=st.sampled_from([1, 4]),
    mode=st.sampled_from(INDEX_MODES + PAIRS),
    channels_last=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_values_and_gradients_of_any_convolution_equal_the_reference(
    size, kernel, padding, stride, dilation, groups, mode, channels_last
):
    assume(any(padding))
    assume(all(n + 2 * p > d * (k - 1) for n, p, d, k in zip(size, padding, dilation, kernel)))
    conv = nn.Conv2d(4, 8, kernel, stride, padding, dilation, groups).double()
    x = torch.rand(2, 4, *size, dtype=torch.float64)
    x = (x.to(memory_format=torch.channels_last) if channels_last else x).requires_grad_()
    inputs = x, conv.weight, conv.bias
    expected = reference(conv, mode)(x)
    grad = torch.rand_like(expected)
    expected_grads = torch.autograd.grad(expected, inputs, grad)
    swap_padding(conv, mode)
    y = conv(x)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    kept = grad.clone()
    for got, wanted in zip(torch.autograd.grad(y, inputs, grad), expected_grads):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)
    assert torch.equal(grad, kept)
    with torch.no_grad():
        # Without gradients, strips may be used, which sum in another order.
        torch.testing.assert_close(conv(x), y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('strips', [True, False])
@pytest.mark.parametrize('mode', ['reflect', 'circular', 'partial', ('reflect', 'partial')])
def test_first_and_second_derivatives_are_right(mode, strips, monkeypatch):
    if not strips:
        monkeypatch.setattr(borders, 'SMALLEST', float('inf'))
    conv = nn.Conv2d(2, 2, 3, padding=1).double()
    swap_padding(conv, mode)
    x = torch.rand(1, 2, 5, 6, dtype=torch.float64, requires_grad=True)

    def run(x, weight, bias):
        return conv._conv_forward(x, weight, bias)

    inputs = x, conv.weight, conv.bias
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


@pytest.mark.parametrize('bias', [True, False])
def test_partial_changes_only_windows_that_reach_the_padding(bias):
    conv = nn.Conv2d(8, 8, 3, padding=1, bias=bias)
    x = torch.randn(2, 8, 20, 30)
    zeros = conv(x)
    swap_padding(conv, 'partial')
    y = conv(x)
    assert torch.equal(y[..., 1:-1, 1:-1], zeros[..., 1:-1, 1:-1])
    assert (y != zeros)[..., 0, :].all()
    assert (y != zeros)[..., -1].all()


@pytest.mark.parametrize('mode', ['reflect', 'partial'])
def test_training_works_after_inference(mode):
    conv = nn.Conv2d(2, 2, 3, padding=1)
    swap_padding(conv, mode)
    x = torch.rand(1, 2, 23, 29)
    with torch.inference_mode():
        y = conv(x)
    x.requires_grad_()
    (grad,) = torch.autograd.grad(conv(x).sum(), x, create_graph=True)
    (again,) = torch.autograd.grad(grad.square().sum(), conv.weight)
    torch.testing.assert_close(conv(x), y)
    assert again.isfinite().all()


@pytest.mark.parametrize('mode', [*INDEX_MODES, 'partial'])
def test_strips_in_bfloat16_autocast_are_right(mode):
    conv = nn.Conv2d(8, 8, 3, padding=1)
    x = torch.randn(2, 8, 24, 24)
    twin = copy.deepcopy(conv)
    swap_padding(conv, mode)
    swap_padding(twin, mode)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        y = conv(x)
    assert y.dtype is torch.bfloat16
    torch.testing.assert_close(y.float(), twin(x), rtol=2e-2, atol=2e-2)
    y.float().square().sum().backward()
    twin(x).square().sum().backward()
    error = (conv.weight.grad - twin.weight.grad).norm() / twin.weight.grad.norm()
    assert error < 2e-2


def test_gradients_are_right_with_an_in_place_activation():
    torch.manual_seed(0)
    stack = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3, padding=1)
    ).double()
    x = torch.rand(2, 3, 12, 12, dtype=torch.float64)
    first, last = reference(stack[0], 'circular'), reference(stack[2], 'circular')
    weights = tuple(stack.parameters())
    expected = torch.autograd.grad(last(first(x).relu()).square().sum(), weights)
    swap_padding(stack, 'circular')
    got = torch.autograd.grad(stack(x).square().sum(), weights)
    for ours, theirs in zip(got, expected):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('size', [(1, 64, 300, 300), (8, 128, 150, 150), (1, 96, 160, 160)])
def test_strips_are_used_for_large_maps_only(size, monkeypatch):
    monkeypatch.undo()
    groups = 96 if size[1] == 96 else 1
    weight = torch.empty(size[1], size[1] // groups, 3, 3)
    chosen = {
        shrink: borders.border_of(
            torch.empty(size[0], size[1], size[2] // shrink, size[3] // shrink),
            functional.Convolution(weight, (1, 1), (1, 1), groups),
            get_modes('reflect'),
            (1, 1, 1, 1),
        )
        for shrink in (1, 8)
    }
    assert chosen[1] is not None
    assert chosen[8] is None
