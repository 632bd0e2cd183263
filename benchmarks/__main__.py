#!/usr/bin/env python
"""Measure every metric that has a goal, and print them in one table."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from benchmarks.commands import write_ssd300
from benchmarks.goals import metrics_table
from benchmarks.suite import GROUPS, Effort
from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.core.detector import versions
from mindpad_mm.core.files import save_json
from mindpad_mm.core.loading import check_device

EXAMPLE = """\
examples:
  python -m benchmarks                                   # up to an hour and a half, idle machine
  python -m benchmarks --only ssd300 zoo --repeats 15    # the engines, more repeats
  python -m benchmarks --quick                           # one repeat each, to check that all of it runs

Everything runs on one thread, except the group "processes". The variants that are compared run
alternately. A metric is the median over the repeats, shown with its quartiles. Ratios are of CPU
time, which other programs affect least; several processes against one, and all work on a GPU, are
measured in wall time.
"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--only', nargs='+', default=list(GROUPS), choices=list(GROUPS), metavar='GROUP',
        help=f'what to measure: {", ".join(GROUPS)} (all)')  # fmt: skip
    add('--repeats', type=int, default=Effort.race, help='repeats of the engines (%(default)s)')
    add('--device', default='cpu',
        help='torch device; on a GPU, ratios are of wall time and TF32 is off (%(default)s)')  # fmt: skip
    add('--quick', action='store_true', help='one repeat of everything')
    add('--json', type=Path, default=Path('outputs/bench.json'), metavar='FILE',
        help='file to write the metrics to, after each group (%(default)s)')  # fmt: skip
    add('--write-ssd300', type=Path, metavar='FILE',
        help='only write the SSD300 checkpoint that the benchmarks scan')  # fmt: skip
    return parser.parse_args()


@one_line_errors()
def main() -> None:
    args = parse_args()
    torch.set_num_threads(1)
    if args.write_ssd300:
        write_ssd300(args.write_ssd300)
        return
    check_device(args.device)
    # The engines agree within 1e-4 only where products have all their bits.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    effort = (
        Effort.least(args.device) if args.quick else Effort(race=args.repeats, device=args.device)
    )
    metrics = []
    for group in args.only:
        measured = GROUPS[group](effort)
        metrics += measured
        if measured:
            print(metrics_table(measured[-1:]), flush=True)
        found = {
            'versions': versions(),
            'device': torch.cuda.get_device_name(args.device) if not effort.on_cpu else 'CPU',
            'figures': [metric.to_json() for metric in metrics],
        }
        save_json(args.json, found)
    print(metrics_table(metrics, 'goals and metrics'))


if __name__ == '__main__':
    main()
