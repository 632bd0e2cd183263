from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mindpad_mm.core.intervals import t_interval
from mindpad_mm.scan.statistics import (
    SIDES,
    ScoreMap,
    border_profile,
    flicker,
    map_statistics,
    over_backgrounds,
)

BOX = (16, 16)
EFFECTS = (*SIDES, 'corners')


def score_map(function, size=192, stride=2):
    """A map of ``function(rows (R, 1), cols (1, C))``."""
    rows = np.arange(0, size - BOX[0] + 1, stride)
    scores = np.broadcast_to(function(rows[:, None], rows[None]), (len(rows), len(rows)))
    return ScoreMap(scores.astype(float), rows, rows, BOX, (size, size))


def grid_pattern(rows, cols, period=8):
    return 0.6 + 0.2 * np.cos(2 * np.pi * rows / period) * np.sin(2 * np.pi * (cols + 3) / period)


def border_dip(rows, cols, size=192, depth=0.4, reach=12):
    """Lower towards the top only."""
    return 0.9 - depth * np.exp(-rows / reach) + 0 * cols


def test_grid_pattern_alone_shows_no_border_effect():
    found = map_statistics(score_map(grid_pattern), [8, 16, 32])
    assert found['grid_phase']['period'] == 8
    assert found['grid_phase']['share'] == pytest.approx(1, abs=0.01)
    # Every second pixel visits phases at which cosine and sine reach +-1 and +-sqrt(1/2).
    assert found['grid_phase']['amplitude'] == pytest.approx(0.4 * np.sqrt(0.5), abs=0.01)
    for name in EFFECTS:
        assert found['border_effect'][name] == pytest.approx(0, abs=1e-3)


def test_border_dip_alone_shows_no_grid_phase():
    found = map_statistics(score_map(border_dip), [8, 16, 32])
    effect = found['border_effect']
    assert found['grid_phase']['amplitude'] < 0.002
    near = np.arange(0, effect['border_px'][0], 2)
    assert effect['top'] == pytest.approx(-0.4 * np.exp(-near / 12).mean(), abs=0.01)
    for side in ('bottom', 'left', 'right'):
        assert effect[side] == pytest.approx(0, abs=0.01)
    assert found['worst_row'] == {'position': 0, 'mean': 0.5, 'side': 'top', 'distance': 0}


def test_grid_and_border_are_separated_if_both_are_there():
    def function(rows, cols):
        return grid_pattern(rows, cols) + border_dip(rows, cols) - 0.9

    both = map_statistics(score_map(function), [8, 16])
    alone = map_statistics(score_map(border_dip), [8, 16])
    for name in EFFECTS:
        assert both['border_effect'][name] == pytest.approx(alone['border_effect'][name], abs=0.005)
    assert both['grid_phase']['period'] == 8


def test_slope_across_the_scene_is_no_grid_phase():
    found = map_statistics(score_map(lambda r, c: 0.2 + r / 400 + c / 500), [8, 16, 32])
    assert found['grid_phase']['share'] < 0.01


@pytest.mark.parametrize('period', [8, 16, 32])
def test_noise_is_no_grid_phase(period):
    rng = np.random.default_rng(period)
    shares = []
    for _ in range(5):
        noise = rng.uniform(0, 1, (120, 120))
        noisy = score_map(lambda r, c, n=noise: n[: len(r), : c.shape[1]], size=250)
        shares.append(map_statistics(noisy, [period])['grid_phase']['share'])
    assert np.mean(shares) < 0.03


def test_shorter_of_two_periods_that_explain_the_same_is_chosen():
    found = map_statistics(score_map(lambda r, c: grid_pattern(r, c, 16)), [8, 16, 32])
    assert found['grid_phase']['period'] == 16


