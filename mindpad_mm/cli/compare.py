"""Compare detectors on one test set: mAP, AP by region and blind spots, with confidence intervals."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.cli.gate import add_gate, check_gate
from mindpad_mm.cli.options import add_settings, new_parser, settings_from
from mindpad_mm.cli.running import add_cfg_options, add_verbose, start
from mindpad_mm.cli.scan import add_pasted
from mindpad_mm.core.errors import UserError
from mindpad_mm.settings.compare import CompareSettings
from mindpad_mm.settings.scan import ScanSettings

if TYPE_CHECKING:
    from mindpad_mm.evaluation.entries import Entry

EXAMPLES = """\
a RUN is CONFIG:CHECKPOINT[:KEY=VALUE,...] or a finished work dir of MMEngine[:KEY=VALUE,...]. All
differences are to the first RUN.

examples:
  # two trainings, with a scan of a drawn light on a drawn street
  %(prog)s work_dirs/zeros work_dirs/reflect --scan --out outputs/reflect

  # three seeds of each setting
  %(prog)s --group zeros work_dirs/zeros_{0,1,2} --group reflect work_dirs/reflect_{0,1,2}

  # one checkpoint in every padding mode, with its own and with recalibrated batch norms
  %(prog)s ssd300.py:ssd300.pth --modes all --recalibrate 0 500

writes OUT/comparison.json, OUT/comparison.csv, OUT/comparison.md and OUT/report.html. Results in
OUT/cache are reused, so the same command continues an interrupted comparison.
"""
# Fields of ScanSettings that have an option here.
SCAN = ('sizes', 'stride', 'label', 'iou_thr', 'engine')

GROUPS = {
    'swapping without training': ('modes', 'recalibrate'),
    'confidence intervals and regions': ('draws', 'seed', 'border_px'),
}


def main(argv: Sequence[str] | None = None, prog: str = 'tools/compare.py') -> None:
    """Run the command on ``argv``, by default the arguments of this process."""
    parser = make_parser(prog)
    with one_line_errors(parser):
        args = parser.parse_args(argv)
        if args.name and len(args.name) != len(args.runs):
            raise UserError(f'--name gives {len(args.name)} names to {len(args.runs)} runs')
        scan = scan_options(args)
        if scan is not None:
            settings_from(args, ScanSettings)  # refuses what is not valid before torch is loaded
        run(args, settings_from(args, CompareSettings, cfg_options=None), scan)


def run(args: argparse.Namespace, settings: CompareSettings, scan: dict[str, Any] | None) -> None:
    """Compare, print the table and write the page.

    Raises:
        UserError: An argument is wrong.
    """
    start()
    from mindpad_mm.core.loading import read_cfg_options
    from mindpad_mm.evaluation.compare import compare
    from mindpad_mm.report.comparison_page import report_comparison

    options = read_cfg_options(args.cfg_options)
    settings = dataclasses.replace(settings, cfg_options=options or {})
    comparison = compare(entries(args), args.out, settings, scan=scan)
    report_comparison(comparison, args.verbose)
    check_gate(args, comparison.measured(), 'mindpad compare')


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
    parser.add_argument(
        '--name', '--names', nargs='+', default=[], help='names of the RUNs, one each'
    )
    parser.add_argument('--out', default='outputs/comparison', help='output folder (%(default)s)')
    add_settings(parser, CompareSettings, GROUPS)
    add_cfg_options(parser)
    scan = parser.add_argument_group('blind spots; see `mindpad scan --help`')
    scan.add_argument('--scan', action='store_true', help='scan every run')
    add_pasted(scan)
    add_settings(scan, ScanSettings, only=SCAN, defaults=False)
    add_verbose(parser)
    add_gate(parser, 'mAP@reflect < -0.01')
    return parser


def entries(args: argparse.Namespace) -> list[Entry]:
    """The runs, followed by the groups."""
    from mindpad_mm.evaluation.entries import Group, Run

    names = args.name or [''] * len(args.runs)
    found: list[Entry] = [Run.parse(text, name) for text, name in zip(args.runs, names)]
    for name, *texts in args.group:
        found.append(Group(name, [Run.parse(text) for text in texts]))
    return found


def scan_options(args: argparse.Namespace) -> dict[str, Any] | None:
    """The given options of the scan; None without ``--scan``.

    Raises:
        UserError: Options of the scan were given without ``--scan``.
    """
    given = {name: getattr(args, name) for name in SCAN if name in args}
    given |= {name: getattr(args, name) for name in ('scene', 'object') if getattr(args, name)}
    if given and not args.scan:
        raise UserError('options of the scan were given, but no --scan')
    return given if args.scan else None
