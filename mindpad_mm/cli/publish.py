"""Reduce a training checkpoint to its weights, for distribution."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.cli.options import new_parser
from mindpad_mm.cli.running import start

EXAMPLES = 'example:\n  python %(prog)s work_dirs/ssd/epoch_8.pth ssd.pth'


def main(argv: Sequence[str] | None = None, prog: str = 'tools/publish.py') -> None:
    """Run the command on ``argv``, by default the arguments of this process."""
    parser = make_parser(prog)
    with one_line_errors(parser):
        args = parser.parse_args(argv)
        start()
        from mindpad_mm.zoo.publish import publish

        publish(args.checkpoint, args.out, args.half)


def make_parser(prog: str) -> argparse.ArgumentParser:
    """The command's options; their destinations are the parameters of :func:`publish`."""
    parser = new_parser(__doc__, EXAMPLES, prog)
    parser.add_argument('checkpoint', help='checkpoint of a training run')
    parser.add_argument('out', help='file to write')
    parser.add_argument(
        '--half', action='store_true', help='store convolution kernels in half precision'
    )
    return parser
