"""Several processes share one scan: started by a launcher, joined by ``mmengine.dist``.

Every process scans the chunks ``[rank::world_size]`` that no journal holds yet, and rank 0 gathers them.
A process that dies is noticed by the launcher, which ends the others; their finished chunks are kept.
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

from mindpad_mm.core.errors import UserError

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
# For all processes to start.
_SECONDS_TO_START = 300
# Processes may finish their shares of a scan hours apart.
_TIME_TO_GATHER = datetime.timedelta(days=7)
# After rank 0 has failed, for the launcher to end the other processes.
_SECONDS_TO_BE_ENDED = 15

_group: torch.distributed.ProcessGroup | None = None


@contextlib.contextmanager
def launched(launcher: str, device: str) -> Iterator[str]:
    """Join the processes that a launcher started, until the context ends.

    Args:
        launcher: What started this process, one of ``LAUNCHERS``; ``'none'``: it works alone.
        device: ``'cpu'``, ``'cuda'``, ...; with a launcher, any ``'cuda'`` device means the GPU of the
            process's local rank.

    Yields:
        This process's own device.

    Raises:
        UserError: The launcher is unknown or did not start this process, or not all processes came.
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
            f'start the command with it, such as torchrun --nproc_per_node 2 tools/blindspot_scan.py'
        ) from error
    except RuntimeError as error:
        reason = ' '.join(str(error).split())[:300]
        raise UserError(f'not all processes could start: {reason}') from error
    if get_rank() > 0:
        # As mmengine sets it for loggers that are made from now on.
        MMLogger.get_current_instance().setLevel('ERROR')
    else:
        # How launchers end a process when another one has died.
        before = signal.signal(signal.SIGTERM, _terminated)
    try:
        yield f'cuda:{torch.cuda.current_device()}' if on_gpu else device
    finally:
        if get_rank() == 0:
            signal.signal(signal.SIGTERM, before)
        _group = None
        torch.distributed.destroy_process_group()


def gathered(value: Any) -> list[Any]:
    """The (picklable) values of all processes, by rank; waits for all of them."""
    return [value] if get_world_size() == 1 else all_gather_object(value, _group)


@contextlib.contextmanager
def failing_together() -> Iterator[None]:
    """If a UserError is raised inside on any process, rank 0 raises it and the others end with 2."""
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
    # Some launchers end all processes as soon as one ends: rank 0 must print its message first.
    time.sleep(_SECONDS_TO_BE_ENDED)
    sys.exit(2)


def _terminated(*args: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
    sys.exit(
        'error: the work was ended, as launchers do when one of its processes died; finished chunks '
        'are kept, the same command with --resume continues'
    )
