"""Scans shared by several processes, which a launcher starts and ``mmengine.dist`` connects.

Of the chunks that are not in the journal, each process runs every ``world_size``-th one, and rank 0
gathers the results. If a process dies, the launcher ends the others. Their finished chunks remain in the
journal.
"""

from __future__ import annotations

import contextlib
import datetime
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed
from mmengine.dist import all_gather_object, get_rank, get_world_size, init_dist
from mmengine.logging import MMLogger

from mindpad_mm.core.errors import UserError, one_line
from mindpad_mm.core.names import LAUNCHERS

# Time for all processes to start.
_SECONDS_TO_START = 300
# Timeout of gathering: processes may finish their shares hours apart.
_TIME_TO_GATHER = datetime.timedelta(days=7)
# Time for the launcher to end the other processes after rank 0 has failed.
_SECONDS_TO_BE_ENDED = 15

_group: torch.distributed.ProcessGroup | None = None


@contextlib.contextmanager
def launched(launcher: str, device: str) -> Iterator[str]:
    """Connect to the other processes that a launcher started, until the context ends.

    Args:
        launcher: The launcher that started this process, one of ``LAUNCHERS``. ``'none'``: there are no
            other processes.
        device: Torch device. With a launcher, any ``'cuda'`` device means the GPU of the process's local
            rank.

    Yields:
        The device of this process.

    Raises:
        UserError: The launcher is unknown, it did not start this process, or not all processes started.
    """
    global _group
    if launcher not in LAUNCHERS:
        raise UserError(
            f'`launcher` {launcher!r} is unknown; choose one of: {", ".join(LAUNCHERS)}'
        )
    if launcher == 'none':
        yield device
        return
    on_gpu = device.startswith('cuda')
    try:
        init_dist(launcher, backend='nccl' if on_gpu else 'gloo', timeout=_SECONDS_TO_START)
        _group = torch.distributed.new_group(timeout=_TIME_TO_GATHER, backend='gloo')
    except KeyError as error:
        raise UserError(
            f'`launcher` {launcher} needs {error} in the environment, which the launcher sets: '
            f'start the command with it, e.g. torchrun --nproc_per_node 2 tools/blindspot_scan.py'
        ) from error
    except RuntimeError as error:
        reason = one_line(error)[:300]
        raise UserError(f'not all processes could start: {reason}') from error
    if get_rank() > 0:
        # mmengine does this itself for loggers that are created from now on.
        MMLogger.get_current_instance().setLevel('ERROR')
    else:
        # Launchers end a process with SIGTERM when another one has died.
        before = signal.signal(signal.SIGTERM, _terminated)
    try:
        yield f'cuda:{torch.cuda.current_device()}' if on_gpu else device
    finally:
        if get_rank() == 0:
            signal.signal(signal.SIGTERM, before)
        _group = None
        torch.distributed.destroy_process_group()


def gathered(value: Any) -> list[Any]:
    """The values of all processes, by rank. Waits until all processes have called this function.

    Args:
        value: Value of this process; must be picklable.
    """
    return [value] if get_world_size() == 1 else all_gather_object(value, _group)


@contextlib.contextmanager
def failing_together() -> Iterator[None]:
    """Handle a UserError in the context on any process: rank 0 raises it, the others exit with 2."""
    error: UserError | None = None
    try:
        yield
    except UserError as raised:
        error = raised
    messages = [message for message in gathered(error and str(error)) if message]
    if not messages:
        return
    if get_rank() == 0:
        raise error or UserError(messages[0])
    # Some launchers end all processes as soon as one has ended, so rank 0 must print its error first.
    time.sleep(_SECONDS_TO_BE_ENDED)
    sys.exit(2)


def _terminated(*args: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # launchers may send it several times
    sys.exit(
        'error: the work was ended, probably because one of its processes died; finished chunks are '
        'kept: resume to continue'
    )
