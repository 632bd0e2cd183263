"""Learned padding: it begins as zeros, pads as defined, and touches nothing else."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmdet.registry import MODELS
from torch import nn

from mindpad_mm import swap_padding
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import load_weights
from mindpad_mm.padding import get_modes, pad2d
from mindpad_mm.padding.learned import pad_learned
from tests.padding.test_onnx import NEWER, export

CONVS = [
    lambda: nn.Conv2d(3, 4, 3, padding=1),
    lambda: nn.Conv2d(3, 4, 3, 2, padding=1, bias=False),
    lambda: nn.Conv2d(4, 4, (5, 3), padding=(2, 0), groups=2),
    lambda: nn.Conv2d(3, 4, 3, padding=2, dilation=2),
    lambda: nn.Conv2d(4, 4, 4, padding='same', groups=4),
]


def with_random_values(net):
    for name, value in net.named_parameters():
        if name.endswith('learned_padding'):
            nn.init.uniform_(value, -1, 1)
    return net


@pytest.mark.parametrize('make', CONVS)
@pytest.mark.parametrize('size', [(16, 16), (15, 18), (5, 6)])
@torch.no_grad()
def test_it_begins_as_zeros_and_changes_only_outputs_that_read_padding(make, size):
    net = nn.Sequential(make())
    x = torch.rand(2, net[0].in_channels, *size)
    before = net(x)
    # Where ones are padded around zeros, outputs that read none of them stay 0.
    weights = copy.deepcopy(net[0])
    nn.init.ones_(weights.weight)
    if weights.bias is not None:
        nn.init.zeros_(weights.bias)
    swap_padding(net, 'learned')
    assert torch.equal(net(x), before)
    ring = swapped_copy(weights)
    ring.learned_padding[:, 1] = 1
    reads = (ring(torch.zeros_like(x)) > 0).expand_as(before)
    assert reads.any()
    with_random_values(net)
    assert torch.equal((net(x) != before) & ~reads, torch.zeros_like(reads))
    assert (net(x) != before)[reads].float().mean() > 0.95


def swapped_copy(conv):
    net = nn.Sequential(conv)
    swap_padding(net, 'learned')
    return net[0]


@given(
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    pads=st.tuples(*[st.integers(0, 4)] * 4),
    seed=st.integers(0, 99),
)
def test_a_padded_cell_is_the_nearest_cell_times_a_gain_plus_a_constant(size, pads, seed):
    rng = np.random.default_rng(seed)
    x, values = rng.normal(size=(2, 3, *size)), rng.normal(size=(4, 2, 3))
    top, bottom, left, right = pads
    expected = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), 'edge')
    wide = expected.shape[-1]
    for side, lines in (
        (0, np.s_[..., :top, :]), (1, np.s_[..., top + size[0] :, :]),
        (2, np.s_[..., :left]), (3, np.s_[..., wide - right :]),
    ):  # fmt: skip
        gain, constant = values[side][:, :, None, None]
        expected[lines] = expected[lines] * gain + constant
    tensors = torch.from_numpy(x), torch.from_numpy(values)
    with torch.no_grad():
        np.testing.assert_allclose(pad_learned(*tensors, pads).numpy(), expected, atol=1e-12)
    recorded = pad_learned(tensors[0], tensors[1].requires_grad_(), pads)
    np.testing.assert_allclose(recorded.detach().numpy(), expected, atol=1e-12)


def test_gradients_of_map_and_values_are_right():
    x = torch.rand(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    values = torch.rand(4, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, v: pad_learned(x, v, (1, 2, 0, 3)), (x, values))


@pytest.mark.parametrize('mode', ['learned', ('learned', 'circular'), ('partial', 'learned')])
@torch.no_grad()
def test_the_other_axis_keeps_a_mode_of_its_own(mode):
    conv = nn.Conv2d(3, 4, (3, 5), padding=(1, 2))
    x = torch.rand(2, 3, 9, 8)
    as_zeros = tuple('zeros' if each == 'learned' else each for each in mode)
    twin = copy.deepcopy(conv)
    swap_padding(twin, 'zeros' if mode == 'learned' else as_zeros)
    swap_padding(conv, mode)
    assert torch.equal(conv(x), twin(x))


def test_a_swap_adds_one_parameter_and_a_swap_back_removes_it():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3))
    keys = list(net.state_dict())
    swap_padding(net, 'learned')
    assert set(net.state_dict()) - set(keys) == {'0.learned_padding'}
    assert net[0].learned_padding.shape == (4, 2, 3)
    with_random_values(net)
    x = torch.rand(1, 3, 7, 7)
    y = net(x)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(twin(x), y)
    swap_padding(net, 'learned')
    assert torch.equal(net(x), y), 'what was learned stays'
    swap_padding(net, 'zeros')
    assert list(net.state_dict()) == keys
    assert type(net[0]) is nn.Conv2d


def test_layers_without_channels_of_their_own_are_left_alone_by_name():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(3, 1, 1), nn.ReflectionPad2d(1))
    report = swap_padding(net, 'learned', pool=True)
    assert [layer.name for layer in report.swapped] == ['0']
    assert [layer.name for layer in report.skipped] == ['1', '2']
    with pytest.raises(ValueError, match='values of its own in every convolution'):
        pad2d(torch.rand(1, 3, 4, 4), get_modes('learned'), (1, 1, 1, 1))


def test_a_config_builds_it_and_a_checkpoint_without_values_is_refused():
    cfg = dict(
        type='ResNet', depth=18, num_stages=1, out_indices=(0,), strides=(1,), dilations=(1,)
    )
    plain = MODELS.build(dict(cfg, _scope_='mmdet'))
    model = MODELS.build(dict(cfg, _scope_='mmdet', padding_cfg='learned'))
    with pytest.raises(UserError, match='mindpad adapt'):
        load_weights(model, plain.state_dict(), 'plain.pth')
    load_weights(model, with_random_values(model).state_dict(), 'adapted.pth')


def test_autocast_and_other_memory_formats_agree():
    net = with_random_values(swapped_copy(nn.Conv2d(3, 4, 3, padding=1)))
    x = torch.rand(2, 3, 9, 8)
    with torch.no_grad():
        y = net(x)
        strided = net(x.contiguous(memory_format=torch.channels_last))
        with torch.autocast('cpu', torch.bfloat16):
            half = net(x)
    torch.testing.assert_close(strided, y)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), y, rtol=0.05, atol=0.05)


@pytest.mark.parametrize('exporter', ['tracing', 'dynamo'])
@pytest.mark.filterwarnings('ignore')
def test_onnxruntime_agrees_for_other_sizes(exporter, tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime', reason='running the export needs onnxruntime')
    if exporter == 'dynamo' and not NEWER:
        pytest.skip("torch.onnx.export(dynamo=True) of this torch is not the exporter's final form")
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 4, (5, 3), padding=(2, 1), groups=4),
    ).eval()
    swap_padding(net, 'learned')
    with_random_values(net)
    path = str(tmp_path / 'model.onnx')
    export(net, torch.rand(2, 3, 40, 33), path, exporter)
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    for shape in ((1, 3, 40, 33), (2, 3, 21, 34)):
        x = torch.rand(shape)
        with torch.no_grad():
            expected = net(x)
        (y,) = session.run(None, {'x': x.numpy()})
        torch.testing.assert_close(torch.from_numpy(y), expected, rtol=1e-4, atol=1e-5)


def test_the_compiled_graph_agrees():
    net = with_random_values(swapped_copy(nn.Conv2d(3, 4, 3, padding=1)))
    compiled = torch.compile(net, backend='eager', fullgraph=True)
    for size in ((9, 8), (5, 12)):
        x = torch.rand(1, 3, *size)
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), net(x))
