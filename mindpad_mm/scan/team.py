"""The processes that share a scan: what one of them sees of the others."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import sys
import threading
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import Any, Callable, NamedTuple, NoReturn, Sequence

from mindpad_mm.errors import UserError
from mindpad_mm.scan.shares import Shares

# A machine that vanishes closes no connection: after 30 s without a sign of it, the system does.
_KEEPALIVE = {'TCP_KEEPIDLE': 15, 'TCP_KEEPINTVL': 5, 'TCP_KEEPCNT': 3}
# What is known of a death once the launcher, who sees it too, terminates the survivors.
_SECONDS_TO_NOTICE = 1.0
_SECONDS_TO_TELL = 30.0
_TERMINATED = 128 + signal.SIGTERM


class _Stop(NamedTuple):
    """What a leader that stops early leaves its followers."""

    status: int


class Team:
    """One process alone, and what :class:`Leader` and :class:`Follower` have in common.

    A context: it ends with all processes done, or ends them all. A ``UserError`` raised inside on
    any process is raised on the leader, the others exit with 2 and say nothing.

    Attributes:
        rank: 0 for the leader, who alone writes files.
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
            todo: The tasks. The leader's counts.
            keep: Called with each task and its result, on the leader alone.
        """
        for task in todo:
            keep(task, run(task))

    def __enter__(self) -> Team:
        return self

    def __exit__(self, *error: Any) -> None:
        pass


class Leader(Team):
    """The process of rank 0: hands out the work and takes the results.

    Every follower holds a connection to it, which the system closes when either dies; that, unlike
    a collective of torch.distributed, tells a death at once and tells whose it was. A thread for
    each follower answers it while this process works too.

    Args:
        size: Number of processes.

    Attributes:
        port, key: What a follower needs to connect.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.key = os.urandom(32)
        self._listener = Listener(('', 0), backlog=size, authkey=self.key)
        self.port = self._listener.address[1]
        self._connections: dict[int, Connection] = {}
        self._threads: list[threading.Thread] = []
        self._values: list[Any] = [None] * size
        self._barrier = threading.Barrier(size)
        self._results: queue.Queue[tuple[int, Any]] = queue.Queue()
        self._lock = threading.Lock()
        self._closing = False
        self._failure: UserError | None = None
        self._failed = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def exchange(self, value: Any) -> list[Any]:
        try:
            return self._exchange(0, value)
        except threading.BrokenBarrierError:
            raise self._failure from None

    def work(
        self,
        run: Callable[[int], Any],
        todo: Sequence[int] = (),
        keep: Callable[[int, Any], None] | None = None,
    ) -> None:
        self._shares = Shares(todo, self.size)
        self._exchange(0, None)  # nobody asks before there are shares
        left = len(todo)
        while left:
            task = self._next(0)
            if task is not None:
                keep(task, run(task))
                left -= 1
            while left and (task is None or not self._results.empty()):
                done = self._results.get()
                if self._failure is not None:
                    raise self._failure
                keep(*done)
                left -= 1

    def __enter__(self) -> Leader:
        self._handler = signal.signal(signal.SIGTERM, self._terminated)
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is None:
            for thread in self._threads:  # until their followers have left
                thread.join()
            error = self._failure
        with self._lock:
            self._closing = True
            if error is not None:
                stop = _Stop(2 if isinstance(error, UserError) else 1)
                for connection in self._connections.values():
                    with contextlib.suppress(OSError):
                        connection.send(stop)
        signal.signal(signal.SIGTERM, self._handler)
        self._listener.close()
        if kind is None and error is not None:
            raise error

    def _accept(self) -> None:
        while len(self._connections) < self.size - 1:
            # Whoever does not know the key is no follower.
            with contextlib.suppress(AuthenticationError, EOFError, OSError):
                connection = self._listener.accept()
                _keep_alive(connection)
                rank, who = connection.recv()
                self._connections[rank] = connection
                thread = threading.Thread(
                    target=self._serve, args=(rank, who, connection), daemon=True
                )
                self._threads.append(thread)
                thread.start()

    def _serve(self, rank: int, who: str, connection: Connection) -> None:
        answers = {'exchange': self._exchange, 'next': self._next}
        try:
            while True:
                question, argument = connection.recv()
                if question == 'leave':
                    return
                if question == 'fail':
                    return self._fail(argument)
                answer = answers[question](rank, argument)
                with self._lock:
                    if self._closing:
                        return
                    connection.send(answer)
        except threading.BrokenBarrierError:
            return
        except (EOFError, OSError):
            self._fail(UserError(_died(rank, self.size, f' ({who})')))

    def _exchange(self, rank: int, value: Any) -> list[Any]:
        self._values[rank] = value
        self._barrier.wait()
        values = list(self._values)
        self._barrier.wait()  # nobody gives a next value before all have read this one
        return values

    def _next(self, rank: int, result: tuple[int, Any] | None = None) -> int | None:
        if result is not None:
            self._results.put(result)
        with self._lock:
            return self._shares.take(rank)

    def _fail(self, failure: UserError) -> None:
        self._failure = self._failure or failure
        self._failed.set()
        # The main thread may wait for who never comes, or be deep in a forward pass.
        self._barrier.abort()
        self._results.put((-1, None))
        with self._lock:
            if not self._closing:
                os.kill(os.getpid(), signal.SIGTERM)

    def _terminated(self, *args: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
        self._failed.wait(_SECONDS_TO_NOTICE)
        raise self._failure or SystemExit(_TERMINATED)


class Follower(Team):
    """A process of another rank.

    Args:
        rank: Its own, 1..size - 1.
        size: Number of processes.
        host, port, key: The leader's.

    Raises:
        UserError: The leader cannot be reached.
    """

    def __init__(self, rank: int, size: int, host: str, port: int, key: bytes) -> None:
        self.rank, self.size = rank, size
        try:
            self._connection = Client((host, port), authkey=key)
            _keep_alive(self._connection)
            self._connection.send((rank, f'pid {os.getpid()} on {socket.gethostname()}'))
        except (EOFError, OSError) as error:
            raise UserError(
                f'process {rank} cannot reach process 0 at {host}:{port} ({error}): '
                f'is a firewall between them?'
            ) from error

    def exchange(self, value: Any) -> list[Any]:
        return self._ask('exchange', value)

    def work(
        self,
        run: Callable[[int], Any],
        todo: Sequence[int] = (),
        keep: Callable[[int, Any], None] | None = None,
    ) -> None:
        self.exchange(None)
        task = self._ask('next')
        while task is not None:
            task = self._ask('next', (task, run(task)))

    def __enter__(self) -> Follower:
        self._handler = signal.signal(signal.SIGTERM, self._terminated)
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        signal.signal(signal.SIGTERM, self._handler)
        with contextlib.suppress(OSError):
            if error is None:
                self._connection.send(('leave', None))
            elif isinstance(error, UserError):
                self._connection.send(('fail', error))
                # A launcher ends all when one exits: let the leader tell first.
                self._connection.poll(_SECONDS_TO_TELL)
        if isinstance(error, UserError):
            sys.exit(2)

    def _ask(self, question: str, argument: Any = None) -> Any:
        try:
            if not self._connection.poll():  # what comes unasked is the end
                self._connection.send((question, argument))
            answer = self._connection.recv()
        except (EOFError, OSError):
            self._leader_died()
        if isinstance(answer, _Stop):
            sys.exit(answer.status)
        return answer

    def _leader_died(self) -> NoReturn:
        # One of the survivors is enough to say so.
        sys.exit(f'error: {_died(0, self.size)}' if self.rank == 1 else 1)

    def _terminated(self, *args: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            if self._connection.poll(_SECONDS_TO_NOTICE):
                self._connection.recv()
        except (EOFError, OSError):
            self._leader_died()
        sys.exit(_TERMINATED)


def _died(rank: int, size: int, who: str = '') -> str:
    return (
        f'process {rank} of {size}{who} died (killed, or out of memory?): the scan stops; what is '
        f'finished is kept, the same command with --resume goes on'
    )


def _keep_alive(connection: Connection) -> None:
    with socket.socket(fileno=os.dup(connection.fileno())) as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):  # macOS has other names
                link.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
