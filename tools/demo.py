#!/usr/bin/env python
"""Scan and test the shipped checkpoints, which differ in their padding alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from mindpad_mm.core.errors import one_line_errors
from mindpad_mm.zoo.demo import run_demo

EXAMPLE = 'example:\n  python tools/demo.py --out outputs/demo'


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', type=Path, default=Path('outputs/demo'), help='(%(default)s)')
    parser.add_argument('--stride', type=int, default=4, help='of the scans, pixels (%(default)s)')
    parser.add_argument(
        '--num-images', type=int, default=200, help='drawn images to measure mAP on (%(default)s)'
    )
    args = parser.parse_args()
    run_demo(args.out, args.stride, args.num_images)


if __name__ == '__main__':
    main()
