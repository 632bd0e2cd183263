"""Compare detectors on one test set: mAP, AP by region and blind spots, with confidence intervals."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.cli.options import add_settings, new_parser
from mindpad_mm.cli.scan import add_pasted
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import CfgOptions
from mindpad_mm.evaluation.compare import compare
from mindpad_mm.evaluation.regions import BORDER_PX
from mindpad_mm.evaluation.runs import Entry, Group, Run, swapped_runs
from mindpad_mm.padding.modes import parse_modes
from mindpad_mm.report.comparison_page import report_comparison
from mindpad_mm.scan import ScanSettings

EXAMPLES = """\
a RUN is CONFIG:CHECKPOINT[:KEY=VALUE,...] or a finished work dir of MMEngine[:KEY=VALUE,...]. All
differences are to the first RUN.

examples:
  # two trainings, with a scan of a drawn light on a drawn street
  %(prog)s work_dirs/zeros work_dirs/reflect --scan --out outputs/reflect

  # three seeds of each setting
  %(prog)s --group zeros work_dirs/zeros_{0,1,2} --group reflect work_dirs/reflect_{0,1,2}

  # one checkpoint under every padding mode, as it is and with recalibrated batch norms
  %(prog)s ssd300.py:ssd300.pth --modes all --recalibrate 0 500

writes OUT/comparison.json, OUT/comparison.md and OUT/report.html. Results in OUT/cache are reused, so
the same command continues an interrupted comparison.
"""
# The settings of the scan that have an option here.
SCAN = ('sizes', 'stride', 'label', 'iou_thr', 'engine')


def main(argv: Sequence[str] | None = None, prog: str = 'tools/compare.py') -> None:
    """Run the command on ``argv``, by default the arguments of this process."""
    parser = make_parser(prog)
    with one_line_errors(parser):
        args = parser.parse_args(argv)
        comparison = compare(
            entries(args),
            args.out,
            draws=args.draws,
            seed=args.seed,
            border_px=args.border_px,
            scan=scan_options(args),
            cfg_options=args.cfg_options,
            device=args.device,
        )
        report_comparison(comparison)


def make_parser(prog: str) -> argparse.ArgumentParser:
    """The command's options."""
    parser = new_parser(__doc__, EXAMPLES, prog)
    parser.add_argument('runs', nargs='*', metavar='RUN', help='a trained detector, see below')
    parser.add_argument(
        '--group',
        nargs='+',
        action='append',
        default=[],
        metavar=('NAME', 'RUN'),
        help='runs of one setting with different seeds, shown as mean and standard deviation',
    )
    parser.add_argument('--name', nargs='+', default=[], help='names of the RUNs, one each')
    parser.add_argument(
        '--cfg-options', nargs='+', action=CfgOptions, help='overrides of every config, key=value'
    )
    parser.add_argument('--out', default='outputs/comparison', help='output folder (%(default)s)')
    parser.add_argument('--device', default='cpu', help='cpu (default), cuda:0, ...')
    swap = parser.add_argument_group('swapping without training')
    swap.add_argument(
        '--modes',
        nargs='+',
        type=parse_modes,
        default=[],
        metavar='MODE',
        help="also evaluate every RUN under these padding modes: 'all', names, or pairs such as "
        'reflect/circular (vertical/horizontal)',
    )
    swap.add_argument(
        '--recalibrate',
        nargs='+',
        type=int,
        default=[0],
        metavar='N',
        help='after the swap, estimate batch-norm statistics on N training images; 0 (default) '
        'keeps those of the checkpoint, several numbers give one row each',
    )
    intervals = parser.add_argument_group('confidence intervals and regions')
    intervals.add_argument(
        '--draws',
        type=int,
        default=1000,
        help='bootstrap draws (%(default)s); below 40 there are no intervals',
    )
    intervals.add_argument('--seed', type=int, default=0, help='seed of the draws (%(default)s)')
    intervals.add_argument(
        '--border-px',
        nargs='+',
        type=float,
        default=BORDER_PX,
        help=f'bin edges of the distance to the border ({" ".join(map(str, BORDER_PX))})',
    )
    scan = parser.add_argument_group('blind spots; see `mindpad scan --help`')
    scan.add_argument('--scan', action='store_true', help='scan every run')
    add_pasted(scan)
    add_settings(scan, ScanSettings, only=SCAN, defaults=False)
    return parser


def entries(args: argparse.Namespace) -> list[Entry]:
    """The runs, each followed by its swapped ones, and then the groups.

    Raises:
        UserError: Options do not go together.
    """
    if args.name and len(args.name) != len(args.runs):
        raise UserError(f'--name gives {len(args.name)} names to {len(args.runs)} runs')
    if args.recalibrate != [0] and not args.modes:
        raise UserError('--recalibrate is for padding swapped with --modes: give those')
    if args.modes and args.group:
        raise UserError('--modes is for single runs: leave out --group')
    names = args.name or [''] * len(args.runs)
    found: list[Entry] = [Run.parse(text, name) for text, name in zip(args.runs, names)]
    if args.modes:
        modes: Any = 'all' if args.modes == ['all'] else list(dict.fromkeys(args.modes))
        images = list(dict.fromkeys(args.recalibrate))
        found = [
            each for run in found for each in swapped_runs(run, modes, images, args.cfg_options)
        ]
    for name, *texts in args.group:
        found.append(Group(name, [Run.parse(text) for text in texts]))
    return found


def scan_options(args: argparse.Namespace) -> dict[str, Any] | None:
    """The options of the scan that were given; None without ``--scan``.

    Raises:
        UserError: Options of the scan were given without ``--scan``.
    """
    given = {name: getattr(args, name) for name in SCAN if name in args}
    given |= {name: getattr(args, name) for name in ('scene', 'object') if getattr(args, name)}
    if given and not args.scan:
        raise UserError('options of the scan were given, but no --scan')
    return given if args.scan else None
