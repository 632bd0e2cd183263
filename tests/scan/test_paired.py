"""Differences of scans, compared with scipy's paired t-test."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mindpad_mm.core.scenes import Part
from mindpad_mm.scan.arrays import ScanArrays
from mindpad_mm.scan.paired import paired_difference
from mindpad_mm.scan.score_map import ScoreMap
from mindpad_mm.scan.statistics import map_statistics, paired_over_backgrounds


def noise(seed, scenes):
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0, 1, (scenes, 1, 2, 5, 4)).astype(np.float32)
    flags = np.zeros(scores.shape, bool)
    return ScanArrays(scores, scores, None, flags, scores, np.arange(5), np.arange(4))


def test_interval_of_each_position_is_the_paired_t_test_over_scenes():
    first, other = noise(0, 4), noise(1, 4)
    change = paired_difference(first, other)
    tested = stats.ttest_rel(other.scores.astype(float), first.scores.astype(float), axis=0)
    interval = tested.confidence_interval(0.95)
    np.testing.assert_allclose(change.mean - change.half, interval.low, atol=1e-5)
    np.testing.assert_allclose(change.mean + change.half, interval.high, atol=1e-5)


def test_scenes_flagged_in_either_scan_are_left_out_at_that_position():
    first, other = noise(0, 3), noise(1, 3)
    first.flags[0, 0, 0, 1, 2] = other.flags[1, 0, 0, 1, 2] = True
    first.flags[:, 0, 1, 0, 0] = True
    first.scores[1, 0, 0, 4, 3] = other.scores[1, 0, 0, 4, 3] = np.nan
    change = paired_difference(first, other)
    assert change.mean[0, 0, 1, 2] == other.scores[2, 0, 0, 1, 2] - first.scores[2, 0, 0, 1, 2]
    assert np.isnan(change.half[0, 0, 1, 2])  # one scene left: no interval
    assert np.isnan(change.mean[0, 1, 0, 0])
    left = (other.scores - first.scores)[[0, 2], 0, 0, 4, 3]
    assert change.mean[0, 0, 4, 3] == pytest.approx(left.mean())
    assert np.isnan(change.mean).sum() == 1


def test_one_scene_has_a_difference_and_no_interval():
    change = paired_difference(noise(0, 1), noise(1, 1))
    assert not np.isnan(change.mean).any()
    assert np.isnan(change.half).all()


def test_intervals_of_statistics_are_those_of_the_paired_t_test_over_backgrounds():
    def maps(seed):
        rng = np.random.default_rng(seed)
        return [
            {'background': b, 'size': 4, **map_statistics(ScoreMap(
                rng.uniform(0, 1, (9, 9)), np.arange(9), np.arange(9), (4, 4), Part(0, 0, 13, 13)))}
            for b in range(4)
        ]  # fmt: skip

    first, other = maps(0), maps(1)
    changes = paired_over_backgrounds(first, other)
    values = [[each['mean'] for each in scan] for scan in (first, other)]
    interval = stats.ttest_rel(values[1], values[0]).confidence_interval(0.95)
    assert changes['mean']['mean'] == pytest.approx(
        np.mean(values[1]) - np.mean(values[0]), abs=1e-6
    )
    assert changes['mean']['interval'] == pytest.approx([interval.low, interval.high], abs=1e-6)
    assert changes['edge_drop.top']['backgrounds'] == 4


def test_statistic_undefined_in_either_map_of_a_pair_is_left_out():
    first = [{'background': b, 'size': 4, 'mean': 0.5, 'blind_fraction': 0.1} for b in range(2)]
    other = [{'background': b, 'size': 4, 'mean': 0.6, 'blind_fraction': None} for b in range(2)]
    changes = paired_over_backgrounds(first, other)
    assert changes['mean']['mean'] == pytest.approx(0.1)
    assert 'blind_fraction' not in changes
