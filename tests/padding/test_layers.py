"""Padded layers equal padding by numpy or torch, followed by the stock layer."""

import copy
import gc
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mmcv.cnn import ConvModule
from mmcv.cnn.bricks.conv2d_adaptive_padding import Conv2dAdaptivePadding
from mmcv.cnn.bricks.conv_ws import ConvAWS2d, ConvWS2d
from mmcv.cnn.bricks.wrappers import Conv2d as MMCVConv2d
from mmdet.models.layers.normed_predictor import NormedConv2d
from torch import nn
from torch.autograd import forward_ad
from torch.nn.utils.parametrizations import orthogonal, spectral_norm, weight_norm
from torch.nn.utils.parametrize import remove_parametrizations

from mindpad_mm import swap_padding
from mindpad_mm.core.errors import UserError
from mindpad_mm.padding import borders

NUMPY = dict(
    zeros='constant', reflect='reflect', symmetric='symmetric', replicate='edge', circular='wrap'
)
INDEX_MODES = ['reflect', 'symmetric', 'replicate', 'circular']
MODES = ['zeros', *INDEX_MODES, 'partial']


def numpy_pad(x, mode, pads):
    pads = ((0, 0), (0, 0), pads[:2], pads[2:])
    return torch.from_numpy(np.pad(x.detach().numpy(), pads, mode=NUMPY[mode]))


def partial_convolution(x, conv):
    """Partial convolution by its definition: a mask convolved with ones counts the cells of the map."""
    x, weight = x.double(), conv.weight.double()
    geometry = dict(stride=conv.stride, padding=conv.padding, dilation=conv.dilation)
    mask = torch.ones(1, 1, *x.shape[-2:], dtype=torch.float64)
    area = F.conv2d(mask, torch.ones(1, 1, *conv.kernel_size, dtype=torch.float64), **geometry)
    y = F.conv2d(x, weight, groups=conv.groups, **geometry)
    y = torch.where(area > 0, y * np.prod(conv.kernel_size) / area.clamp(min=1), 0.0)
    return y if conv.bias is None else y + conv.bias.double()[:, None, None]


@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    padding=st.tuples(st.integers(0, 6), st.integers(0, 6)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilation=st.integers(1, 3),
    groups=st.sampled_from([1, 2, 4]),
    bias=st.booleans(),
    mode=st.sampled_from(MODES),
)
@settings(max_examples=300)
def test_any_convolution_in_any_mode_equals_the_reference(
    size, kernel, padding, stride, dilation, groups, bias, mode
):
    assume(any(padding))
    for axis in range(2):
        assume(size[axis] + 2 * padding[axis] > dilation * (kernel[axis] - 1))
    conv = nn.Conv2d(4, 4, kernel, stride, padding, dilation, groups, bias).double()
    x = torch.rand(2, 4, *size, dtype=torch.float64)
    if mode == 'partial':
        expected = partial_convolution(x, conv)
    else:
        pads = (padding[0],) * 2 + (padding[1],) * 2
        padded = numpy_pad(x, mode, pads)
        expected = F.conv2d(padded, conv.weight, conv.bias, stride, 0, dilation, groups)
    swap_padding(conv, mode)
    torch.testing.assert_close(conv(x), expected, rtol=1e-10, atol=1e-12)


@given(mode=st.tuples(st.sampled_from(INDEX_MODES), st.sampled_from(['zeros', 'partial'])))
def test_a_pair_of_modes_pads_each_axis_by_its_own(mode):
    conv = nn.Conv2d(2, 3, 3, padding=1).double()
    x = torch.rand(1, 2, 5, 4, dtype=torch.float64)
    tall = numpy_pad(x, mode[0], (1, 1, 0, 0))
    if mode[1] == 'zeros':
        expected = F.conv2d(tall, conv.weight, conv.bias, padding=(0, 1))
    else:
        half = copy.deepcopy(conv)
        half.padding = (0, 1)
        expected = partial_convolution(tall, half)
    swap_padding(conv, mode)
    torch.testing.assert_close(conv(x), expected, rtol=1e-10, atol=1e-12)


