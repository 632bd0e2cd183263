from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindpad_mm.core.drawing import LIT, draw_light, draw_street


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 150), st.sampled_from(LIT), st.integers(0, 10**6))
def test_a_light_fills_its_box_to_every_border(height, lit, seed):
    light = draw_light(height, lit, seed)
    assert light.dtype == np.uint8
    assert light.shape[0] == height
    assert light.shape[2] == 4
    alpha = light[..., 3]
    for edge in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]):
        assert edge.max() >= 128
    assert np.median(alpha) > 240


@pytest.mark.parametrize(('lit', 'third'), [('red', 0), ('yellow', 1), ('green', 2)])
def test_the_lamp_asked_for_is_the_bright_one(lit, third):
    for seed in range(10):
        light = draw_light(60, lit, seed)
        column = light[:, light.shape[1] // 2, :3].max(1)
        assert np.argmax([column[10], column[30], column[50]]) == third
        hue = cv2.cvtColor(light[..., :3], cv2.COLOR_BGR2HSV)
        brightest = hue[[10, 30, 50][third], light.shape[1] // 4 : -light.shape[1] // 4, 0]
        low, high = {'red': (170, 190), 'yellow': (15, 30), 'green': (60, 95)}[lit]
        assert low <= np.median(np.where(brightest < 5, brightest.astype(int) + 180, brightest))
        assert np.median(np.where(brightest < 5, brightest.astype(int) + 180, brightest)) <= high


def test_the_same_seed_gives_the_same_drawing():
    assert np.array_equal(draw_light(40), draw_light(40, 'red', 0))
    assert np.array_equal(
        draw_light(40, 'green', np.random.default_rng(5)), draw_light(40, 'green', 5)
    )
    assert not np.array_equal(draw_street(64, 64, 1), draw_street(64, 64, 2))
    assert np.array_equal(draw_street(64, 96, 3), draw_street(64, 96, np.random.default_rng(3)))


@pytest.mark.parametrize('shape', [(16, 16), (33, 100), (100, 33), (320, 320)])
def test_a_street_has_the_size_asked_for_and_is_not_flat(shape):
    street = draw_street(*shape, rng=0)
    assert street.shape == (*shape, 3)
    assert street.dtype == np.uint8
    assert street.std() > 15


def test_impossible_drawings_are_refused():
    with pytest.raises(ValueError, match='at least 4'):
        draw_light(3)
    with pytest.raises(ValueError, match='red, yellow, green'):
        draw_light(30, 'blue')
    with pytest.raises(ValueError, match='at least 16'):
        draw_street(15, 100, 0)
