"""Time a detector in every padding mode against zeros, alternately in one process."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.padding import LAYOUTS, MODES, Settings, measure, table
from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.core.files import save_json

EXAMPLE = """examples:
  forward pass:
    python -m benchmarks.measure_padding --out padding_forward.json
  training step:
    python -m benchmarks.measure_padding --train --batch 4 --repeats 5 --out padding_train.json

Ratios are medians of CPU time over pairs of runs (zeros, then the mode). torch's own padding_mode
and a partial convolution with a mask are timed for comparison.
"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    base = Settings()
    add('--config', default=base.config, help='config of MMDetection (%(default)s)')
    add('--size', type=int, default=base.size, help='side of the input, pixels (%(default)s)')
    add('--batch', type=int, default=base.batch, help='batch size (%(default)s)')
    add('--layout', choices=list(LAYOUTS), default=base.layout, help='memory format (%(default)s)')
    add('--train', action='store_true', help='time training steps instead of forward passes')
    add('--repeats', type=int, default=base.repeats, help='number of pairs to time (%(default)s)')
    add('--modes', nargs='+', default=list(MODES), help='padding modes (%(default)s)')
    add(
        '--only-ours',
        action='store_true',
        help="leave out torch's own modes and the mask convolution",
    )
    add('--threads', type=int, default=1, help='number of threads (%(default)s)')
    add('--out', type=Path, help='JSON file to write the timings to')
    return parser.parse_args()


@one_line_errors()
def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    settings = Settings(
        args.config,
        args.size,
        args.batch,
        args.layout,
        args.train,
        args.repeats,
        not args.only_ours,
    )
    timings = measure(settings, args.modes)
    Console().print(table(settings, timings))
    if args.out:
        found = {
            'settings': dataclasses.asdict(settings),
            'threads': args.threads,
            'torch': torch.__version__,
            'clock': 'process_time',
            'timings': [dataclasses.asdict(timing) for timing in timings],
        }
        save_json(args.out, found)


if __name__ == '__main__':
    main()
