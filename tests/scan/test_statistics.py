from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mindpad_mm.core.intervals import t_interval, unit_interval
from mindpad_mm.core.scenes import Part
from mindpad_mm.scan.edges import border_profile, edge_drop
from mindpad_mm.scan.score_map import SIDES, ScoreMap
from mindpad_mm.scan.statistics import (
    flicker,
    map_statistics,
    over_backgrounds,
    paired_over_backgrounds,
)

BOX = (16, 16)


def square(*periods):
    """Periods that are the same along both axes."""
    return [(period, period) for period in periods]


def score_map(function, size=192, stride=2):
    """A map of ``function(rows (R, 1), cols (1, C))``."""
    rows = np.arange(0, size - BOX[0] + 1, stride)
    scores = np.broadcast_to(function(rows[:, None], rows[None]), (len(rows), len(rows)))
    return ScoreMap(scores.astype(float), rows, rows, BOX, Part(0, 0, size, size))


def grid_pattern(rows, cols, period=8):
    return 0.6 + 0.2 * np.cos(2 * np.pi * rows / period) * np.sin(2 * np.pi * (cols + 3) / period)


def border_dip(rows, cols, size=192, depth=0.4, reach=12):
    """Lower towards the top only."""
    return 0.9 - depth * np.exp(-rows / reach) + 0 * cols


def test_grid_pattern_alone_shows_no_edge_drop():
    found = map_statistics(score_map(grid_pattern), square(8, 16, 32))
    assert found['grid_phase']['period'] == [8, 8]
    assert found['grid_phase']['share'] == pytest.approx(1, abs=0.01)
    # Every second pixel visits phases at which cosine and sine reach +-1 and +-sqrt(1/2).
    assert found['grid_phase']['amplitude'] == pytest.approx(0.4 * np.sqrt(0.5), abs=0.01)
    for side in SIDES:
        assert found['edge_drop'][side] == pytest.approx(0, abs=1e-3)


def test_fall_towards_one_side_is_a_drop_there_and_no_grid_phase():
    found = map_statistics(score_map(border_dip), square(8, 16, 32))
    assert found['grid_phase']['amplitude'] < 0.002
    following = -0.4 * np.exp(-np.arange(2, 17, 2) / 12).mean()
    assert found['edge_drop']['top'] == pytest.approx(following + 0.4, abs=1e-3)
    assert found['edge_drop']['top'] > 0  # the score falls towards the top
    for side in ('bottom', 'left', 'right'):
        assert found['edge_drop'][side] == pytest.approx(0, abs=0.01)
    assert found['worst_row'] == {
        'position': 0, 'mean': 0.5, 'side': 'top', 'distance': 0, 'equal': 1
    }  # fmt: skip


def test_grid_and_fall_towards_a_side_are_separated_if_both_are_there():
    def function(rows, cols):
        return grid_pattern(rows, cols) + border_dip(rows, cols) - 0.9

    both = map_statistics(score_map(function), square(8, 16))
    alone = map_statistics(score_map(border_dip), square(8, 16))
    for side in SIDES:
        assert both['edge_drop'][side] == pytest.approx(alone['edge_drop'][side], abs=0.005)
    assert both['grid_phase']['period'] == [8, 8]


@pytest.mark.parametrize('stride', [1, 5, 40])
def test_edge_drop_compares_a_position_with_those_next_to_it_and_no_others(stride):
    """A scene that is brighter far away, as sky is, leaves the drop as it is."""
    far = score_map(lambda r, c: np.where(r < 45, 0.3, 0.9) + 0 * c, stride=stride)
    drop = edge_drop(far, None)
    assert drop['top'] == pytest.approx(0, abs=1e-9)
    scores = far.scores.copy()
    scores[0] = 0.1
    scores[0, 3:] = np.nan  # flagged positions are in no pair
    scores[1:, 2] = np.nan
    changed = ScoreMap(scores, far.rows, far.cols, BOX, far.photo)
    assert edge_drop(changed, None)['top'] == pytest.approx(0.2)


def test_pattern_is_not_subtracted_where_the_object_is_not_found():
    def half(rows, cols):
        return np.where(rows < 96, grid_pattern(rows, cols), 0)

    found = map_statistics(score_map(half), square(8))
    assert found['grid_phase']['share'] > 0.5
    assert found['edge_drop']['bottom'] == 0
    assert found['edge_drop']['top'] == pytest.approx(0, abs=0.03)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 1000))
