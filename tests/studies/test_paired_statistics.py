"""Intervals of differences agree with scipy's paired t-test and with values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from studies.paired_tests import paired_difference, summary

VALUES = st.lists(st.tuples(*[st.floats(0, 1)] * 2), min_size=3, max_size=6)


@given(VALUES)
def test_the_interval_over_seeds_is_that_of_the_paired_t_test(pairs):
    ours, theirs = np.array(pairs).T
    found = paired_difference(ours, theirs)
    if np.ptp(ours - theirs) < 1e-3:
        return
    expected = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert found['seeds'] == pytest.approx([expected.low, expected.high], abs=2e-6)
    assert found['mean'] == pytest.approx(np.mean(ours) - np.mean(theirs), abs=1e-6)


def test_draws_are_paired_by_image_and_by_seed():
    rng = np.random.default_rng(0)
    theirs = rng.random((3, 200))  # variation by seed and image that both settings share
    found = paired_difference([0.5] * 3, [0.4] * 3, theirs + 0.1, theirs)
    assert found['images'] == pytest.approx([0.1, 0.1], abs=1e-6)
    apart = paired_difference([0.5] * 3, [0.4] * 3, theirs[::-1] + 0.1, theirs)
    assert apart['images'][1] - apart['images'][0] > 0.1


def test_a_difference_is_decided_only_where_both_intervals_leave_out_zero():
    steady, noisy = np.full((3, 100), 0.1), np.tile(np.linspace(-0.1, 0.3, 100), (3, 1))
    none = np.zeros((3, 100))
    up = [0.51, 0.50, 0.52], [0.41, 0.40, 0.42]
    assert paired_difference(*up, steady, none)['verdict'] == 'higher'
    assert paired_difference(*up[::-1], -steady, none)['verdict'] == 'lower'
    assert paired_difference(*up, noisy, none)['verdict'] == 'undecided'
    apart = [0.8, 0.3, 0.45], [0.4, 0.41, 0.42]
    assert paired_difference(*apart, steady, none)['verdict'] == 'undecided'


def test_one_seed_decides_nothing():
    found = paired_difference([0.9], [0.1], np.full((1, 50), 0.9), np.full((1, 50), 0.1))
    assert found['seeds'] is None
    assert found['verdict'] == 'undecided'


def test_draws_without_anything_to_find_are_left_out():
    draws = np.array([[0.2, np.nan, 0.2], [0.2, np.nan, 0.2]])
    found = paired_difference([0.2, 0.2], [0, 0], draws, np.zeros((2, 3)))
    assert found['images'] == [0.2, 0.2]


def test_the_standard_deviation_is_that_of_a_sample():
    assert summary([1.0, 3.0]) == {'mean': 2.0, 'sd': pytest.approx(2**0.5, abs=1e-6)}
    assert summary([1.0])['sd'] is None
