from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mindpad_mm.core.drawing import draw_light, draw_street
from mindpad_mm.traffic_lights import compose
from mindpad_mm.traffic_lights.positions import any_position


def extent(mask: np.ndarray) -> list[int]:
    """COCO box [x, y, w, h] of a mask."""
    ys, xs = np.nonzero(mask)
    return [xs.min(), ys.min(), xs.max() - xs.min() + 1, ys.max() - ys.min() + 1]


@settings(max_examples=60, deadline=None)
@given(st.integers(4, 40), st.integers(0, 10**6))
def test_a_pasted_light_changes_exactly_the_pixels_of_its_box(height, seed):
    rng = np.random.default_rng(seed)
    light = compose.resize(draw_light(64, 'green', seed), height, 80, rng)
    top, left = any_position(light.shape, 80, rng)
    # No light has this colour, so every pasted pixel changes the scene.
    before = np.full((80, 80, 3), -500, np.float32)
    after = before.copy()
    compose.blend(after, light.astype(np.float32), top, left)
    assert extent((after != before).any(2)) == [left, top, light.shape[1], light.shape[0]]
    assert abs(light.shape[0] - height) <= 1


@settings(max_examples=30, deadline=None)
@given(st.integers(8, 40), st.integers(0, 10**6))
def test_an_occluder_hides_the_share_it_reports_and_never_most_of_the_light(height, seed):
    rng = np.random.default_rng(seed)
    scene = draw_street(64, 64, rng).astype(np.float32)
    light = compose.resize(draw_light(64, 'red', seed), height, 64, rng)
    top, left = any_position(light.shape, 64, rng)
    compose.blend(scene, light.astype(np.float32), top, left)
    before = scene.copy()
    hidden = compose.occlude(scene, light, top, left, rng)
    assert 0 <= hidden <= 0.5
    window = np.s_[top : top + light.shape[0], left : left + light.shape[1]]
    changed = (scene[window] != before[window]).any(2)[light[..., 3] >= compose.VISIBLE].mean()
    assert changed >= hidden - 0.1  # a piece of scene can equal the pixels it hides by chance


def test_a_cut_out_drops_the_sky_and_keeps_the_housing():
    sky = np.full((90, 60, 3), (235, 225, 220), np.uint8)
    light = draw_light(80, 'red', 0)
    h, w = light.shape[:2]
    alpha = light[..., 3:] / 255
    spot = np.s_[5 : 5 + h, 12 : 12 + w]
    sky[spot] = (sky[spot] * (1 - alpha) + light[..., :3] * alpha).astype(np.uint8)
    cut = compose.cut_out(sky)
    assert abs(cut.shape[0] - h) <= 4
    assert abs(cut.shape[1] - w) <= 4
    assert 0.85 < (cut[..., 3] > 128).sum() / (light[..., 3] > 128).sum() < 1.1


@settings(max_examples=25, deadline=None)
@given(st.integers(6, 60), st.integers(6, 60), st.integers(0, 255), st.booleans())
def test_any_crop_can_be_cut_out_and_its_cut_out_is_tight(h, w, value, noisy):
    crop = np.full((h, w, 3), value, np.uint8)
    if noisy:
        crop = np.random.default_rng(value).integers(0, 256, (h, w, 3)).astype(np.uint8)
    cut = compose.cut_out(crop)
    assert extent(cut[..., 3] >= compose.VISIBLE) == [0, 0, cut.shape[1], cut.shape[0]]
    assert np.array_equal(cut, compose.cut_out(crop))


def test_lights_are_matched_to_dark_and_bright_surroundings():
    light = draw_light(40, 'red', 0)
    dark = np.full((20, 20, 3), 15, np.float32)
    bright = np.full((20, 20, 3), 230, np.float32)
    means = [
        np.mean([compose.match(light, place, np.random.default_rng(k)).mean() for k in range(20)])
        for place in (dark, bright)
    ]
    assert means[0] < means[1] - 5
