"""A lazy level gives the same values as a plain tensor, however it is used."""

from __future__ import annotations

import mindpad_mm  # noqa: F401  # isort: skip  # first, so that MMDetection imports on mmcv-lite

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mindpad_mm.incremental import postprocess
from mindpad_mm.incremental.graph import OperationGraph
from mindpad_mm.incremental.levels import LazyLevel
from mindpad_mm.incremental.single_stage import restricted
from mindpad_mm.incremental.ties import Ties
from mindpad_mm.incremental.windowed import WindowedTensor


def windows(clean_size, size, corners, seed=0, channels=6):
    generator = torch.Generator().manual_seed(seed)
    clean, patch = (
        torch.randn(batch, channels, *each, generator=generator).to(
            memory_format=torch.channels_last
        )
        for batch, each in ((1, clean_size), (len(corners), size))
    )
    return WindowedTensor.pasted(clean, patch, np.array(corners), OperationGraph())


def partly_dirty():
    return windows((9, 8), (3, 2), [[0, 0], [6, 6], [2, 3]])


def fully_dirty():
    return windows((9, 8), (9, 8), [[0, 0]] * 3)


def all_clean():
    return WindowedTensor.all_clean(partly_dirty().clean, 3, OperationGraph())


@pytest.fixture(params=[partly_dirty, fully_dirty, all_clean])
def windowed(request):
    return request.param()


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
@pytest.mark.parametrize('sample', [0, 2, -1])
def test_every_use_equals_that_of_the_plain_tensor(windowed, use, sample):
    result, expected = use(LazyLevel.of(windowed)[sample]), use(windowed.dense()[sample])
    assert result.shape == expected.shape
    torch.testing.assert_close(plain(result), expected)
    if expected.dim() == 2:
        rows = torch.tensor([len(expected) - 1, 0, 3])
        torch.testing.assert_close(plain(result[rows]), expected[rows])


def plain(result):
    return result.real() if isinstance(result, LazyLevel) else result


def test_scores_are_computed_only_in_the_window(monkeypatch):
    windowed = partly_dirty()
    monkeypatch.setattr(WindowedTensor, 'dense', lambda self: pytest.fail('the whole map was made'))
    scores = LazyLevel.of(windowed)[2].detach().permute(1, 2, 0).reshape(-1, 3).softmax(-1)[:, :-1]
    clean = windowed.clean.permute(0, 2, 3, 1).reshape(9, 8, 2, 3).softmax(-1)[..., :-1]
    clean[2:5, 3:5] = windowed.patch[2].permute(1, 2, 0).view(3, 2, 2, 3).softmax(-1)[..., :-1]
    rows = torch.randperm(144)[:50]
    torch.testing.assert_close(scores[rows], clean.reshape(144, 2)[rows])
    assert scores.shape == (144, 2)


def test_writes_to_a_level_show_in_later_reads(windowed):
    level, maps = LazyLevel.of(windowed), windowed.dense().clone()
    for x in (level, maps):
        x[..., :4].mul_(3)
    scores = [plain(x[1].permute(1, 2, 0).reshape(-1, 3).softmax(-1)) for x in (level, maps)]
    torch.testing.assert_close(*scores)


def test_writes_to_scores_show_in_later_reads(windowed):
    given, expected = (
        x[1].permute(1, 2, 0).reshape(-1, 3).sigmoid()
        for x in (LazyLevel.of(windowed), windowed.dense().clone())
    )
    for scores in (given, expected):
        scores.mul_(2)
    torch.testing.assert_close(plain(given[:, :-1]), expected[:, :-1])


def test_writes_to_a_level_show_in_levels_derived_before(windowed):
    results = []
    for x in (LazyLevel.of(windowed), windowed.dense().clone()):
        rows = x[0].permute(1, 2, 0).reshape(-1, 3)
        x.add_(1)
        results.append(plain(rows.sigmoid()))
    torch.testing.assert_close(*results)


@st.composite
def levels(draw):
    """A head output, and the function that makes rows of one image's map."""
    size = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    window = [draw(st.integers(1, length)) for length in size]
    corner = st.tuples(*(st.integers(0, a - b) for a, b in zip(size, window)))
    corners = draw(st.lists(corner, min_size=1, max_size=3))
    priors, columns = draw(st.integers(1, 3)), draw(st.integers(2, 3))
    value = windows(size, window, corners, draw(st.integers(0, 99)), priors * columns)

    def plain_rows(maps):
        return maps.permute(1, 2, 0).reshape(-1, columns)

    def scores(maps):
        return plain_rows(maps).softmax(-1)[:, :-1]

    return value, draw(st.sampled_from([plain_rows, scores]))


