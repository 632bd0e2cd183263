"""The processes that share a scan: what one of them sees of the others."""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch.distributed import Store

from mindpad_mm.core.errors import UserError

_SECONDS_BETWEEN_LOOKS = 0.02
_SECONDS_BETWEEN_BEATS = 0.5
# A process that gave no sign of life for so long is taken for dead.
_SECONDS_SILENT = 20.0
# For all to notice that the scan stops: a forward pass cannot be interrupted.
_SECONDS_TO_STOP = 30.0
_RESUME = 'what is finished is kept, the same command with --resume goes on'


class Team:
    """One process alone, and what it has in common with those of a :class:`LaunchedTeam`.

    A context: it ends with all processes done, or ends them all. A ``UserError`` raised inside on
    any process is raised on rank 0, the others exit with 2 and say nothing.

    Attributes:
        rank: 0 for the process that alone writes files.
        size: Number of processes.
    """

    rank = 0
    size = 1

    def exchange(self, value: Any) -> list[Any]:
        """Every process's (picklable) value, by rank; waits for all to give theirs."""
        return [value]

    def work(
        self,
        run: Callable[[int], Any],
        todo: Sequence[int] = (),
        keep: Callable[[int, Any], None] | None = None,
    ) -> None:
        """Run every task once, somewhere.

        Args:
            run: Gives a task's (picklable) result; called on any process.
            todo: The tasks, in the order in which they are begun. Those of rank 0 count.
            keep: Called with each task and its result, on rank 0 alone.
        """
        for task in todo:
            keep(task, run(task))

    def __enter__(self) -> Team:
        return self

    def __exit__(self, *error: Any) -> None:
        pass


