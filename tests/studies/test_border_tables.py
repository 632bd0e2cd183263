"""Estimates, predictions and tables of the border study, on made-up scores."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from studies.border_estimates import DISTANCES, Group, at, estimate, within
from studies.border_grid import CENTRE, UNIFORM, Cell, grid
from studies.border_prediction import all_tests, correlation, gain_of_choice
from studies.border_results import BorderResults, packed
from studies.border_tables import border_markdown
from studies.traffic_lights import MODES

SIDES = ('top', 'bottom', 'left', 'right')
PROBES = list(itertools.product(range(6), SIDES, DISTANCES))
# Padding loss at 0 px of a blind detector under each mode; half of that up to 16 px, then none.
LOSS = {
    'zeros': 0.6, 'reflect': 0.4, 'symmetric': 0.3, 'replicate': 0.2, 'circular': 0.0, 'partial': 0.5
}  # fmt: skip


@pytest.fixture
def results(tmp_path):
    """Two sets, two seeds of zeros each: one blind, one without any loss."""
    found = BorderResults(tmp_path / 'r.json', {'study': {}, 'probes': {}, 'trainings': {}})
    photo, side, distance = (list(column) for column in zip(*PROBES))
    found.content['probes']['128'] = {'photo': photo, 'side': side, 'distance': distance}
    shape = np.where(np.array(distance) == 0, 1.0, np.where(np.array(distance) <= 16, 0.5, 0.0))
    for lights, seed in itertools.product((CENTRE, UNIFORM), range(2)):
        tests, diagnosis = {}, {}
        for mode in MODES:
            loss = LOSS[mode] * (lights == CENTRE)
            control = 0.8 + 0.02 * seed
            scores = np.array([control - loss * shape, shape * 0 + control, shape * 0 + control])
            tests[mode] = {'scores': packed(scores), 'summary': {'open': control}}
            diagnosis[mode] = {
                'border_bias': loss + 0.01 * seed,
                'border_bias_photos': 1 - loss,
                'padding_error': 0.5,
                'foveation': 3.0,
            }
        cell = Cell(lights, 'zeros', seed)
        found.content['trainings'][cell.key] = {
            'lights': lights.description, 'mode': 'zeros', 'size': 128, 'seed': seed, 'epochs': 5,
            'cpu_seconds': 100, 'measured_cpu_seconds': 50, 'ap': {'mAP': 0.2, 'AP.50': 0.5},
            'tests': tests, 'diagnosis': diagnosis,
        }  # fmt: skip
    return found


def test_planted_losses_come_back_by_distance(results):
    group = Group(results, CENTRE, 'zeros')
    assert len(group.cells) == 2
    for distance, expected in zip(DISTANCES, (0.6, 0.3, 0.3, 0.3, 0.3, 0, 0, 0)):
        found = group.estimate('padding_loss', None, at(distance))
        assert found['mean'] == pytest.approx(expected, abs=0.005)
        assert found['n'] == 2 * 6 * 4
    assert group.estimate('context_loss')['mean'] == 0
    lost = group.estimate('lost_objects', None, at(0))
    assert lost['mean'] == 1


def test_a_swap_is_compared_probe_by_probe(results):
    group = Group(results, CENTRE, 'zeros')
    change = group.estimate('cut', 'circular', within(), against='zeros')
    assert change['mean'] == pytest.approx(0.6 * (1 + 4 * 0.5) / 5, abs=0.005)
    low, high = change['interval']
    assert high - low < 0.02
    assert group.estimate('cut', 'zeros', against='zeros')['mean'] == 0


def test_an_interval_covers_the_spread_of_seeds_and_of_photos():
    rng = np.random.default_rng(0)
    photos = np.repeat(np.arange(20), 10)
    effect = rng.normal(0, 0.1, 20)[photos]
    of_photos = estimate(effect[None], photos)
    alike = estimate(np.tile(effect, (4, 1)), photos)
    assert alike['interval'] == pytest.approx(of_photos['interval'], abs=1e-3)
    seeds = np.array([-0.3, -0.1, 0.2, 0.2])[:, None]
    both = estimate(effect + seeds, photos)
    mean = (effect + seeds).mean()
    t = stats.t.interval(0.95, 3, seeds.mean(), stats.sem(seeds[:, 0]))
    reach = np.hypot((t[1] - t[0]) / 2, alike['mean'] - alike['interval'][0])
    assert both['interval'][0] == pytest.approx(mean - reach, abs=1e-3)


def test_two_seeds_have_an_interval_over_photos_alone():
    photos = np.repeat(np.arange(20), 10)
    effect = np.random.default_rng(0).normal(0, 0.1, 20)[photos]
    apart = estimate(np.array([effect - 0.4, effect + 0.4]), photos)
    low, high = estimate(effect[None], photos)['interval']
    assert np.ptp(apart['interval']) == pytest.approx(high - low, abs=1e-3)


def test_missing_values_are_left_out():
    values = np.array([[0.0, 1.0, np.nan, np.nan], [np.nan] * 4])
    found = estimate(values, np.arange(4), share=True)
    assert (found['mean'], found['n']) == (0.5, 2)


def test_a_figure_that_orders_the_losses_is_found_and_one_that_is_constant_is_said_to_be(results):
    cells = [Cell(CENTRE, 'zeros', seed) for seed in range(2)]
    pairs = all_tests(results, cells)
    assert len(pairs) == 12
    assert correlation(pairs, 'border_bias')[0] > 0.95
    assert correlation(pairs, 'border_bias_photos')[0] == pytest.approx(-1, abs=0.05)
    assert np.isnan(correlation(pairs, 'padding_error')[0])


def test_the_gain_of_a_choice_is_the_change_of_the_score_near_the_border(results):
    pairs = all_tests(results, [Cell(CENTRE, 'zeros', seed) for seed in range(2)])
    gains, chosen = gain_of_choice(pairs, 'border_bias')
    assert chosen == ['circular', 'circular']
    assert gains == pytest.approx([0.36, 0.36], abs=0.005)
    assert gain_of_choice(pairs, None)[0] == pytest.approx(gains)
    worst, modes = gain_of_choice(pairs, 'border_bias_photos')
    assert modes == ['zeros', 'zeros']
    assert worst == pytest.approx([0, 0])


def test_the_tables_show_what_was_planted_and_say_what_is_missing(results):
    text = border_markdown(results)
    assert f'4 of {len(list(grid()))} trainings, 0.2 hours' in text
    assert '| 24 px or more off the borders | 128 | 2 of 5 | 0 of 5 |' in text
    row = next(line for line in text.splitlines() if line.startswith('| circular | .00'))
    assert '**.36 [' in row
    verdict = text.split('\n\n')[0]
    assert 'padding costs .60 [' in verdict
    assert 'does not vary' in text
    assert '| zeros | 2 | 0.60 (0.60 to 0.61) | 0.40 (0.40 to 0.40) | 0.50' in text
    assert 'mode chosen by' in text
