#!/usr/bin/env python
"""Compare detectors on one test set: mAP, AP by place, blind spots, and how sure each difference is."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

# The package beside this file, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
try:
    from mindpad_mm.core.errors import UserError, one_line_errors
    from mindpad_mm.core.loading import CfgOptions
    from mindpad_mm.evaluation.compare import compare
    from mindpad_mm.evaluation.regions import BORDER_PX
    from mindpad_mm.evaluation.runs import Entry, Group, Run, swapped_runs
    from mindpad_mm.padding.modes import parse_modes
    from mindpad_mm.report.comparison_page import report_comparison
    from mindpad_mm.scan import ENGINES
except ValueError as error:  # mmcv is missing
    sys.exit(f'error: {error}')

EXAMPLE = """\
a RUN is CONFIG:CHECKPOINT[:KEY=VALUE,...] or a finished work dir of MMEngine[:KEY=VALUE,...]; the
first one is the reference of every difference.

examples:
  # two trainings, with a scan of a drawn light on a drawn street
  tools/compare.py work_dirs/zeros work_dirs/reflect --scan --out outputs/reflect

  # three seeds of each setting
  tools/compare.py --group zeros work_dirs/zeros_{0,1,2} --group reflect work_dirs/reflect_{0,1,2}

  # one checkpoint under every padding mode, as it is and with its batch norms estimated anew
  tools/compare.py ssd300.py:ssd300.pth --modes all --recalibrate 0 500

writes OUT/comparison.json, OUT/comparison.md and OUT/report.html; what is in OUT/cache is not computed
again, so that an interrupted comparison goes on where it stood.
"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('runs', nargs='*', metavar='RUN', help='see below')
    parser.add_argument(
        '--group',
        nargs='+',
        action='append',
        default=[],
        metavar=('NAME', 'RUN'),
        help='seeds of one setting, shown as mean and standard deviation',
    )
    parser.add_argument('--name', nargs='+', default=[], help='what to call the RUNs, one each')
    parser.add_argument(
        '--cfg-options', nargs='+', action=CfgOptions, help='overrides of every config, key=value'
    )
    parser.add_argument('--out', default='outputs/comparison', help='folder (%(default)s)')
    parser.add_argument('--device', default='cpu', help='cpu (default), cuda:0, ...')
    swap = parser.add_argument_group('swap without training')
    swap.add_argument(
        '--modes',
        nargs='+',
        type=parse_modes,
        default=[],
        metavar='MODE',
        help="evaluate every RUN under these padding modes as well: 'all', names, or pairs such as "
        'reflect/circular (vertical/horizontal)',
    )
    swap.add_argument(
        '--recalibrate',
        nargs='+',
        type=int,
        default=[0],
        metavar='N',
        help='after the swap, estimate batch-norm statistics on N training images; 0 (default) '
        'leaves them, several numbers give a row each',
    )
    sure = parser.add_argument_group('how sure')
    sure.add_argument(
        '--draws',
        type=int,
        default=1000,
        help='of the bootstrap (%(default)s); below 40 there are no intervals',
    )
    sure.add_argument('--seed', type=int, default=0, help='of the draws (%(default)s)')
    sure.add_argument(
        '--border-px',
        nargs='+',
        type=float,
        default=BORDER_PX,
        help=f'edges of the bins of distance to the border ({" ".join(map(str, BORDER_PX))})',
    )
    scan = parser.add_argument_group('blind spots; see tools/blindspot_scan.py')
    scan.add_argument('--scan', action='store_true', help='scan every run')
    scan.add_argument('--background', nargs='+', metavar='FILE', help='photos, or folders of them')
    scan.add_argument('--object', nargs='+', metavar='FILE', help='images to paste')
    scan.add_argument('--size', nargs='+', type=int, help="object's longer side, pixels (32)")
    scan.add_argument('--stride', type=int, help='pixels between positions (4)')
    scan.add_argument('--label', help='class to look for')
    scan.add_argument('--iou-thr', type=float, help='least IoU with the pasted box (0.5)')
    scan.add_argument('--engine', help=f'auto (default), {", ".join(ENGINES.module_dict)}')
    return parser.parse_args()


def entries(args: argparse.Namespace) -> list[Entry]:
    """The runs, each with its swaps after it, and then the groups."""
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
    """Options of the scan that were given; None if none is asked for."""
    given = {
        'backgrounds': args.background,
        'objects': args.object,
        'sizes': args.size,
        'stride': args.stride,
        'label': args.label,
        'iou_thr': args.iou_thr,
        'engine': args.engine,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if given and not args.scan:
        raise UserError('options of the scan were given, but no --scan')
    return given if args.scan else None


@one_line_errors
def main() -> None:
    args = parse_args()
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


if __name__ == '__main__':
    main()
