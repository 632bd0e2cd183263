#!/usr/bin/env python
"""Find out why a detector goes blind: what its padding does, check by check."""

from __future__ import annotations

import argparse

from mmengine.config import DictAction

from mindpad_mm.diagnose import CHECKS, Subject, diagnose
from mindpad_mm.errors import one_line_errors
from mindpad_mm.scan.images import list_images, read_image

EXAMPLE = """\
examples:
  # every check, on drawn streets
  tools/diagnose.py configs/ssd/ssd300_reflect_coco.py ssd300.pth --out outputs/ssd300

  # which layers pad unevenly at 225 x 225, and which filters lean; no checkpoint needed
  tools/diagnose.py torchvision:resnet18 --checks evenness filters --input-size 225 225 \\
      --out outputs/r18

  # what padding does to your own photos, and which mode does least
  tools/diagnose.py my_config.py my_checkpoint.pth --checks padding_error --photos photos/ \\
      --out outputs/mine
"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='MMDetection config file, or torchvision:<classifier>')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file (random weights)')
    parser.add_argument(
        '--checks', nargs='+', metavar='CHECK', help=f'which to run (all): {", ".join(CHECKS)}'
    )
    parser.add_argument(
        '--input-size',
        nargs=2,
        type=int,
        metavar=('H', 'W'),
        help="pixels (the test pipeline's; 224 224 for classifiers)",
    )
    parser.add_argument(
        '--photos', nargs='+', default=[], metavar='FILE', help='photos, or folders (drawn streets)'
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='overrides of the config, key=value'
    )
    parser.add_argument('--device', default='cpu', help='cpu (default), cuda:0, ...')
    parser.add_argument('--seed', type=int, default=0, help='seed of what is drawn (0)')
    parser.add_argument('--out', metavar='DIR', required=True, help='output folder')
    return parser.parse_args()


@one_line_errors
def main() -> None:
    args = parse_args()
    photos = [read_image(path, what='photo') for path in list_images(args.photos)]
    subject = Subject.load(
        args.config, args.checkpoint, args.input_size, args.cfg_options, args.device
    )
    names = ('config', 'checkpoint', 'cfg_options', 'photos', 'device')
    info = {name: value for name, value in vars(args).items() if name in names and value}
    suite = diagnose(subject, args.checks, photos, args.out, args.seed, info)
    suite.print()
    print(f'written to {args.out}: report.html, diagnosis.json, a PNG for each check')


if __name__ == '__main__':
    main()
