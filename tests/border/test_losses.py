"""Estimates: right means, intervals that hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindpad_mm.border.losses import PhotoBootstrap, measures


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=60))
def test_intervals_of_shares_stay_within_0_and_1_and_hold_the_mean(rows):
    photos, values = np.array([r[0] for r in rows]), np.array([float(r[1]) for r in rows])
    estimate = PhotoBootstrap(photos, 200, 0).estimate(values, share=True)
    assert estimate['mean'] == pytest.approx(values.mean(), abs=1e-5)
    assert (estimate['interval'] is None) == (len(set(photos)) < 5)
    if estimate['interval']:
        low, high = estimate['interval']
        assert 0 <= low <= high <= 1
        assert low < high  # never of no width, not even where nothing was lost


def test_the_interval_covers_the_truth_about_19_times_in_20():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        photos = np.repeat(np.arange(30), 4)
        values = np.repeat(rng.normal(0.1, 0.2, 30), 4) + rng.normal(0, 0.05, 120)
        low, high = PhotoBootstrap(photos, 400, 0).estimate(values)['interval']
        covered += low <= 0.1 <= high
    assert 0.89 <= covered / 300 <= 0.98


@pytest.mark.parametrize('photos', [5, 8, 12])
def test_few_photos_do_not_make_an_interval_too_narrow(photos):
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        values = rng.normal(0.1, 0.2, photos)
        low, high = PhotoBootstrap(np.arange(photos), 400, 0).estimate(values)['interval']
        covered += low <= 0.1 <= high
    assert 0.92 <= covered / 400 <= 0.99


def test_probes_of_one_photo_count_as_one():
    """Copies of each probe make an interval no narrower."""
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, 20)
    single = PhotoBootstrap(np.arange(20), 500, 0).estimate(values)
    copied = PhotoBootstrap(np.repeat(np.arange(20), 9), 500, 0).estimate(np.repeat(values, 9))
    assert copied['interval'] == pytest.approx(single['interval'], abs=1e-4)


def test_measures_by_hand():
    scores = {
        'open': np.array([0.8, 0.2, 0.6]),
        'cut': np.array([0.1, 0.1, 0.5]),
        'control': np.array([0.5, 0.2, 0.1]),
    }
    found = measures(scores, 0.3)
    assert found['border_loss'] == pytest.approx([0.7, 0.1, 0.1])
    assert found['context_loss'] == pytest.approx([0.3, 0, 0.5])
    assert found['padding_loss'] == pytest.approx([0.4, 0.1, -0.4])
    np.testing.assert_array_equal(found['lost_objects'], [1, np.nan, 0])
    np.testing.assert_array_equal(found['lost_in_control'], [0, np.nan, 1])
