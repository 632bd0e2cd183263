"""Options of the commands that run a detector for long: where to, on what, by which processes."""

from __future__ import annotations

import argparse
import os
import warnings

from mindpad_mm import load
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.names import LAUNCHERS


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
    add_cfg_options(run)


def add_verbose(parser: argparse.ArgumentParser) -> None:
    """Add ``--verbose``."""
    parser.add_argument(
        '--verbose', action='store_true', help='print all tables, not the main ones'
    )


def add_cfg_options(group: argparse._ActionsContainer) -> None:
    """Add ``--cfg-options``; :func:`mindpad_mm.core.loading.read_cfg_options` reads its values."""
    group.add_argument(
        '--cfg-options', nargs='+', metavar='KEY=VALUE', help='overrides of the config'
    )


def start() -> None:
    """Load torch and MMDetection, without what they say about their own code.

    Call it after the arguments are parsed: the import takes seconds.
    """
    for module in ('torch', 'mmcv', 'mmdet', 'mmengine'):
        for category in (FutureWarning, DeprecationWarning):
            warnings.filterwarnings('ignore', category=category, module=rf'{module}(\.|$)')
    warnings.filterwarnings('ignore', message='.*torch.meshgrid', category=UserWarning)
    load()
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    logger.addFilter(lambda record: not record.getMessage().startswith('Loads checkpoint by'))


def check_launcher(launcher: str) -> None:
    """Refuse to work alone in a process of torchrun: each would do everything, in the same folder.

    Raises:
        UserError: torchrun started this process, and ``launcher`` is ``'none'``.
    """
    if launcher == 'none' and 'TORCHELASTIC_RUN_ID' in os.environ:
        raise UserError(
            'torchrun started this process: add --launcher pytorch, or start it with python'
        )
