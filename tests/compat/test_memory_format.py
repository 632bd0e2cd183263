"""Compiled operators get contiguous tensors, whatever the memory format of their arguments."""

from __future__ import annotations

import itertools
import sys

import pytest
import torch
import torchvision

from mindpad_mm.compat import status
from mindpad_mm.compat.memory_format import (
    _channels_last_is_supported,
    _on_contiguous,
    compiled_ops_memory_format,
)
from mindpad_mm.compat.mmcv_ops import _replacement_of_ext, nms, roi_align_forward

LAST = torch.channels_last
LAYOUTS = {
    'contiguous': torch.clone,
    'channels_last': lambda x: x.to(memory_format=LAST),
    'a part': lambda x: torch.cat([x, x], -1)[..., ::2].copy_(x),
    'transposed': lambda x: x.mT.contiguous().mT,
}


def raw(x):
    """The tensor as a compiled operator reads it: as if it were contiguous."""
    return x.as_strided(x.shape, torch.empty(x.shape).stride())


def cumsum(x, scale, out):
    """Like a compiled operator: it writes its result to its last argument."""
    raw(out).copy_(raw(x).cumsum(-1) * scale)
    return x, out


@pytest.mark.parametrize(('given', 'written'), list(itertools.product(LAYOUTS, repeat=2)))
def test_an_operator_is_right_for_every_layout_of_its_arguments(given, written):
    values = torch.rand(2, 3, 4, 5)
    x, out = LAYOUTS[given](values), LAYOUTS[written](torch.full_like(values, torch.nan))
    strides = out.stride()
    got_x, got_out = _on_contiguous(cumsum)(x, 2, out=out)
    assert torch.equal(out, values.cumsum(-1) * 2)
    assert torch.equal(x, values)
    assert out.stride() == strides
    # No copies where none are needed.
    assert (got_x is x) == (given == 'contiguous')
    assert (got_out is out) == (written == 'contiguous')


def test_tensors_that_autograd_needs_are_not_written_to():
    weight, out = torch.ones(1, requires_grad=True), torch.empty(2, 3, 4, 5)
    leaf = LAYOUTS['channels_last'](torch.rand(2, 3, 4, 5)).requires_grad_()
    for x in (LAYOUTS['channels_last'](torch.rand(2, 3, 4, 5)), leaf):
        product = weight * x
        with torch.no_grad():
            _on_contiguous(cumsum)(x, 1, out)
        product.sum().backward()
        assert torch.equal(out, x.cumsum(-1))


def test_expanded_and_inference_tensors_are_accepted():
    with torch.inference_mode():
        of_inference = LAYOUTS['channels_last'](torch.rand(2, 3, 4, 5))
    out = torch.empty(2, 3, 4, 5)
    for x in (of_inference, torch.rand(1, 3, 1, 5).expand(2, 3, 4, 5)):
        _on_contiguous(cumsum)(x, 1, out)
        assert torch.equal(out, x.cumsum(-1))


@pytest.fixture
def ext(monkeypatch):
    """The module ``mmcv._ext``, restored after the test."""
    module = sys.modules['mmcv._ext']
    for name, value in list(vars(module).items()):
        monkeypatch.setitem(vars(module), name, value)
    monkeypatch.setattr(module, '__file__', '_ext.so', raising=False)
    return module


@pytest.mark.parametrize('misread', [None, 'modulated', 'plain', 'pooled'])
def test_it_is_applied_only_if_an_operator_is_wrong_for_channels_last(ext, monkeypatch, misread):
    def seen(kind, x):
        return raw(x) if kind == misread else x

    def modulated(x, weight, bias, ones, offset, mask, output, columns, **kwargs):
        x = seen('modulated', x)
        output.copy_(torchvision.ops.deform_conv2d(x, offset, weight, mask=mask))

    def plain(x, weight, offset, output, columns, ones, **kwargs):
        if not seen('plain', x).equal(x):
            raise RuntimeError('input must be contiguous')
        output.copy_(torchvision.ops.deform_conv2d(x, offset, weight))

    def pooled(x, *args, **kwargs):
        roi_align_forward(seen('pooled', x), *args, **kwargs)

    monkeypatch.setitem(vars(ext), 'modulated_deform_conv_forward', modulated)
    monkeypatch.setitem(vars(ext), 'deform_conv_forward', plain)
    monkeypatch.setitem(vars(ext), 'roi_align_forward', pooled)
    assert _channels_last_is_supported() is (misread is None)
    assert compiled_ops_memory_format() is (misread is not None)
    assert _channels_last_is_supported()
    assert (ext.roi_align_forward is pooled) is (misread is None)
    assert compiled_ops_memory_format() is False


def test_it_is_not_applied_on_mmcv_lite(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmcv._ext', _replacement_of_ext())
    assert compiled_ops_memory_format() is False
    assert sys.modules['mmcv._ext'].nms is nms


@pytest.mark.skipif(status()['mmcv_ops'], reason='mmcv-lite has no compiled ops')
@pytest.mark.parametrize('kind', ['modulated', 'plain', 'pooled'])
def test_compiled_ops_give_the_same_results_and_gradients_in_channels_last(kind):
    from mmcv.ops import deform_conv2d, modulated_deform_conv2d, roi_align

    torch.manual_seed(0)
    x, weight = torch.randn(2, 4, 9, 8), torch.randn(6, 2, 3, 3)
    offset, mask = torch.randn(2, 2 * 18, 9, 8), torch.rand(2, 2 * 9, 9, 8)
    rois = torch.tensor([[0, 1.5, 2, 7, 8], [1, 0, 0, 6, 4.5]])
    function, tensors = {
        # Stride, padding, dilation, groups, groups of offsets.
        'modulated': (lambda *t: modulated_deform_conv2d(*t, None, 1, 1, 1, 2, 2),
                      (x, offset, mask, weight)),
        'plain': (lambda *t: deform_conv2d(*t, 1, 1, 1, 2, 2), (x, offset, weight)),
        'pooled': (lambda t: roi_align(t, rois, 3), (x,)),
    }[kind]  # fmt: skip
    direction = torch.randn(function(*tensors).shape)

    def run(memory_format):
        leaves = [t.clone(memory_format=memory_format).requires_grad_() for t in tensors]
        result = function(*leaves)
        result.backward(direction.clone(memory_format=memory_format))
        return [result.detach(), *(leaf.grad for leaf in leaves)]

    for wanted, found in zip(run(torch.contiguous_format), run(LAST)):
        assert wanted.abs().max() > 0.1
        torch.testing.assert_close(found, wanted)
