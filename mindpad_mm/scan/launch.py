"""Processes that a launcher started find each other."""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator

import torch
from mmengine.dist import broadcast_object_list, get_dist_info, init_dist
from mmengine.logging import MMLogger
from torch.distributed import TCPStore

from mindpad_mm.core.errors import UserError
from mindpad_mm.scan.team import LaunchedTeam, Team

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
# Until all processes have come. Later ones that die are noticed at once.
_SECONDS_TO_COME = 300


@contextlib.contextmanager
def launched(launcher: str, device: str) -> Iterator[tuple[Team, str]]:
    """The team that this process is one of.

    Args:
        launcher: What started the processes, one of ``LAUNCHERS``; ``none``: this one is alone.
        device: ``'cpu'``, ``'cuda'``, ...; with a launcher, ``'cuda'`` is the GPU of the local
            rank whatever number it has.

    Yields:
        The team, and this process's own device.

    Raises:
        UserError: The launcher is unknown or did not start this process, or not all have come.
    """
    if launcher not in LAUNCHERS:
        raise UserError(f'launcher {launcher!r} is unknown; choose one of: {", ".join(LAUNCHERS)}')
    if launcher == 'none':
        yield Team(), device
        return
    on_gpu = device.startswith('cuda')
    try:
        init_dist(launcher, backend='nccl' if on_gpu else 'gloo', timeout=_SECONDS_TO_COME)
        team = _gather()
    except KeyError as error:
        raise UserError(
            f'--launcher {launcher} needs {error} in the environment, which the launcher sets: '
            f'start the tool with it, such as torchrun --nproc_per_node 2 tools/blindspot_scan.py'
        ) from error
    except RuntimeError as error:
        reason = ' '.join(str(error).split())[:300]
        raise UserError(f'not all processes of the scan could start: {reason}') from error
    if team.rank > 0:
        # As mmengine has it for the loggers that are made from now on.
        MMLogger.get_current_instance().setLevel('ERROR')
    try:
        with team:
            yield team, f'cuda:{torch.cuda.current_device()}' if on_gpu else device
    finally:
        torch.distributed.destroy_process_group()


def _gather() -> Team:
    rank, size = get_dist_info()
    host, timeout = os.environ['MASTER_ADDR'], datetime.timedelta(seconds=_SECONDS_TO_COME)
    options = {'wait_for_workers': False, 'timeout': timeout}
    store = TCPStore(host, 0, is_master=True, **options) if rank == 0 else None
    port = [store and store.port]
    broadcast_object_list(port)
    return LaunchedTeam(store or TCPStore(host, port[0], is_master=False, **options), rank, size)