def test_statistics_follow_when_the_map_is_mirrored_or_transposed(seed):
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0, 1, (30, 44))
    scores[rng.uniform(0, 1, scores.shape) < 0.1] = np.nan
    rows, cols = np.arange(0, 117, 4), np.arange(0, 173, 4)
    scores = scores[: len(rows), : len(cols)]
    # The last position touches the far side, so that a mirrored map lies on the same grid.
    scene = Part(0, 0, int(rows[-1]) + 16, int(cols[-1]) + 16)
    plain = map_statistics(ScoreMap(scores, rows, cols, BOX, scene))
    flipped = map_statistics(ScoreMap(scores[::-1], rows, cols, BOX, scene))
    turned = map_statistics(ScoreMap(scores.T, cols, rows, BOX, Part(0, 0, *scene.lengths[::-1])))
    mirror = {'top': 'bottom', 'bottom': 'top'}
    swap = dict(zip(SIDES, ('left', 'right', 'top', 'bottom')))
    for name in SIDES:
        drop = plain['edge_drop'][name]
        assert flipped['edge_drop'][mirror.get(name, name)] == pytest.approx(drop, abs=2e-6)
        assert turned['edge_drop'][swap[name]] == pytest.approx(drop, abs=2e-6)
    for side in SIDES:
        assert plain['border_profiles'][side] == turned['border_profiles'][swap[side]]
        assert plain['border_profiles'][side] == flipped['border_profiles'][mirror.get(side, side)]
    for name in ('position', 'mean', 'distance'):
        assert plain['worst_row'][name] == turned['worst_col'][name]
    for name in ('mean', 'min', 'percentiles', 'blind_fraction'):
        assert plain[name] == turned[name] == flipped[name]


