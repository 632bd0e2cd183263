#!/usr/bin/env python
"""Strip a training checkpoint to its weights, to be shipped."""

from __future__ import annotations

import argparse

from mindpad_mm.core.errors import one_line_errors
from mindpad_mm.zoo.publish import publish

EXAMPLE = 'example:\n  python tools/publish.py work_dirs/ssd/epoch_8.pth ssd.pth'


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('checkpoint', help='what a training run saved')
    parser.add_argument('out', help='file to write')
    parser.add_argument('--half', action='store_true', help='store kernels in half precision')
    args = parser.parse_args()
    publish(args.checkpoint, args.out, args.half)


if __name__ == '__main__':
    main()
