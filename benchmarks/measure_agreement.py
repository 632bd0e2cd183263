#!/usr/bin/env python
"""Compare the incremental engine with the full engine at every position of a scan."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.agreement import MODES, SCANS, agreement_table, compare_family
from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.core.detector import versions
from mindpad_mm.core.files import save_json
from mindpad_mm.core.names import parse_modes
from mindpad_mm.padding.modes import describe, get_modes

EXAMPLE = """\
examples:
  # every detector in every padding mode
  python -m benchmarks.measure_agreement --json outputs/agreement.json

  # one detector at more positions
  python -m benchmarks.measure_agreement --families SSD300 --modes reflect circular --stride 8

The exit status is 1 if scores differ by more than 1e-4 without evidence of a tie, or if head outputs do
and are farther apart than the full engine's are from those in float64. All weights are random except
the zoo's.
"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--families', nargs='+', default=list(SCANS), choices=list(SCANS), metavar='NAME',
        help=f'{", ".join(SCANS)} (all)')  # fmt: skip
    names = ', '.join(describe(get_modes(mode)) for mode in MODES)
    add('--modes', nargs='+', type=parse_modes, default=list(MODES), metavar='MODE',
        help=f"padding modes, 'reflect/circular' for a pair ({names})")  # fmt: skip
    add('--stride', type=int, help='pixels between positions (default: depends on the detector)')
    add('--threads', type=int, default=1, help='number of threads (%(default)s)')
    add('--json', type=Path, metavar='FILE', help='file to write the results to, after every scan')
    add('--markdown', type=Path, metavar='FILE', help='file to write the table to, at the end')
    return parser.parse_args()


@one_line_errors()
def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    console = Console()
    done = []
    for family in args.families:
        for agreement in compare_family(family, args.modes, args.stride):
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
                save_json(args.json, found)
    print(agreement_table(done))
    if args.markdown:
        args.markdown.write_text(agreement_table(done).markdown())
    if not all(agreement.holds for agreement in done):
        sys.exit(1)


if __name__ == '__main__':
    main()