def test_the_asymmetric_padding_of_an_even_kernel_stays():
    conv = nn.Conv2d(1, 1, 4, padding='same', bias=False).double()
    x = torch.rand(1, 1, 6, 6, dtype=torch.float64)
    expected = F.conv2d(numpy_pad(x, 'reflect', (1, 2, 1, 2)), conv.weight)
    swap_padding(conv, 'reflect')
    torch.testing.assert_close(conv(x), expected)


@pytest.mark.parametrize('mode', MODES)
def test_only_index_modes_keep_a_constant_map_constant(mode):
    conv = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    swap_padding(conv, mode)
    y = conv(torch.ones(1, 1, 5, 5))
    is_constant = torch.allclose(y, y[0, 0, 2, 2].expand_as(y), atol=1e-6)
    assert is_constant == (mode in INDEX_MODES)


def reference_conv(stock, pads=(1, 1, 1, 1)):
    """The stock layer without its own padding, over a map padded by numpy."""
    bare = copy.deepcopy(stock)
    bare.padding = (0, 0)
    return lambda x, mode: bare(numpy_pad(x, mode, pads))


@pytest.mark.parametrize('mode', INDEX_MODES)
@pytest.mark.parametrize('cls', [MMCVConv2d, ConvWS2d, ConvAWS2d, NormedConv2d])
def test_mmdetections_convolutions_run_their_own_forward(cls, mode):
    conv = cls(4, 6, 3, padding=1)
    x = torch.rand(2, 4, 7, 7)
    expected = reference_conv(conv)(x, mode)
    swap_padding(conv, mode)
    torch.testing.assert_close(conv(x), expected)


@pytest.mark.parametrize('cls', [ConvWS2d, ConvAWS2d])
def test_weight_standardised_convolutions_reweight_in_partial(cls):
    conv = cls(2, 3, 3, padding=1)
    x = torch.rand(1, 2, 9, 9)
    bias = conv.bias[:, None, None]
    expected = (conv(x) - bias)[..., 0, 0] * 9 / 4 + conv.bias
    swap_padding(conv, 'partial')
    torch.testing.assert_close(conv(x)[..., 0, 0], expected)


