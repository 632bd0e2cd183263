"""Progress without a terminal: lines that say how far the work is."""

from __future__ import annotations

import pytest

from mindpad_mm.core import progress


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
    return now


def test_a_log_gets_a_line_every_half_minute_with_the_time_left(clock, capsys):
    for _ in progress.track(range(10), 'a [/b]: scanning'):
        clock[0] += 12
    lines = capsys.readouterr().err.splitlines()
    # Items end at 12, 24, ... 120 s; the speed is known from the first of them on.
    assert lines[0] == 'a [/b]: scanning: 3 of 10, 0:01:24 left'
    assert [line.split(': ')[2].split(' ')[0] for line in lines] == ['3', '6', '9']


def test_a_bar_that_counts_a_sequence_prints_lines_too(clock, capsys):
    with progress.ProgressBar() as bar:
        for _ in bar.track(range(10), description='causes'):
            clock[0] += 31
    assert capsys.readouterr().err.splitlines()[0] == 'causes: 1 of 10'


def test_short_work_and_other_ranks_print_nothing(clock, capsys):
    list(progress.track(range(1000), 'short'))
    with progress.ProgressBar(disable=True) as bar:
        task = bar.add_task('rank 1', total=2)
        clock[0] += 100
        bar.advance(task)
    assert capsys.readouterr().err == ''
