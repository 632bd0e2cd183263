"""The grid's pattern is found where it is, and nothing else is taken for it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from mindpad_mm.scan.phase import estimate_phase

SQUARE = [(8, 8), (16, 16), (32, 32)]
TRUE_STRIDE = 300 / 19


def a_map(function, size=208, stride=2):
    """Scores of ``function(rows (R, 1), cols (1, C))``, the rows and the columns."""
    lines = np.arange(0, size - 15, stride)
    scores = np.broadcast_to(function(lines[:, None], lines[None]), (len(lines), len(lines)))
    return scores.astype(float), lines, lines


def waves(rows, cols, vertical, horizontal, depth=0.3):
    return 0.5 + depth * np.cos(2 * np.pi * rows / vertical) * np.cos(2 * np.pi * cols / horizontal)


def noise(shape, sd, seed=0):
    return np.random.default_rng(seed).normal(0, sd, shape)


@pytest.mark.parametrize('stride', [1, 2, 3, 4, 5, 7])
def test_period_that_is_no_whole_number_is_found_at_any_stride(stride):
    scores, *lines = a_map(lambda r, c: waves(r, c, TRUE_STRIDE, TRUE_STRIDE), 300, stride)
    scores = scores + noise(scores.shape, 0.05)
    levels = [(p, p) for p in (TRUE_STRIDE, 15, 30, 60, 100)]
    found = estimate_phase(scores, *lines, levels)
    assert found.period == (TRUE_STRIDE, TRUE_STRIDE)
    # The pattern makes .9 of the variance; the rest is noise, and what differs within a bin.
    assert found.share == pytest.approx(0.9, abs=0.04)
    assert found.amplitude == pytest.approx(0.6, abs=0.05)
    # The whole number next to it is another pattern.
    assert estimate_phase(scores, *lines, [(15, 15)]).share < 0.1


def test_periods_of_the_two_axes_may_differ():
    scores, *lines = a_map(lambda r, c: waves(r, c, 30, 32), 320, 4)
    found = estimate_phase(scores, *lines, [(8, 8), (16, 16), (30, 32), (32, 32)])
    assert found.period == (30, 32)
    assert found.pattern.shape == (15, 8)
    assert found.step == (2, 4)
    assert found.share == pytest.approx(1, abs=0.01)
    assert estimate_phase(scores, *lines, [(32, 30)]).share < 0.1


def test_stripes_across_the_sky_are_found_though_the_rest_of_the_map_is_zero():
    """The middle half of the map scores zero everywhere."""
    scores, *lines = a_map(
        lambda r, c: np.where(r < 70, 0.5 + 0.3 * np.cos(2 * np.pi * c / 16), 0), 300, 4
    )
    found = estimate_phase(scores, *lines, SQUARE)
    assert found.period == (16, 16)
    assert found.share > 0.6
    assert found.amplitude == pytest.approx(0.6, abs=0.05)
    assert found.positions < scores.size / 3


def test_pattern_is_subtracted_at_any_position():
    scores, *lines = a_map(lambda r, c: waves(r, c, 16, 8))
    found = estimate_phase(scores, *lines, [(16, 8)])
    np.testing.assert_allclose(scores - found.effect(*lines), 0.5, atol=1e-3)


def test_slope_is_no_pattern():
    scores, *lines = a_map(lambda r, c: 0.2 + r / 400 + c / 500)
    scores = scores + noise(scores.shape, 0.003)
    assert estimate_phase(scores, *lines, SQUARE).share < 0.02


@pytest.mark.parametrize('period', [8, 16, 32])
def test_noise_is_no_pattern(period):
    found = []
    for seed in range(8):
        scores, *lines = a_map(lambda r, c, s=seed: noise((len(r), c.shape[1]), 0.2, s) + 1, 250)
        found.append(estimate_phase(scores, *lines, [(period, period)]))
    assert np.mean([phase.share for phase in found]) < 0.01
    assert np.mean([phase.amplitude for phase in found]) < 0.05


@given(scale=st.integers(1, 12), seed=st.integers(0, 50))
def test_scene_of_any_scale_is_no_pattern(scale, seed):
    """Neighbouring scores of a scene are alike, so its structure passes for more than noise."""
    smooth = gaussian_filter(noise((97, 97), 1, seed), scale)
    scores, *lines = a_map(lambda r, c: np.clip(0.5 + 0.3 * smooth / smooth.std(), 0, 1), 400, 4)
    found = estimate_phase(scores, *lines, SQUARE)
    assert found.share < 0.1


@pytest.mark.parametrize('axis', [0, 1])
def test_dip_at_one_border_is_no_pattern(axis):
    def dip(rows, cols):
        return 0.9 - 0.4 * np.exp(-(rows, cols)[axis] / 12) + 0 * rows + 0 * cols

    for period in SQUARE:
        found = estimate_phase(*a_map(dip), [period])
        assert found.share < 0.01
        assert found.amplitude < 0.002


def test_shorter_of_two_periods_that_explain_the_same_is_chosen():
    found = estimate_phase(*a_map(lambda r, c: waves(r, c, 16, 16)), SQUARE)
    assert found.period == (16, 16)


def test_stride_that_sees_one_phase_only_gives_no_pattern():
    assert estimate_phase(*a_map(lambda r, c: waves(r, c, 8, 8), stride=8), [(8, 8)]) is None
    assert estimate_phase(*a_map(lambda r, c: waves(r, c, 8, 8)), []) is None


def test_object_that_is_found_nowhere_leaves_no_pattern():
    assert estimate_phase(*a_map(lambda r, c: 0 * r + 0 * c), SQUARE) is None


def test_positions_that_are_not_evenly_spaced_give_no_pattern():
    scores, lines, _ = a_map(lambda r, c: waves(r, c, 8, 8))
    uneven = np.flatnonzero((lines < 40) | (lines % 8 == 0))
    assert estimate_phase(scores[uneven], lines[uneven], lines, [(8, 8)]) is None


def test_flagged_positions_do_not_count():
    scores, *lines = a_map(lambda r, c: waves(r, c, 16, 16))
    scores = scores.copy()
    hidden = np.zeros(scores.shape, bool)
    hidden[20:50, 30:70] = True
    spoiled = np.where(hidden, np.nan, scores)
    found = estimate_phase(spoiled, *lines, SQUARE)
    assert found.share > 0.97
    assert found.positions < estimate_phase(scores, *lines, SQUARE).positions