def test_stride_that_sees_one_phase_only_gives_no_grid_phase():
    assert map_statistics(score_map(grid_pattern, stride=8), [8])['grid_phase'] is None
    assert map_statistics(score_map(grid_pattern), [])['grid_phase'] is None


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 1000))
def test_statistics_follow_when_the_map_is_mirrored_or_transposed(seed):
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0, 1, (30, 44))
    scores[rng.uniform(0, 1, scores.shape) < 0.1] = np.nan
    rows, cols = np.arange(0, 117, 4), np.arange(0, 173, 4)
    scores = scores[: len(rows), : len(cols)]
    # The last position touches the far side, so that a mirrored map lies on the same grid.
    scene = (int(rows[-1]) + 16, int(cols[-1]) + 16)
    plain = map_statistics(ScoreMap(scores, rows, cols, BOX, scene))
    flipped = map_statistics(ScoreMap(scores[::-1], rows, cols, BOX, scene))
    turned = map_statistics(ScoreMap(scores.T, cols, rows, BOX, scene[::-1]))
    mirror = {'top': 'bottom', 'bottom': 'top'}
    swap = dict(zip(SIDES, ('left', 'right', 'top', 'bottom')))
    for name in EFFECTS:
        effect = plain['border_effect'][name]
        assert flipped['border_effect'][mirror.get(name, name)] == pytest.approx(effect, abs=2e-6)
        assert turned['border_effect'][swap.get(name, name)] == pytest.approx(effect, abs=2e-6)
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
    found = map_statistics(ScoreMap(spoiled, plain.rows, plain.cols, BOX, (192, 192)), [8])
    assert found['mean'] == pytest.approx(kept.mean(), abs=1e-6)
    assert found['percentiles']['25'] == pytest.approx(np.percentile(kept, 25), abs=1e-6)
    assert found['blind_fraction'] == pytest.approx((kept < np.median(kept) / 2).mean(), abs=1e-6)
    assert found['flagged_fraction'] == pytest.approx(35 * 13 / scores.size, abs=1e-6)
    assert found['border_effect']['top'] == pytest.approx(0, abs=1e-3)


def test_map_with_every_position_flagged_has_no_statistics_of_scores():
    found = map_statistics(score_map(lambda r, c: np.full((1, 1), np.nan)), [8])
    assert found == {'positions': 89 * 89, 'flagged_fraction': 1}


@pytest.mark.parametrize('shape', [(1, 1), (1, 7), (2, 2), (3, 5)])
def test_map_of_a_few_positions_is_fine(shape):
    scores = np.linspace(0.1, 0.9, shape[0] * shape[1]).reshape(shape)
    rows, cols = (np.arange(0, 4 * n, 4) for n in shape)
    scene = (int(rows[-1]) + BOX[0], int(cols[-1]) + BOX[1])
    found = map_statistics(ScoreMap(scores, rows, cols, BOX, scene), [8])
    assert found['mean'] == pytest.approx(scores.mean(), abs=1e-6)
    assert found['worst'] == {'row': 0, 'col': 0, 'score': pytest.approx(0.1)}


def test_detector_that_misses_almost_everything_has_no_blind_fraction():
    found = map_statistics(score_map(lambda r, c: ((r == 0) & (c == 0)).astype(float)))
    assert found['blind_fraction'] is None
    assert found['zero_fraction'] == pytest.approx(1, abs=1e-3)


def test_border_profile_is_the_mean_at_each_distance():
    ramp = score_map(lambda r, c: r / 192 + 0 * c)
    bottom = border_profile(ramp, 'bottom')
    assert bottom['distance'] == sorted(bottom['distance'])
    assert bottom['score'][0] == pytest.approx(176 / 192, abs=1e-6)
    assert bottom['distance'][0] == 0


def test_flicker_is_the_largest_change_between_neighbours():
    scores = np.full((9, 9), 0.5)
    scores[4, 6] = 0.9
    scores[4, 5] = np.nan  # positions on both sides of a flagged one are not neighbours
    rows = np.arange(9)
    found = flicker(ScoreMap(scores, rows, rows, BOX, (24, 24)))
    assert found['max'] == pytest.approx(0.4)
    assert [4, 6] in found['between']


def test_interval_is_students_t_and_needs_two_backgrounds():
    values = np.array([0.1, 0.4, 0.3])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert t_interval(values) == pytest.approx(list(expected), abs=1e-6)
    assert t_interval(values[:1]) is None
    assert t_interval(np.full(3, 0.25)) == [0.25, 0.25]


def test_objects_and_sizes_of_one_background_are_one_draw():
    maps = [
        {'background': b, 'mean': mean, 'border_effect': None}
        for b, mean in ((0, 0.1), (0, 0.3), (1, 0.4), (1, 0.4))
    ]
    mean = over_backgrounds(maps)['mean']
    assert mean['mean'] == pytest.approx(0.3)
    assert mean['backgrounds'] == 2
    assert mean['interval'] == pytest.approx(t_interval(np.array([0.2, 0.4])))
