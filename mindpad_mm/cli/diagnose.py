"""Find out why a detector misses objects: check what its padding does."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.cli.options import new_parser
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.images import list_images, read_image
from mindpad_mm.core.loading import CfgOptions
from mindpad_mm.diagnose import CHECKS, Subject, diagnose
from mindpad_mm.padding.modes import parse_modes
from mindpad_mm.report.diagnosis_page import make_folder, report_diagnosis

EXAMPLES = """\
examples:
  # every check, on drawn streets
  %(prog)s configs/ssd/ssd300_reflect_coco.py ssd300.pth --out outputs/ssd300

  # which layers pad unevenly at 225 x 225, and which filters are asymmetric; no checkpoint needed
  %(prog)s torchvision:resnet18 --checks evenness filters --input-size 225 225 \\
      --out outputs/r18

  # what padding does to your own photos, and which mode has the smallest error
  %(prog)s my_config.py my_checkpoint.pth --checks padding_error --photos photos/ \\
      --out outputs/mine

  # the score of a traffic light of your photos as its photo moves under the frame
  %(prog)s my_config.py my_checkpoint.pth --checks shift \\
      --from-coco instances_val2017.json --ann-id 404330 --photo-root val2017/ --out outputs/light
"""


def main(argv: Sequence[str] | None = None, prog: str = 'tools/diagnose.py') -> None:
    """Run the command on ``argv``, by default the arguments of this process."""
    parser = make_parser(prog)
    with one_line_errors(parser):
        run(parser.parse_args(argv))


def make_parser(prog: str) -> argparse.ArgumentParser:
    """The command's options."""
    parser = new_parser(__doc__, EXAMPLES, prog)
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
        help='pixels (that of the test pipeline; 224 224 for classifiers)',
    )
    parser.add_argument(
        '--modes',
        type=parse_modes,
        nargs='+',
        metavar='MODE',
        help='padding modes to compare (all; artifacts: one), or pairs such as reflect/circular, '
        'vertical first',
    )
    parser.add_argument(
        '--photos',
        nargs='+',
        default=[],
        metavar='FILE',
        help='photos, or folders of photos (drawn streets)',
    )
    parser.add_argument(
        '--max-photos', type=int, default=8, metavar='N', help='use the first N photos (8)'
    )
    shift = parser.add_argument_group('the object that the shift check follows (a drawn light)')
    shift.add_argument(
        '--label',
        help="its class ('traffic light' if there is one, else the only class; of a classifier: a "
        'number)',
    )
    shift.add_argument(
        '--from-coco', metavar='JSON', help='an annotated object of a COCO file, in its own photo'
    )
    shift.add_argument('--ann-id', type=int, metavar='ID', help='id of its annotation')
    shift.add_argument('--photo-root', metavar='DIR', help='folder of the photos of --from-coco')
    parser.add_argument(
        '--cfg-options', nargs='+', action=CfgOptions, help='overrides of the config, key=value'
    )
    parser.add_argument('--device', default='cpu', help='cpu (default), cuda:0, ...')
    parser.add_argument('--seed', type=int, default=0, help='seed of drawn scenes and objects (0)')
    parser.add_argument('--out', metavar='DIR', required=True, help='output folder')
    return parser


def run(args: argparse.Namespace) -> None:
    """Run the checks, print their results and write the page.

    Raises:
        UserError: An argument is wrong, or a check that was asked for is not possible.
    """
    out = make_folder(args.out)
    if args.max_photos < 1:
        raise UserError(f'--max-photos {args.max_photos}: it must be at least 1')
    object_given = any(x is not None for x in (args.label, args.from_coco, args.ann_id))
    if object_given and args.checks and 'shift' not in args.checks:
        raise UserError('--label, --from-coco and --ann-id are for the check shift: name it too')
    files = list_images(args.photos)
    if len(files) > args.max_photos:
        print(f'the first {args.max_photos} of {len(files)} photos are used (--max-photos)')
    photos = [read_image(path, what='photo') for path in files[: args.max_photos]]
    subject = Subject.load(
        args.config, args.checkpoint, args.input_size, args.cfg_options, args.device
    )
    names = ('config', 'checkpoint', 'cfg_options', 'device', 'label', 'from_coco', 'ann_id')
    info = {name: value for name, value in vars(args).items() if name in names and value}
    if photos:
        info['photos'] = f'{len(photos)} of {len(files)}: {" ".join(args.photos)}'
    if args.checkpoint is None:
        info['note'] = 'No checkpoint was given: this is about random weights.'
    suite = diagnose(
        subject,
        args.checks,
        photos,
        args.seed,
        info,
        modes=args.modes,
        label=args.label,
        from_coco=args.from_coco,
        ann_id=args.ann_id,
        photo_root=args.photo_root,
    )
    suite.insist_on([])
    report_diagnosis(suite, out)
    suite.print()
    if 'note' in info:
        print(info['note'])
    print(f'written to {args.out}: report.html, diagnosis.json, a PNG for each check')
    suite.insist_on([*(args.checks or ()), *(['shift'] if object_given else [])])