@given(
    size=st.integers(1, 12),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    mode=st.sampled_from(INDEX_MODES),
)
def test_tensorflow_style_same_padding_follows_the_input_size(size, kernel, stride, mode):
    conv = Conv2dAdaptivePadding(2, 2, kernel, stride)
    x = torch.rand(1, 2, size, size)
    windows = -(-size // stride)
    total = max((windows - 1) * stride + kernel - size, 0)
    pads = (total // 2, total - total // 2) * 2
    expected = F.conv2d(numpy_pad(x, mode, pads), conv.weight, conv.bias, stride)
    swap_padding(conv, mode)
    y = conv(x)
    assert y.shape[-1] == windows
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize('explicit', ['reflect', 'replicate', 'zero'])
@pytest.mark.parametrize('mode', MODES)
def test_a_conv_module_that_pads_explicitly_is_padded_once(explicit, mode):
    block = ConvModule(3, 4, 3, padding=1, padding_mode=explicit, act_cfg=None)
    plain = ConvModule(3, 4, 3, padding=1, act_cfg=None)
    plain.load_state_dict(block.state_dict(), strict=True)
    report = swap_padding(block, mode)
    swap_padding(plain, mode)
    assert [layer.before for layer in report.swapped] == [{'zero': 'zeros'}.get(explicit, explicit)]
    x = torch.rand(1, 3, 6, 6)
    assert torch.equal(block(x), plain(x))


@given(
    size=st.tuples(st.integers(2, 9), st.integers(2, 9)),
    kernel=st.integers(2, 4),
    stride=st.integers(1, 3),
    ceil_mode=st.booleans(),
    mode=st.sampled_from(INDEX_MODES),
    kind=st.sampled_from(['max', 'avg']),
)
def test_pooling_equals_pooling_the_padded_map(size, kernel, stride, ceil_mode, mode, kind):
    padding = kernel // 2
    cls, pool = (nn.MaxPool2d, F.max_pool2d) if kind == 'max' else (nn.AvgPool2d, F.avg_pool2d)
    layer = cls(kernel, stride, padding, ceil_mode=ceil_mode)
    x = torch.rand(1, 2, *size)
    native = layer(x)
    padded = numpy_pad(x, mode, (padding,) * 4)
    expected = pool(padded, kernel, stride, 0, ceil_mode=ceil_mode)
    swap_padding(layer, mode, pool=True)
    y = layer(x)
    assert y.shape == native.shape
    assert torch.equal(y, expected[..., : native.shape[-2], : native.shape[-1]])


@pytest.mark.parametrize('other', ['zeros', 'partial', 'reflect'])
def test_partial_average_pooling_counts_cells_of_the_map_only(other):
    layer = nn.AvgPool2d(3, 1, 1)
    x = torch.rand(1, 2, 5, 6)
    tall = x if other != 'reflect' else numpy_pad(x, 'reflect', (0, 0, 1, 1))
    if other == 'zeros':
        tall = F.pad(x, (1, 1))
    padding = (1, 1) if other == 'partial' else (1, 0)
    expected = F.avg_pool2d(tall, 3, 1, padding, count_include_pad=False)
    swap_padding(layer, ('partial', other), pool=True)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize('cls', [nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d])
@pytest.mark.parametrize('mode', ['zeros', *INDEX_MODES])
def test_padding_layers_are_swapped(cls, mode):
    layer = cls((1, 2, 3, 0))
    x = torch.rand(1, 1, 4, 4)
    swap_padding(layer, mode)
    assert torch.equal(layer(x), numpy_pad(x, mode, (3, 0, 1, 2)))


@pytest.mark.parametrize(
    'layer', [nn.ConstantPad2d(1, 0.5), nn.ZeroPad2d(-1), nn.ConstantPad1d(1, 0)]
)
def test_padding_layers_that_do_something_else_are_refused(layer):
    with pytest.raises(UserError, match='nothing to swap'):
        swap_padding(layer, 'reflect')


@pytest.mark.parametrize('mode', [*MODES, ('reflect', 'partial')])
def test_a_swapped_layer_can_be_pickled_and_copied(mode):
    conv = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), ConvWS2d(2, 2, 3, padding=1))
    swap_padding(conv, mode)
    x = torch.rand(1, 2, 5, 5)
    for twin in (copy.deepcopy(conv), pickle.loads(pickle.dumps(conv))):
        assert torch.equal(twin(x), conv(x))
        assert twin.state_dict().keys() == conv.state_dict().keys()


@pytest.mark.parametrize('mode', MODES)
def test_training_in_bfloat16_autocast_keeps_its_dtype_and_finite_gradients(mode):
    conv = nn.Conv2d(3, 4, 3, padding=1)
    swap_padding(conv, mode)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        y = conv(torch.rand(2, 3, 8, 8))
    assert y.dtype is torch.bfloat16
    y.float().sum().backward()
    assert conv.weight.grad.isfinite().all()


COMPILED = [(nn.Conv2d, mode) for mode in [*MODES, ('reflect', 'partial')]]
COMPILED += [(cls, 'partial') for cls in (ConvWS2d, ConvAWS2d, Conv2dAdaptivePadding)]


@pytest.mark.parametrize(('cls', 'mode'), COMPILED)
def test_torch_compile_captures_the_whole_layer_and_agrees(cls, mode):
    conv = cls(3, 4, 3, padding=1).double()
    swap_padding(conv, mode)
    x = torch.rand(2, 3, 8, 9, dtype=torch.float64)
    torch._dynamo.reset()
    compiled = torch.compile(conv, fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(x), conv(x))
    weight = torch.rand(2, 4, 8, 9)
    (grad,) = torch.autograd.grad((compiled(x) * weight).sum(), conv.weight)
    (expected,) = torch.autograd.grad((conv(x) * weight).sum(), conv.weight)
    torch.testing.assert_close(grad, expected)


