"""The demand contains all cells that a result depends on, and computing only these is enough."""

from __future__ import annotations

import mindpad_mm  # noqa: F401  # isort: skip  # first, so that MMDetection imports on mmcv-lite

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mindpad_mm.incremental.graph import Demand, OperationGraph
from mindpad_mm.incremental.windowed import WindowedTensor
from tests.incremental.test_windowed import CHANNELS, blocks, overlaid, pasted


def rectangles(data, batch, sizes):
    """Intervals of rows and columns for each image."""
    axes = []
    for size in sizes:
        low = np.array([data.draw(st.integers(0, size - 1)) for _ in range(batch)])
        high = np.array([data.draw(st.integers(int(first) + 1, size)) for first in low])
        axes.append((low, high))
    return tuple(axes)


def part(maps, cells, image):
    (top, bottom), (left, right) = cells
    return maps[image, :, top[image] : bottom[image], left[image] : right[image]]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**31), st.data())
def test_wanted_cells_are_right_and_depend_only_on_the_demand(seed, data):
    torch.manual_seed(seed)
    net = nn.Sequential(*data.draw(blocks())).eval()
    clean, patch, corners = data.draw(pasted())
    maps, batch = overlaid(clean, patch, corners), len(corners)
    graph = OperationGraph()

    def run():
        graph.rewind()
        return net(WindowedTensor.pasted(clean, patch.clone(), corners, graph) * 1)

    with torch.inference_mode():
        try:
            expected = net(maps.clone())
        except RuntimeError:
            return  # the map became too small for the next kernel
        y = run()
        last = graph.operation_of(y.clean) if isinstance(y, WindowedTensor) else None
        if last is None:
            return  # it ran on whole maps, for which there is no demand
        cells = rectangles(data, batch, expected.shape[-2:])
        graph.demand = Demand(graph, {last: cells}, batch)
        found = run().dense()
        needed = graph.demand.needs.get(graph.operations[0])
        elsewhere = torch.randn(maps.shape)
        for image in range(batch) if needed is not None else ():
            (top, bottom), (left, right) = ((low[image], high[image]) for low, high in needed)
            inside = slice(max(top, 0), bottom), slice(max(left, 0), right)
            elsewhere[image][:, inside[0], inside[1]] = maps[image][:, inside[0], inside[1]]
        other = net(elsewhere)
        atol = max(1e-4 * expected.abs().max().item(), 1e-6)
        for image in range(batch):
            wanted = part(expected, cells, image)
            torch.testing.assert_close(part(found, cells, image), wanted, rtol=0, atol=atol)
            torch.testing.assert_close(part(other, cells, image), wanted, rtol=0, atol=atol)


def test_operations_without_demand_do_not_run():
    conv, other = nn.Conv2d(CHANNELS, 2, 3), nn.Conv2d(CHANNELS, 3, 3)
    clean, patch, corners = torch.rand(1, CHANNELS, 9, 9), torch.rand(1, CHANNELS, 2, 2), [[3, 3]]
    graph = OperationGraph()

    def run():
        graph.rewind()
        x = WindowedTensor.pasted(clean, patch, np.array(corners), graph)
        return conv(x), other(x)

    with torch.inference_mode():
        first, _ = run()
        one = np.array([2]), np.array([3])
        graph.demand = Demand(graph, {graph.operation_of(first.clean): (one, one)}, 1)
        graph.macs = 0.0
        first, second = run()
    assert 0 < graph.macs <= 2 * CHANNELS * 9
    assert first.is_dirty
    assert not second.is_dirty
    assert torch.equal(second.dense(), second.clean)
