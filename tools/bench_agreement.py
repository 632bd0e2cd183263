#!/usr/bin/env python
"""Compare whole scans of the incremental engine with the full engine's, position by position."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from rich.console import Console

from mindpad_mm.benchmarks.agreement import MODES, SCANS, agreement_table, compare
from mindpad_mm.errors import one_line_errors
from mindpad_mm.scan.detector import versions

EXAMPLE = """\
examples:
  # every detector in every padding mode
  tools/bench_agreement.py --json outputs/agreement.json

  # one detector more densely
  tools/bench_agreement.py --families SSD300 --modes reflect circular --stride 8

Exit status 1 where scores or head outputs differ by more than 1e-4 and nothing shows that a tie
decided it. Weights are random but for the zoo's.
"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--families', nargs='+', default=list(SCANS), choices=list(SCANS), metavar='NAME',
        help=f'{", ".join(SCANS)} (all)')  # fmt: skip
    names = ['/'.join(mode) if isinstance(mode, tuple) else mode for mode in MODES]
    add('--modes', nargs='+', default=names, metavar='MODE',
        help="padding modes, 'reflect/circular' for a pair (%(default)s)")  # fmt: skip
    add('--stride', type=int, help='pixels between positions (each detector its own)')
    add('--threads', type=int, default=1, help='threads to run on (%(default)s)')
    add('--json', type=Path, metavar='FILE', help='write the outcome here, after every scan')
    add('--markdown', type=Path, metavar='FILE', help='write the table here, at the end')
    return parser.parse_args()


@one_line_errors
def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    modes = [tuple(mode.split('/')) if '/' in mode else mode for mode in args.modes]
    console = Console()
    done = []
    for family in args.families:
        for agreement in compare(family, modes, args.stride):
            done.append(agreement)
            verdict = 'agree' if agreement.holds else 'DIFFER'
            console.print(
                f'{family}, {agreement.mode}: {verdict}, {agreement.positions} positions, '
                f'{agreement.seconds:.0f} s'
            )
            for difference in agreement.differences:
                console.print(f'  {difference}')
            if args.json:
                found = {
                    'versions': versions(),
                    'threads': args.threads,
                    'scans': [each.to_json() for each in done],
                }
                args.json.parent.mkdir(parents=True, exist_ok=True)
                args.json.write_text(json.dumps(found, indent=1) + '\n')
    print(agreement_table(done))
    if args.markdown:
        args.markdown.write_text(agreement_table(done).markdown())
    if not all(agreement.holds for agreement in done):
        sys.exit(1)


if __name__ == '__main__':
    main()