def test_flagged_positions_count_nowhere():
    plain = score_map(grid_pattern)
    scores = plain.scores.copy()
    spoiled = scores.copy()
    spoiled[5:40, 20:33] = np.nan
    kept = spoiled[~np.isnan(spoiled)]
    found = map_statistics(ScoreMap(spoiled, plain.rows, plain.cols, BOX, plain.photo), square(8))
    assert found['mean'] == pytest.approx(kept.mean(), abs=1e-6)
    assert found['percentiles']['25'] == pytest.approx(np.percentile(kept, 25), abs=1e-6)
    best = np.sort(kept)[-(len(kept) // 10) :].mean()
    assert found['blind_below'] == pytest.approx(best / 2, abs=1e-6)
    assert found['blind_fraction'] == pytest.approx((kept < best / 2).mean(), abs=1e-6)
    assert found['flagged_fraction'] == pytest.approx(35 * 13 / scores.size, abs=1e-6)
    assert found['edge_drop']['top'] == pytest.approx(0, abs=1e-3)


def test_map_with_every_position_flagged_has_no_statistics_of_scores():
    found = map_statistics(score_map(lambda r, c: np.full((1, 1), np.nan)), square(8))
    assert found == {'positions': 89 * 89, 'flagged_fraction': 1}


@pytest.mark.parametrize('shape', [(1, 1), (1, 7), (2, 2), (3, 5)])
def test_map_of_a_few_positions_is_fine(shape):
    scores = np.linspace(0.1, 0.9, shape[0] * shape[1]).reshape(shape)
    rows, cols = (np.arange(0, 4 * n, 4) for n in shape)
    scene = Part(0, 0, int(rows[-1]) + BOX[0], int(cols[-1]) + BOX[1])
    found = map_statistics(ScoreMap(scores, rows, cols, BOX, scene), square(8))
    assert found['mean'] == pytest.approx(scores.mean(), abs=1e-6)
    assert found['worst'] == {'row': 0, 'col': 0, 'score': pytest.approx(0.1)}


def test_blind_share_is_known_where_the_object_is_missed_at_most_positions():
    found = map_statistics(score_map(lambda r, c: np.where(r < 40, 0.8, 0) + 0 * c))
    assert found['percentiles']['50'] == 0
    assert found['blind_below'] == pytest.approx(0.4)
    assert found['blind_fraction'] == found['zero_fraction'] == pytest.approx(69 / 89, abs=1e-6)


def test_detector_that_finds_the_object_nowhere_is_blind_everywhere():
    found = map_statistics(score_map(lambda r, c: 0 * r + 0 * c))
    assert found['blind_fraction'] == found['zero_fraction'] == 1
    assert found['worst_row']['equal'] == 89  # no row is weaker than another
    assert found['blind_below'] == 0


def test_detector_that_is_equally_sure_everywhere_is_blind_nowhere():
    assert map_statistics(score_map(lambda r, c: 0 * r + 0 * c + 0.02))['blind_fraction'] == 0


def test_border_profile_is_the_mean_at_each_distance():
    ramp = score_map(lambda r, c: r / 192 + 0 * c)
    bottom = border_profile(ramp, 'bottom')
    assert bottom['distance'] == sorted(bottom['distance'])
    assert bottom['score'][0] == pytest.approx(176 / 192, abs=1e-6)
    assert bottom['distance'][0] == 0


def test_distances_are_to_the_photos_own_sides():
    """A photo in a larger canvas has the statistics of the photo alone."""
    plain = score_map(lambda r, c: grid_pattern(r, c, 16) + border_dip(r, c) - 0.9)
    moved = ScoreMap(
        plain.scores, plain.rows + 32, plain.cols + 16, BOX, Part(32, 16, *plain.photo.lengths)
    )
    alone, found = map_statistics(plain, square(16)), map_statistics(moved, square(16))
    for name in ('edge_drop', 'border_profiles', 'grid_phase', 'percentiles'):
        assert found[name] == alone[name]
    assert found['worst_row'] == {**alone['worst_row'], 'position': 32}


def test_flicker_is_the_largest_change_between_neighbours():
    scores = np.full((9, 9), 0.5)
    scores[4, 6] = 0.9
    scores[4, 5] = np.nan  # positions on both sides of a flagged one are not neighbours
    rows = np.arange(9)
    found = flicker(ScoreMap(scores, rows, rows, BOX, Part(0, 0, 24, 24)))
    assert found['max'] == pytest.approx(0.4)
    assert [4, 6] in found['between']


def test_interval_is_students_t_and_needs_two_backgrounds():
    values = np.array([0.1, 0.4, 0.3])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert t_interval(values) == pytest.approx(list(expected), abs=1e-6)
    assert t_interval(values[:1]) is None
    assert t_interval(np.full(3, 0.25)) == [0.25, 0.25]


def test_objects_of_one_background_are_one_draw():
    maps = [
        {'background': b, 'size': 20, 'mean': mean, 'grid_phase': None}
        for b, mean in ((0, 0.1), (0, 0.3), (1, 0.4), (1, 0.4))
    ]
    mean = over_backgrounds(maps)['mean']
    assert mean['mean'] == pytest.approx(0.3)
    assert mean['backgrounds'] == 2
    assert mean['interval'] == unit_interval(np.array([0.2, 0.4]))


def test_sizes_are_not_pooled():
    maps = [
        {'background': b, 'size': size, 'mean': mean}
        for b, size, mean in ((0, 16, 0.1), (0, 40, 0.9), (1, 16, 0.3), (1, 40, 0.7))
    ]
    found = over_backgrounds(maps)
    assert set(found) == {'mean at 16 px', 'mean at 40 px'}
    assert found['mean at 16 px']['mean'] == pytest.approx(0.2)
    assert found['mean at 40 px']['mean'] == pytest.approx(0.8)
    paired = paired_over_backgrounds(maps, [{**each, 'mean': 0.5} for each in maps])
    assert paired['mean at 16 px']['mean'] == pytest.approx(0.3)
    assert paired['mean at 40 px']['mean'] == pytest.approx(-0.3)


@settings(deadline=None)
@given(thousandths=st.lists(st.integers(0, 1000), min_size=2, max_size=9))
def test_interval_of_shares_lies_in_0_to_1_and_holds_the_mean(thousandths):
    values = np.array(thousandths) / 1000
    found = unit_interval(values)
    if found is None:
        assert np.ptp(values) == 0
        return
    low, high = found
    assert 0 <= low <= np.mean(values) + 1e-6
    assert np.mean(values) - 1e-6 <= high <= 1
    # The interval of the complements is the complement of the interval.
    mirrored = unit_interval(1 - values)
    assert mirrored == pytest.approx([1 - high, 1 - low], abs=1e-3)


@pytest.mark.parametrize(('a', 'b'), [(2, 5), (5, 1), (8, 8)])
@pytest.mark.parametrize('count', [3, 8])
def test_interval_of_shares_holds_the_true_mean_about_as_often_as_it_says(a, b, count):
    rng = np.random.default_rng(0)
    samples = rng.beta(a, b, (2000, count))
    intervals = np.array([unit_interval(sample) for sample in samples])
    covered = (intervals[:, 0] <= a / (a + b)) & (a / (a + b) <= intervals[:, 1])
    assert covered.mean() > 0.9


def test_intervals_of_a_scan_are_within_what_the_statistics_can_be():
    def maps(blind):
        return [
            {'background': b, 'size': 32, 'blind_fraction': x, 'edge_drop': {'top': x - 0.5}}
            for b, x in enumerate(blind)
        ]

    found = over_backgrounds(maps([0, 0.02, 0.3]))
    assert 0 <= found['blind_fraction']['interval'][0] < 0.1
    assert found['edge_drop.top']['interval'][0] < -0.4
    change = paired_over_backgrounds(maps([0, 0.9]), maps([1, 0.1]))['blind_fraction']
    assert change['interval'] == [-1, 1]
    assert over_backgrounds(maps([0, 0, 0]))['blind_fraction']['interval'] is None