def test_memory_format_is_kept():
    conv = nn.Conv2d(8, 8, 3, padding=1).to(memory_format=torch.channels_last)
    swap_padding(conv, 'symmetric')
    y = conv(torch.rand(2, 8, 9, 9).to(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize('strips', [True, False])
@pytest.mark.parametrize('mode', [*INDEX_MODES, 'partial', ('reflect', 'zeros')])
def test_torch_func_and_forward_mode_gradients_agree_with_backward(mode, strips, monkeypatch):
    if strips:
        monkeypatch.setattr(borders, 'SMALLEST', 0)
        monkeypatch.setattr(borders, 'SMALLEST_STRIP', 0)
    conv = nn.Conv2d(2, 3, 3, padding=1).double()
    swap_padding(conv, mode)
    weights = dict(conv.named_parameters())
    x, t = torch.rand(2, 3, 2, 12, 13, dtype=torch.float64)

    def loss(weights, one):
        return torch.func.functional_call(conv, weights, (one[None],)).square().sum()

    grads = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weights, x)
    for index in range(len(x)):
        one = torch.autograd.grad(conv(x[index : index + 1]).square().sum(), conv.parameters())
        for name, expected in zip(weights, one):
            torch.testing.assert_close(grads[name][index], expected)
    expected = conv(t) - conv(torch.zeros_like(t))  # without its bias, a convolution is linear
    torch.testing.assert_close(torch.func.jvp(conv, (x,), (t,))[1], expected)
    with forward_ad.dual_level():
        y = conv(forward_ad.make_dual(x, t))
        torch.testing.assert_close(forward_ad.unpack_dual(y).tangent, expected)


PARAMETRISATIONS = [weight_norm, spectral_norm, orthogonal]


@pytest.mark.parametrize('parametrise', PARAMETRISATIONS)
@pytest.mark.parametrize('swapped_before', [True, False])
def test_swap_and_parametrisation_work_in_any_order(parametrise, swapped_before):
    conv = nn.Conv2d(2, 3, 3, padding=1).eval()
    x = torch.rand(1, 2, 6, 6)
    if swapped_before:
        swap_padding(conv, 'circular')
    parametrise(conv).eval()
    copied = copy.deepcopy(conv)
    expected = {'zeros': F.conv2d(x, conv.weight, conv.bias, padding=1)}
    padded = numpy_pad(x, 'reflect', (1, 1, 1, 1))
    expected['reflect'] = F.conv2d(padded, conv.weight, conv.bias)
    for mode in ('reflect', 'zeros', 'reflect'):
        (layer,) = swap_padding(conv, mode).swapped
        assert layer.kind == 'Conv2d'
        torch.testing.assert_close(conv(x), expected[mode])
        torch.testing.assert_close(copy.deepcopy(conv)(x), expected[mode])
    assert copied.padding_mode == ('circular' if swapped_before else 'zeros')
    assert not torch.equal(copied(x), conv(x))
    remove_parametrizations(conv, 'weight')
    torch.testing.assert_close(conv(x), expected['reflect'])
    swap_padding(conv, 'zeros')
    assert type(conv) is nn.Conv2d
    torch.testing.assert_close(conv(x), expected['zeros'])


def test_a_subclass_given_to_a_swapped_layer_stays():
    conv = nn.Conv2d(1, 1, 3, padding=1)
    x = torch.rand(1, 1, 4, 4)
    expected = conv(x)
    swap_padding(conv, 'reflect')
    over = conv.__class__ = type('Over', (type(conv),), {})
    assert copy.copy(conv)(x).equal(conv(x))
    swap_padding(conv, 'zeros')
    assert type(conv) is type(copy.copy(conv)) is over
    torch.testing.assert_close(conv(x), expected)


def test_swapping_parametrised_convolutions_leaks_no_class():
    def classes():
        gc.collect()
        return sum(isinstance(each, type) for each in gc.get_objects())

    def swap_one():
        conv = weight_norm(nn.Conv2d(1, 1, 3, padding=1))
        swap_padding(conv, 'reflect')

    swap_one()
    before = classes()
    for _ in range(5):
        swap_one()
    assert classes() == before
