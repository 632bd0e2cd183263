"""Only padding learns; it undoes what zeros do; an interrupted run goes on to the same values."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from mindpad_mm import zoo
from mindpad_mm.adapt.learn import learn, learned_values, with_learned_padding
from mindpad_mm.adapt.windows import Windows
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.journal import Journal
from mindpad_mm.core.objects import ScanObject
from mindpad_mm.diagnose import Subject
from mindpad_mm.padding import swap_padding
from mindpad_mm.settings.adapt import AdaptSettings

NOISE = [np.random.default_rng(0).integers(0, 256, (256, 260, 3), np.uint8)]


@pytest.fixture(scope='module')
def subject():
    return Subject.load(*map(str, zoo.model_files('zeros', 'ssd128')))


def windows(**changes):
    fields = dict(photos=NOISE, objects=[], size=(128, 128), surroundings=64, near=64)
    return Windows(**(fields | changes))


def test_only_padding_learns_and_all_else_stays_the_same_bits(subject):
    before = {name: value.clone() for name, value in subject.model.state_dict().items()}
    student, cfg = with_learned_padding(subject.model)
    losses = learn(subject, student, windows(), AdaptSettings(steps=2, batch=1))
    after = student.state_dict()
    assert cfg == {'mode': 'learned'}
    assert all(torch.equal(after[name], value) for name, value in before.items())
    learned = {name for name in after if name not in before}
    assert {name.rsplit('.', 1)[1] for name in learned} == {'learned_padding'}
    assert any(after[name].abs().max() > 0 for name in learned)
    assert losses.shape == (2,)
    assert all(torch.equal(subject.model.state_dict()[name], before[name]) for name in before)


def test_what_zeros_break_is_learned_from_the_larger_photo(subject):
    student, _ = with_learned_padding(subject.model)
    settings = AdaptSettings(steps=12, batch=1, rate=0.03)
    losses = learn(subject, student, windows(), settings)
    assert losses[-3:].mean() < 0.7 * losses[:2].mean()


def test_an_interrupted_run_learns_the_same_values(subject, tmp_path, monkeypatch):
    settings = AdaptSettings(steps=4, batch=1)
    student, _ = with_learned_padding(subject.model)
    losses = learn(subject, student, windows(), settings)
    monkeypatch.setattr('mindpad_mm.adapt.learn._STEPS_BETWEEN', 1)
    draw = Windows.draw

    def stops(self, step, count):
        if step == 2:
            raise KeyboardInterrupt
        return draw(self, step, count)

    again, _ = with_learned_padding(subject.model)
    monkeypatch.setattr(Windows, 'draw', stops)
    with pytest.raises(KeyboardInterrupt):
        learn(subject, again, windows(), settings, Journal(tmp_path, {}))
    monkeypatch.setattr(Windows, 'draw', draw)
    again, _ = with_learned_padding(subject.model)
    resumed = learn(subject, again, windows(), settings, Journal(tmp_path, {}))
    np.testing.assert_array_equal(resumed, losses)
    for one, other in zip(learned_values(student), learned_values(again)):
        assert torch.equal(one, other)


def test_layers_in_other_modes_keep_them(subject):
    swapped = copy.deepcopy(subject.model)
    swap_padding(swapped, 'reflect', include=['bbox_head.*'])
    _, cfg = with_learned_padding(swapped)
    assert cfg['exclude']
    assert all(name.startswith('bbox_head.') for name in cfg['exclude'])
    swap_padding(swapped, 'circular')
    with pytest.raises(UserError, match='nothing to learn'):
        with_learned_padding(swapped)


def test_windows_are_drawn_alike_and_objects_stand_inside_near_a_side():
    light = ScanObject.from_pixels(np.full((30, 12, 4), 255, np.uint8), 'light')
    dark = [np.zeros((300, 500, 3), np.uint8)]
    drawn = windows(photos=dark, objects=[light], sizes=(20, 28), near=16)
    for step in range(20):
        (window,) = drawn.draw(step, 1)
        assert window.shape == (256, 256, 3)
        np.testing.assert_array_equal(window, drawn.draw(step, 1)[0])
        rows, cols = np.nonzero(window[..., 0])
        low, high = (rows.min(), cols.min()), (rows.max(), cols.max())
        assert 19 <= high[0] - low[0] <= 27
        away = [first - 64 for first in low] + [191 - last for last in high]
        assert min(away) >= 0
        assert min(away) <= 16


def test_photos_are_scaled_so_that_a_window_and_its_surroundings_fit():
    for height, width in ((100, 300), (300, 100), (256, 256), (900, 700)):
        drawn = windows(photos=[np.zeros((height, width, 3), np.uint8)], size=(128, 72))
        found = drawn._photo(0)
        assert min(found.shape[0] - 256, found.shape[1] - 200) >= 0
        assert found.shape[0] == 256 or found.shape[1] == 200
        # Within a pixel of the same aspect ratio.
        assert abs(found.shape[0] * width - found.shape[1] * height) <= max(height, width)
