"""A metric reports whether its goal is met, and by how much it is missed."""

import importlib
import json

import pytest

from benchmarks.goals import Metric, metrics_table
from benchmarks.timing import Turns, in_turns


@pytest.mark.parametrize(
    ('goal', 'at_least', 'values', 'verdict'),
    [
        (6, True, [5.0, 6.5, 7.0], 'met'),
        (6, True, [4.5, 4.0, 9.0], 'missed by 25.0%'),
        (6, True, [6, 6, 6], 'met'),
        (1.05, False, [1.04, 1.2, 1.05], 'met'),
        (1.05, False, [1.155], 'missed by 10.0%'),
        (2, False, [1, 3], 'met'),
    ],
)
def test_the_median_is_compared_with_the_lower_or_upper_limit(goal, at_least, values, verdict):
    metric = Metric('speed', goal, at_least, values)
    assert metric.verdict() == verdict
    assert metric.to_json()['met'] == (verdict == 'met')


def test_the_spread_is_the_quartiles_or_the_extremes_of_few():
    assert Metric('', 1, True, [4, 1, 3, 2, 5]).spread() == (2, 4)
    assert Metric('', 1, True, [3, 1, 2]).spread() == (1, 3)
    assert Metric('', 1, True, [7]).spread() == (7, 7)


def test_the_table_has_goal_measured_and_verdict_of_every_figure():
    metrics = [
        Metric('engine', 6, True, [5.04, 5.0, 5.1], note='full 200 ms'),
        Metric('reflect', 1.05, False, [1.0512], ''),
    ]
    first, second = metrics_table(metrics, 'goals').rows
    assert first[:3] == ['engine', '>= 6 x', '5.04 x']
    assert first[3:] == ['5.00 to 5.10, n=3', 'missed by 16.0%', 'full 200 ms']
    assert second[1:3] == ['<= 1.05 ', '1.051 ']
    assert json.loads(json.dumps(metrics[0].to_json()))['values'] == [5.04, 5.0, 5.1]


def test_variants_run_in_turn_and_get_the_index_of_the_turn():
    calls = []

    def variant(name, items):
        def run(turn):
            calls.append((name, turn))
            return items

        return run

    turns = in_turns({'a': variant('a', 1), 'b': variant('b', 10)}, repeats=2)
    assert calls == [('a', 0), ('b', 0), ('a', 1), ('b', 1)]
    for clock in ('cpu', 'wall'):
        assert {name: len(taken) for name, taken in turns.seconds[clock].items()} == {
            'a': 2,
            'b': 2,
        }


def test_speed_ups_compare_times_per_item_in_each_turn():
    turns = Turns()
    turns.add('full', 2, cpu=8.0, wall=10.0)
    turns.add('fast', 10, cpu=5.0, wall=20.0)
    turns.add('full', 1, cpu=3.0, wall=3.0)
    turns.add('fast', 10, cpu=10.0, wall=10.0)
    assert turns.speed_ups('fast', 'full') == [8.0, 3.0]
    assert turns.milliseconds('full') == 3500
    turns.clock = 'wall'
    assert turns.speed_ups('fast', 'full') == [2.5, 3.0]
    assert turns.milliseconds('full') == 4000


@pytest.mark.parametrize(
    'module', ['suite', '__main__', 'measure_agreement', 'measure_padding', 'teach']
)
def test_every_entry_point_of_the_benchmarks_imports(module):
    importlib.import_module(f'benchmarks.{module}')
