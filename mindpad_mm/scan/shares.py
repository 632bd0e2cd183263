"""Who does which part of the work: a run of it each, and help for those who are behind."""

from __future__ import annotations

from typing import Sequence


class Shares:
    """Hands out every task once, to workers that differ in speed.

    A worker begins with a contiguous run of the tasks, because neighbours share what is costly to
    set up. One that has done its run takes the second half of the longest run left.

    Args:
        tasks: In an order in which neighbours belong together.
        workers: How many there are, >= 1.
    """

    def __init__(self, tasks: Sequence[int], workers: int) -> None:
        self._tasks = tasks
        ends = [len(tasks) * worker // workers for worker in range(workers + 1)]
        self._runs = [range(*ends[worker : worker + 2]) for worker in range(workers)]

    def take(self, worker: int) -> int | None:
        """The next task of a worker (0..workers - 1), None when none are left for anybody."""
        if not self._runs[worker]:
            behind = max(range(len(self._runs)), key=lambda other: len(self._runs[other]))
            run = self._runs[behind]
            middle = len(run) // 2
            self._runs[behind], self._runs[worker] = run[:middle], run[middle:]
        run = self._runs[worker]
        if not run:
            return None
        self._runs[worker] = run[1:]
        return self._tasks[run[0]]
