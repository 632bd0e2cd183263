"""A graph that was traced with one map size works for other sizes, in every mode."""

import warnings

import pytest
import torch
from torch import nn

from mindpad_mm import swap_padding
from mindpad_mm.padding import PADDING_MODES, PaddingMode
from tests.padding.every_mode import MODES


def network(mode):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(8, 6, 3, padding=6, dilation=6),
        nn.Conv2d(6, 6, 4, padding='same'),
        nn.AvgPool2d(2, 2, 1),
        nn.Conv2d(6, 6, 3, padding=1, bias=False),
    )
    swap_padding(net, mode, pool=True)
    return net.eval()


@pytest.mark.parametrize('traced', [(1, 1), (10, 11), (40, 33)])
@pytest.mark.parametrize('mode', MODES, ids=str)
def test_a_trace_works_for_maps_of_other_sizes(mode, traced):
    net = network(mode)
    with warnings.catch_warnings():
        warnings.simplefilter('error', torch.jit.TracerWarning)
        graph = torch.jit.trace(net, torch.rand(1, 3, *traced), check_trace=False)
    for size in [(10, 11), (20, 24), (3, 50), (1, 1)]:
        x = torch.rand(2, 3, *size)
        torch.testing.assert_close(graph(x), net(x))


def test_tracing_a_mode_that_branches_warns():
    @PADDING_MODES.register_module(name='branching')
    class Branching(PaddingMode):
        def outside(self, position, size):
            return min(size // 2, 3)

    try:
        net = nn.Conv2d(1, 1, 3, padding=1)
        swap_padding(net, 'branching')
    finally:
        PADDING_MODES.module_dict.pop('branching')
    x = torch.rand(1, 1, 9, 8)
    with pytest.warns(torch.jit.TracerWarning):
        graph = torch.jit.trace(net, x, check_trace=False)
    torch.testing.assert_close(graph(x), net(x))
