"""Measure a detector that is blind at its borders, its cure, and one that has nothing to cure."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.cli.options import new_parser
from mindpad_mm.cli.running import start

EXAMPLES = 'example:\n  %(prog)s --out outputs/demo'


def main(argv: Sequence[str] | None = None, prog: str = 'tools/demo.py') -> None:
    """Run the command on ``argv``, by default the arguments of this process."""
    parser = make_parser(prog)
    with one_line_errors(parser):
        args = parser.parse_args(argv)
        start()
        from mindpad_mm.zoo.demo import run_demo

        run_demo(args.out, args.stride, args.num_images)


def make_parser(prog: str) -> argparse.ArgumentParser:
    """The command's options; their destinations are the parameters of :func:`run_demo`."""
    parser = new_parser(__doc__, EXAMPLES, prog)
    add = parser.add_argument
    add('--out', type=Path, default=Path('outputs/demo'), help='output folder (%(default)s)')
    add('--stride', type=int, default=2, help='pixels between positions of a scan (%(default)s)')
    add('--num-images', type=int, default=200, help='drawn images to measure mAP on (%(default)s)')
    return parser
