"""Run a generator in a process of its own, with limits: what it crashes or fills is not ours."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

# The libraries are imported once, by this process; `fork` takes them along.
_CONTEXT = multiprocessing.get_context('fork')


def isolated(
    generate: Callable[..., Iterator[Any]], *args: Any, seconds: float, gigabytes: float
) -> tuple[list[Any], str | None]:
    """What a generator yields in a process of its own.

    Args:
        generate: The generator function. What it yields must be picklable.
        args: Its arguments.
        seconds: Wall time after which the process is killed.
        gigabytes: Memory that it may allocate.

    Returns:
        What it yielded, and why it ended early; None if it came to its end.
    """
    receiver, sender = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_run, args=(sender, generate, args, gigabytes))
    process.start()
    sender.close()
    yielded: list[Any] = []
    deadline = time.monotonic() + seconds
    ended = f'took more than {seconds:g} s'
    while receiver.poll(max(0.0, deadline - time.monotonic())):
        try:
            finished, value = receiver.recv()
        except EOFError:
            process.join()
            ended = _death(process.exitcode)
            break
        if finished:
            process.join()
            return yielded, None
        yielded.append(value)
    process.kill()
    process.join()
    return yielded, ended


def _run(
    sender: Connection, generate: Callable[..., Iterator[Any]], args: Any, gigabytes: float
) -> None:
    limit = int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    for value in generate(*args):
        sender.send((False, value))
    sender.send((True, None))


def _death(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return f'the process was ended by signal {-exitcode}'
    return f'the process ended with status {exitcode}'
