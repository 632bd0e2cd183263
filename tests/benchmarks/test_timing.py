"""A stopwatch by part counts every second once."""

from __future__ import annotations

import time
from types import SimpleNamespace

from benchmarks.timing import Stopwatch


def test_time_in_a_part_within_another_counts_for_the_inner_one_alone(monkeypatch):
    seconds = [0.0]
    monkeypatch.setattr(time, 'process_time', lambda: seconds[0])

    def spend(count):
        seconds[0] += count

    watch = Stopwatch()
    work = SimpleNamespace(network=lambda: spend(5))
    spend(100)  # outside of all parts
    with watch.watching(work, 'network', 'network'), watch.inside('the rest'):
        spend(1)
        work.network()
        spend(2)
        work.network()
    work.network()  # no longer watched
    assert watch.seconds == {'the rest': 3.0, 'network': 10.0}