class LaunchedTeam(Team):
    """One of several processes, which meet at a store that rank 0 holds.

    Unlike a collective, which waits for a dead process until its timeout and does not say for which, a
    store can be looked at: every process but rank 0 counts up a number of its own there while it lives.

    Args:
        store: A ``torch.distributed.TCPStore``, the same for all.
        rank: This process's.
        size: Number of processes.
    """

    def __init__(self, store: Store, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self._board = _Board(store)
        self._rounds = 0
        self._collected = [0] * size
        self._left = threading.Event()
        self._beats = {other: (0, time.monotonic()) for other in range(1, size)}
        self._who = [''] * size

    def exchange(self, value: Any) -> list[Any]:
        self._rounds += 1
        keys = [f'exchange/{self._rounds}/{rank}' for rank in range(self.size)]
        self._board.put(keys[self.rank], value)
        while not all(map(self._board.has, keys)):
            self._pause()
        return [self._board.read(key) for key in keys]

    def work(
        self,
        run: Callable[[int], Any],
        todo: Sequence[int] = (),
        keep: Callable[[int, Any], None] | None = None,
    ) -> None:
        todo = self.exchange(list(todo))[0]
        taken = f'taken/{self._rounds}'
        kept = 0
        while (number := self._board.count(taken, 1) - 1) < len(todo):
            task = todo[number]
            result = run(task)
            if self.rank > 0:
                self._hand_in(task, result)
            else:
                keep(task, result)
                kept += 1 + self._collect(keep)
            self._look_around()
        while self.rank == 0 and kept < len(todo):
            self._pause()
            kept += self._collect(keep)

    def __enter__(self) -> LaunchedTeam:
        if self.rank == 0:
            self._handler = signal.signal(signal.SIGTERM, _terminated)
        else:
            self._heart = threading.Thread(target=self._beat, daemon=True)
            self._heart.start()
        self._who = self.exchange(f'pid {os.getpid()} on {socket.gethostname()}')
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if self.rank == 0:
            self._dissolve(error)
        elif not isinstance(error, _LostError):
            self._leave(error)
        elif self.rank == 1:  # one of the survivors is enough to say so
            sys.exit(f'error: process 0 of {self.size} died: the scan stops; {_RESUME}')
        else:
            sys.exit(1)

    def _dissolve(self, error: BaseException | None) -> None:
        """Wait for all to leave: the store ends with rank 0."""
        if error is not None:
            self._board.put('stop', None)
            # Some launchers end all as soon as one ends: the others wait until rank 0 has told.
            atexit.register(self._let_go)
        self._wait_for('left')
        signal.signal(signal.SIGTERM, self._handler)

    def _let_go(self) -> None:
        self._board.put('told', None)
        self._wait_for('heard')

    def _leave(self, error: BaseException | None) -> None:
        self._left.set()
        self._heart.join()
        if isinstance(error, UserError):
            self._board.put('failure', str(error))
        self._board.put(f'left/{self.rank}', None)
        if isinstance(error, (UserError, _StopError)):
            with contextlib.suppress(_LostError):
                _wait_until(lambda: self._board.has('told'))
                self._board.put(f'heard/{self.rank}', None)
            sys.exit(2)

    def _hand_in(self, task: int, result: Any) -> None:
        self._board.put(f'result/{self.rank}/{self._collected[self.rank]}', (task, result))
        self._collected[self.rank] += 1

    def _collect(self, keep: Callable[[int, Any], None]) -> int:
        """Keep the results that have been handed in since; returns their number."""
        before = sum(self._collected)
        for rank in range(1, self.size):
            while self._board.has(key := f'result/{rank}/{self._collected[rank]}'):
                keep(*self._board.take(key))
                self._collected[rank] += 1
        return sum(self._collected) - before

    def _pause(self) -> None:
        self._look_around()
        time.sleep(_SECONDS_BETWEEN_LOOKS)

    def _look_around(self) -> None:
        """See whether the scan has to stop.

        Raises:
            UserError: On rank 0: another process has failed or died.
            _StopError: On the others: rank 0 stops.
        """
        if self.rank > 0:
            if self._board.has('stop'):
                raise _StopError
            return
        if self._board.has('failure'):
            raise UserError(self._board.read('failure'))
        for rank in self._beats:
            if self._is_silent(rank) and not self._board.has(f'left/{rank}'):
                raise UserError(
                    f'process {rank} of {self.size} ({self._who[rank]}) died (killed, or out of '
                    f'memory?): the scan stops; {_RESUME}'
                )

    def _wait_for(self, sign: str) -> None:
        """Wait for a sign of all the others, but for the dead."""
        _wait_until(
            lambda: all(self._board.has(f'{sign}/{r}') or self._is_silent(r) for r in self._beats)
        )

    def _is_silent(self, rank: int) -> bool:
        beats, since = self._beats[rank]
        now, new_beats = time.monotonic(), self._board.count(f'beats/{rank}', 0)
        if new_beats > beats:
            self._beats[rank] = new_beats, now
            return False
        return now - since > _SECONDS_SILENT

    def _beat(self) -> None:
        with contextlib.suppress(_LostError):  # the main thread will notice
            while not self._left.wait(_SECONDS_BETWEEN_BEATS):
                self._board.count(f'beats/{self.rank}', 1)


class _StopError(Exception):
    """Rank 0 stops, and says why."""


class _LostError(Exception):
    """Rank 0, who holds the store, is gone."""


class _Board:
    """What processes leave for each other in a store: values and counts, by name.

    Nothing here waits: a store that waits for one thread keeps the others out.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, name: str, value: Any) -> None:
        with _lost_if_broken():
            self._store.set(name, pickle.dumps(value))
        self.count(f'{name}/there', 1)

    def has(self, name: str) -> bool:
        # Stores of torch 2.1 have no way of asking that does not wait.
        return self.count(f'{name}/there', 0) > 0

    def read(self, name: str) -> Any:
        with _lost_if_broken():
            return pickle.loads(self._store.get(name))

    def take(self, name: str) -> Any:
        """Read a value that nobody else will read."""
        value = self.read(name)
        with _lost_if_broken():
            self._store.delete_key(name)
            self._store.delete_key(f'{name}/there')
        return value

    def count(self, name: str, more: int) -> int:
        with _lost_if_broken():
            return self._store.add(name, more)


@contextlib.contextmanager
def _lost_if_broken() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise _LostError(str(error)) from error


def _wait_until(happened: Callable[[], bool]) -> None:
    """Wait, but not for ever."""
    end = time.monotonic() + _SECONDS_TO_STOP
    while time.monotonic() < end and not happened():
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _terminated(*args: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
    sys.exit(f'error: the scan was ended, as launchers do when a process of it died; {_RESUME}')
