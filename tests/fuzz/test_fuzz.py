"""The fuzzer counts what becomes of inputs, and survives them."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter

import pytest

from fuzz.__main__ import cases_until, main
from fuzz.kinds.base import Kind
from fuzz.kinds.registry import KINDS
from fuzz.mutate import ODD, mutated_bytes, mutated_value
from fuzz.outcome import CLEAR, RIGHT, SILENT, TRACEBACK, Outcome, outcome_of
from fuzz.pool import outcomes
from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.core.errors import UserError


def raising(error):
    def use():
        raise error

    return use


@one_line_errors()
def command():
    raise UserError('no such file')


@pytest.mark.parametrize(
    ('use', 'fault', 'verdict'),
    [
        (raising(UserError('the file is torn')), None, CLEAR),
        (command, None, CLEAR),
        (lambda: 5, None, RIGHT),
        (lambda: 5, 'it should be 6', SILENT),
        (raising(ValueError('x')), None, TRACEBACK),
        (raising(UserError('')), None, TRACEBACK),
        (raising(SystemExit('no')), None, TRACEBACK),
        (raising(SystemExit(1)), None, TRACEBACK),
        (raising(SystemExit(0)), 'nothing was written', SILENT),
        (raising(KeyboardInterrupt()), None, TRACEBACK),
        (raising(MemoryError()), None, TRACEBACK),
    ],
)
def test_an_input_ends_in_one_of_four_ways(use, fault, verdict):
    assert outcome_of(use, lambda result: fault).verdict == verdict


def test_what_only_we_accept_is_a_fault():
    assert outcome_of(lambda: 5, lambda result: result / 0).verdict == SILENT


def judged(case):
    if case == 'crash':
        os.abort()
    if case == 'hang':
        time.sleep(60)
    if case == 'memory':
        return case, outcome_of(lambda: bytearray(2 << 30), lambda result: None)
    return case, Outcome(RIGHT)


def test_a_case_that_crashes_hangs_or_takes_all_memory_costs_that_case_only():
    cases = ['good', 'crash', 'good', 'hang', 'memory', 'good']
    found = Counter(
        (case, outcome.verdict)
        for case, (_, outcome) in outcomes(iter(cases), judged, 2, seconds=1, gigabytes=1)
    )
    assert found == {
        ('good', RIGHT): 3,
        ('crash', TRACEBACK): 1,
        ('hang', TRACEBACK): 1,
        ('memory', TRACEBACK): 1,
    }


@pytest.mark.parametrize('seed', range(20))
def test_mutations_are_decided_by_the_seed_and_change_the_input(seed):
    content = {'a': [1, 2, {'b': 'text'}], 'c': {'d': 3.5}}
    copy = json.loads(json.dumps(content))
    (name, value), (again, same) = (
        mutated_value(content, random.Random(seed), ODD[:12]) for _ in range(2)
    )
    assert (name, repr(value)) == (again, repr(same))
    assert content == copy
    data = bytes(range(200))
    assert mutated_bytes(data, random.Random(seed)) == mutated_bytes(data, random.Random(seed))


def test_all_kinds_take_turns_by_their_weights():
    cases = cases_until(time.monotonic() + 60, dict.fromkeys(KINDS, Kind), rounds=2)
    assert Counter(cases) == {(name, number): 1 for name in KINDS for number in range(2)}
    weighted = Counter(name for name, _ in cases_until(time.monotonic() + 60, KINDS, rounds=3))
    assert weighted == {name: 3 * kind.weight for name, kind in KINDS.items()}
    assert list(cases_until(time.monotonic() - 1, dict.fromkeys(KINDS, Kind))) == []


@pytest.mark.parametrize('kind', ['images', 'annotations'])
def test_a_run_counts_every_case(kind, tmp_path, capsys):
    file = tmp_path / 'fuzz.json'
    try:
        main(['--kinds', kind, '--minutes', '0.02', '--json', str(file)])
        status = 0
    except SystemExit as left:
        status = left.code
    found = json.loads(file.read_text())
    counts = found['counts'][kind]
    assert sum(counts.values()) >= 6
    assert status == (1 if found['faults'] else 0)
    assert len(found['faults']) == counts.get(TRACEBACK, 0) + counts.get(SILENT, 0)
    assert KINDS[kind].title in capsys.readouterr().out


@pytest.mark.parametrize('kind', ['checkpoints', 'configs', 'commands', 'evaluations', 'outputs'])
def test_an_input_of_each_kind_is_used_and_judged(kind, tmp_path, monkeypatch):
    (tmp_path / 'base').mkdir()
    (tmp_path / 'case').mkdir()
    monkeypatch.chdir(tmp_path / 'case')
    name, outcome = KINDS[kind](tmp_path / 'base').run(random.Random(1))
    assert name
    assert outcome.verdict in (CLEAR, RIGHT, TRACEBACK, SILENT)
    assert outcome.verdict == RIGHT or outcome.detail