def dense_rows(value, rows):
    return torch.stack([rows(maps) for maps in value.dense()])


@given(levels())
def test_window_rows_are_those_of_each_patch(level):
    value, rows = level
    every = rows(LazyLevel.of(value)[0]).window_rows(range(len(value)))
    assert len(every) == len(value)
    for new, patch in zip(every, value.patch):
        torch.testing.assert_close(new, rows(patch))


@given(levels())
def test_level_rows_are_the_places_of_window_rows(level):
    value, rows = level
    first = rows(LazyLevel.of(value)[0])
    new, plain = first.window_rows(range(len(value))), dense_rows(value, rows)
    sample, row = (part.flatten() for part in torch.meshgrid(
        torch.arange(len(new)), torch.arange(new.shape[1]), indexing='ij'))  # fmt: skip
    place = first.level_rows(sample, row)
    torch.testing.assert_close(plain[sample, place], new[sample, row])
    assert len(set(zip(sample.tolist(), place.tolist()))) == len(sample)
    assert torch.equal(first.level_rows(0, torch.arange(new.shape[1])), place[: new.shape[1]])


@given(levels(), st.randoms(use_true_random=False))
def test_rows_outside_a_window_are_all_others(level, random):
    value, rows = level
    first = rows(LazyLevel.of(value)[0])
    asked = random.choices(range(len(first)), k=10)
    outside = first.outside(torch.tensor(asked))
    assert outside.shape == (len(value), 10)
    window = torch.arange(first.window_rows(range(len(value))).shape[1])
    for sample, each in enumerate(outside.tolist()):
        new = set(first.level_rows(sample, window).tolist())
        assert each == [row not in new for row in asked]


@given(levels(), st.booleans(), st.randoms(use_true_random=False))
def test_taken_rows_equal_those_of_the_plain_tensor(level, dirty, random):
    value, rows = level
    if not dirty:
        value = WindowedTensor.all_clean(value.clean, len(value), OperationGraph())
    for sample, plain in enumerate(dense_rows(value, rows)):
        one = rows(LazyLevel.of(value)[sample])
        asked = torch.tensor(random.choices(range(-len(one), len(one)), k=random.randint(1, 20)))
        taken = one.take(asked)
        assert type(taken) is torch.Tensor
        torch.testing.assert_close(taken, plain[asked])
        # The caller may write to them.
        taken.fill_(9)
        torch.testing.assert_close(one.take(asked), plain[asked])
        assert one.take(asked[:0]).shape == (0, plain.shape[1])


@given(levels(), st.integers(0, 2), st.booleans(), st.randoms(use_true_random=False))
def test_rows_of_several_images_equal_those_of_the_plain_tensors(level, skipped, dirty, random):
    value, rows = level
    if not dirty:
        value = WindowedTensor.all_clean(value.clean, len(value), OperationGraph())
    images = range(skipped, len(value))
    one, plain = rows(LazyLevel.of(value)[0]), dense_rows(value, rows)
    asked = [torch.tensor(random.choices(range(len(one)), k=random.randint(0, 9)), dtype=torch.long)
             for _ in images]  # fmt: skip
    taken = one.take_each(asked, skipped) if images else []
    assert len(taken) == len(images)
    for sample, index, found in zip(images, asked, taken):
        torch.testing.assert_close(found, plain[sample, index])


def test_post_processing_may_write_to_the_rows_it_gets():
    scores, deltas = partly_dirty(), partly_dirty()
    best = postprocess._BatchedTopk(Ties(5), nms_finds_ties=True)

    def ask():
        level = LazyLevel.of(scores)[1].permute(1, 2, 0).reshape(-1, 3).sigmoid()
        rows = LazyLevel.of(deltas)[1].permute(1, 2, 0).reshape(-1, 3)
        return best(level, 0.1, 10, {'deltas': rows})[3]['deltas']

    first = ask()
    wanted = first.clone()
    first.mul_(3)
    assert torch.equal(ask(), wanted)


def test_writing_to_restricted_outputs_does_not_change_the_clean_map():
    clean = torch.randn(1, 6, 1, 1).contiguous(memory_format=torch.channels_last)
    untouched = clean.clone()
    ((value,),) = restricted(((WindowedTensor.all_clean(clean, 1, OperationGraph()),),), {})
    LazyLevel.of(value)[0].permute(1, 2, 0).reshape(-1, 3).mul_(5)
    assert torch.equal(clean, untouched)
