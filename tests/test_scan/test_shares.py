from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mindpad_mm.scan.shares import Shares


@given(st.integers(0, 60), st.integers(1, 7), st.data())
def test_every_task_is_handed_out_once_whoever_asks_when(count, workers, data):
    shares = Shares(range(100, 100 + count), workers)
    order = st.integers(0, workers - 1)
    taken = [shares.take(data.draw(order)) for _ in range(count)]
    assert sorted(taken) == list(range(100, 100 + count))
    assert [shares.take(worker) for worker in range(workers)] == [None] * workers


def test_workers_of_one_speed_do_a_run_of_neighbours_each():
    shares = Shares(range(12), 3)
    taken = [[shares.take(worker) for worker in range(3)] for _ in range(4)]
    assert [list(run) for run in zip(*taken)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_who_is_done_takes_the_second_half_of_the_longest_run_left():
    shares = Shares(range(20), 2)
    assert [shares.take(1) for _ in range(10)] == list(range(10, 20))
    assert shares.take(0) == 0
    assert [shares.take(1) for _ in range(5)] == list(range(5, 10))
