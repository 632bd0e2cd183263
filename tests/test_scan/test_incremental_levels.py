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
    result, expected = use(Level.of(windowed)[sample]), use(windowed.dense()[sample])
    assert result.shape == expected.shape
    torch.testing.assert_close(plain(result), expected)


def plain(result):
    return result.real() if isinstance(result, Level) else result


def test_scores_are_computed_in_the_window_only(windowed, monkeypatch):
    monkeypatch.setattr(Windowed, 'dense', lambda self: pytest.fail('the whole map was made'))
    scores = Level.of(windowed)[2].detach().permute(1, 2, 0).reshape(-1, 3).softmax(-1)[:, :-1]
    clean = windowed.clean.permute(0, 2, 3, 1).reshape(9, 8, 2, 3).softmax(-1)[..., :-1]
    clean[2:5, 3:5] = windowed.patch[2].permute(1, 2, 0).view(3, 2, 2, 3).softmax(-1)[..., :-1]
    rows = torch.randperm(144)[:50]
    torch.testing.assert_close(scores[rows], clean.reshape(144, 2)[rows])
    assert scores.shape == (144, 2)


def test_what_was_written_to_is_read_again(windowed):
    level, maps = Level.of(windowed), windowed.dense()
    for x in (level, maps):
        x[..., :4].mul_(3)
    scores = [plain(x[1].permute(1, 2, 0).reshape(-1, 3).softmax(-1)) for x in (level, maps)]
    torch.testing.assert_close(*scores)


def test_scores_that_were_written_to_are_read_again(windowed):
    given, expected = (
        x[1].permute(1, 2, 0).reshape(-1, 3).sigmoid()
        for x in (Level.of(windowed), windowed.dense())
    )
    for scores in (given, expected):
        scores.mul_(2)
    torch.testing.assert_close(plain(given[:, :-1]), expected[:, :-1])


def test_what_was_read_before_writing_is_changed_by_it(windowed):
    results = []
    for x in (Level.of(windowed), windowed.dense()):
        rows = x[0].permute(1, 2, 0).reshape(-1, 3)
        x.add_(1)
        results.append(plain(rows.sigmoid()))
    torch.testing.assert_close(*results)
