"""Worker processes that run cases; a worker that crashes or hangs costs its case only."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

from fuzz.outcome import TRACEBACK, Outcome

# The libraries and the inputs are made once, by this process; `fork` takes them along.
_CONTEXT = multiprocessing.get_context('fork')
Judged = tuple[str, Outcome]
"""The name of a mutation (empty if the worker died), and the outcome."""
_CASES_A_WORKER = 200
"""A worker is replaced after so many: what cases leave in memory must not add up."""


class _Worker:
    def __init__(self, judge: Callable[[Any], Judged], gigabytes: float) -> None:
        self.connection, theirs = _CONTEXT.Pipe()
        self.process = _CONTEXT.Process(target=_serve, args=(theirs, judge, gigabytes))
        self.process.start()
        theirs.close()
        self.case: Any = None
        self.deadline = 0.0
        self.done = 0

    def give(self, case: Any, seconds: float) -> None:
        self.case, self.deadline = case, time.monotonic() + seconds
        self.connection.send(case)

    def take(self) -> Judged:
        self.done += 1
        try:
            judged: Judged = self.connection.recv()
        except EOFError:
            self.process.join()
            status = self.process.exitcode
            return '', Outcome(TRACEBACK, f'the process ended with status {status}')
        return judged

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def outcomes(
    cases: Iterator[Any],
    judge: Callable[[Any], Judged],
    jobs: int,
    seconds: float,
    gigabytes: float,
) -> Iterator[tuple[Any, Judged]]:
    """Judge cases in worker processes.

    Args:
        cases: Taken one by one, when a worker is free.
        judge: Runs in a worker. Cases must be picklable.
        jobs: Number of workers.
        seconds: Time limit of a case; one that takes longer is a fault.
        gigabytes: Memory that a worker may allocate.

    Yields:
        Each case with its mutation and outcome, in the order they end.
    """
    workers = [_Worker(judge, gigabytes) for _ in range(jobs)]
    try:
        for worker in workers:
            _next(worker, cases, seconds)
        while busy := [worker for worker in workers if worker.case is not None]:
            left = max(0.0, min(worker.deadline for worker in busy) - time.monotonic())
            ready = wait([worker.connection for worker in busy], left)
            for worker in busy:
                if worker.connection in ready:
                    judged = worker.take()
                elif time.monotonic() > worker.deadline:
                    worker.end()
                    judged = '', Outcome(TRACEBACK, f'took more than {seconds:g} s')
                else:
                    continue
                yield worker.case, judged
                if not worker.process.is_alive() or worker.done >= _CASES_A_WORKER:
                    worker.end()
                    workers.remove(worker)
                    worker = _Worker(judge, gigabytes)
                    workers.append(worker)
                _next(worker, cases, seconds)
    finally:
        for worker in workers:
            worker.end()


def _next(worker: _Worker, cases: Iterator[Any], seconds: float) -> None:
    worker.case = None
    for case in cases:
        worker.give(case, seconds)
        return


def _serve(connection: Connection, judge: Callable[[Any], Judged], gigabytes: float) -> None:
    limit = int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    faulthandler.disable()  # a crash is a result here
    # What libraries write past Python's sys.stderr goes nowhere.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    while True:
        case = connection.recv()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            judged = judge(case)
            os.chdir('/')
        connection.send(judged)
