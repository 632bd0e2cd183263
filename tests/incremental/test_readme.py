"""The engine's README: its example of a new operation runs, on windows."""

from __future__ import annotations

import mindpad_mm  # noqa: F401  # isort: skip  # first, so that MMDetection imports on mmcv-lite

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mindpad_mm.incremental import resample
from mindpad_mm.incremental.graph import OperationGraph
from mindpad_mm.incremental.windowed import HANDLERS, WindowedTensor

README = Path(resample.__file__).parent / 'README.md'


@pytest.fixture
def flip_handler():
    before = dict(HANDLERS)
    (example,) = re.findall(r'```python\n(.*?)```', README.read_text('utf-8'), re.DOTALL)
    exec(example, vars(resample).copy())
    yield
    HANDLERS.clear()
    HANDLERS.update(before)


FLIPS = {
    'positional': lambda x: x.flip(2, 3),
    'list': lambda x: x.flip([2]),
    'keyword': lambda x: torch.flip(x, dims=(-1,)),
    'one': lambda x: x.flip(-2),
}


@pytest.mark.parametrize('flip', FLIPS.values(), ids=FLIPS)
def test_the_example_equals_torch_without_falling_back(flip_handler, flip):
    graph = OperationGraph()
    convs = [nn.Conv2d(3, 3, 3, padding=1) for _ in range(2)]
    clean = torch.rand(1, 3, 11, 13).contiguous(memory_format=torch.channels_last)
    patch, corners = torch.rand(2, 3, 2, 2), np.array([[0, 1], [7, 5]])
    images = clean.repeat(2, 1, 1, 1)
    for image, part, (row, col) in zip(images, patch, corners):
        image[:, row : row + 2, col : col + 2] = part
    with torch.inference_mode():
        expected = convs[1](flip(convs[0](images)))
        found = convs[1](flip(convs[0](WindowedTensor.pasted(clean, patch, corners, graph))))
    torch.testing.assert_close(found.dense(), expected, rtol=0, atol=1e-5)
    assert not graph.fallbacks


def test_the_example_leaves_channels_to_whole_maps(flip_handler):
    graph = OperationGraph()
    clean = torch.rand(1, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    windowed = WindowedTensor.pasted(clean, torch.rand(1, 3, 2, 2), np.array([[1, 1]]), graph)
    with torch.inference_mode():
        found = windowed.flip(1)
        whole = found.dense() if isinstance(found, WindowedTensor) else found
        torch.testing.assert_close(whole, windowed.dense().flip(1))
    assert graph.fallbacks
