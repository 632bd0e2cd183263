"""A level gives post-processing what a plain tensor would, however it is used."""

from __future__ import annotations

import mindpad_mm  # noqa: F401  # isort: skip  # first, so that MMDetection imports on mmcv-lite

import numpy as np
import pytest
import torch

from mindpad_mm.scan.incremental import Level, Tape, Windowed


@pytest.fixture
def windowed():
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(1, 6, 9, 8, generator=generator)
    clean = clean.contiguous(memory_format=torch.channels_last)
    patch = torch.randn(3, 6, 3, 2, generator=generator)
    return Windowed.pasted(clean, patch, np.array([[0, 0], [6, 6], [2, 3]]), Tape())


USES = {
    'softmax': lambda x: x.detach().permute(1, 2, 0).reshape(-1, 3).softmax(-1),
    'sigmoid': lambda x: x.permute(1, 2, 0).reshape(-1, 2).sigmoid(),
    'softmax of another axis': lambda x: x.permute(1, 2, 0).reshape(-1, 2).softmax(0),
    'other rows': lambda x: x.permute(2, 1, 0).reshape(-1, 2).sigmoid(),
    'other order': lambda x: x.reshape(-1, 2).sigmoid(),
    'whole': lambda x: x.sigmoid(),
    'arithmetic': lambda x: 2 * x + x.exp(),
}


@pytest.mark.parametrize('use', USES.values(), ids=USES)
@pytest.mark.parametrize('sample', [0, 1, 2])
def test_every_use_gives_what_the_plain_tensor_gives(windowed, use, sample):
    result = use(Level.of(windowed)[sample])
    assert type(result) is torch.Tensor
    torch.testing.assert_close(result, use(windowed.dense()[sample]))


def test_scores_are_computed_in_the_window_only(windowed):
    rows = Level.of(windowed)[2].permute(1, 2, 0).reshape(-1, 3)
    rows.softmax(-1)
    with torch._C.DisableTorchFunctionSubclass():
        rows.zero_()  # unseen: what is outside the window must not be read again
    window = torch.zeros(9, 8, dtype=torch.bool)
    window[2:5, 3:5] = True
    scores = rows.softmax(-1).view(9, 8, 6)
    expected = windowed.clean.permute(0, 2, 3, 1).reshape(-1, 3).softmax(-1).view(9, 8, 6)
    torch.testing.assert_close(scores[~window], expected[~window])
    torch.testing.assert_close(scores[window], torch.full((6, 6), 1 / 3))


def test_what_was_written_to_is_read_again(windowed):
    level, plain = Level.of(windowed), windowed.dense()
    for maps in (level, plain):
        maps[..., :4].mul_(3)
    scores = [maps[1].permute(1, 2, 0).reshape(-1, 3).softmax(-1) for maps in (level, plain)]
    torch.testing.assert_close(*scores)
