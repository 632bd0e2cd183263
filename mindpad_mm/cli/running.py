"""Options of the commands that run a detector for long: where to, on what, by which processes."""

from __future__ import annotations

import argparse
import os

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import CfgOptions
from mindpad_mm.core.processes import LAUNCHERS


def add_running(parser: argparse.ArgumentParser, folder: str) -> None:
    """Add ``--out``, ``--resume``, ``--device``, ``--launcher`` and ``--cfg-options``.

    Args:
        parser: The command's.
        folder: The default of ``--out``, for the help.
    """
    run = parser.add_argument_group('where and how it runs')
    run.add_argument('--out', metavar='DIR', help=f'output folder ({folder})')
    run.add_argument('--resume', action='store_true', help='continue the interrupted work in --out')
    run.add_argument('--device', default='cpu', help='cpu (default), cuda:0, ...')
    run.add_argument(
        '--launcher',
        choices=LAUNCHERS,
        default='none',
        help='what started the processes that share the work (none: one process); for torchrun: '
        'pytorch',
    )
    run.add_argument(
        '--cfg-options', nargs='+', action=CfgOptions, help='overrides of the config, key=value'
    )


def check_launcher(launcher: str) -> None:
    """Refuse to work alone in a process of torchrun: each would do everything, in the same folder.

    Raises:
        UserError: torchrun started this process, and ``launcher`` is ``'none'``.
    """
    if launcher == 'none' and 'TORCHELASTIC_RUN_ID' in os.environ:
        raise UserError(
            'torchrun started this process: add --launcher pytorch, or start it with python'
        )
