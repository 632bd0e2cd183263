"""Find out why a detector misses objects: check what its padding does."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.cli.options import add_settings, new_parser, settings_from
from mindpad_mm.cli.running import add_cfg_options, add_verbose, start
from mindpad_mm.settings.diagnose import DiagnoseSettings

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


GROUPS = {
    'the object that the shift check follows (a drawn light)': (
        'label', 'from_coco', 'ann_id', 'photo_root',
    ),
}  # fmt: skip


def main(argv: Sequence[str] | None = None, prog: str = 'tools/diagnose.py') -> None:
    """Run the command on ``argv``, by default the arguments of this process."""
    parser = make_parser(prog)
    with one_line_errors(parser):
        args = parser.parse_args(argv)
        run(args, settings_from(args, DiagnoseSettings))


def make_parser(prog: str) -> argparse.ArgumentParser:
    """The command's options."""
    parser = new_parser(__doc__, EXAMPLES, prog)
    parser.add_argument('config', help='MMDetection config file, or torchvision:<classifier>')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file (random weights)')
    parser.add_argument(
        '--input-size',
        nargs=2,
        type=int,
        metavar=('H', 'W'),
        help='pixels (that of the test pipeline; 224 224 for classifiers)',
    )
    parser.add_argument(
        '--photos',
        nargs='+',
        default=[],
        metavar='FILE',
        help='photos, or folders of photos (drawn streets)',
    )
    add_settings(parser, DiagnoseSettings, GROUPS)
    add_cfg_options(parser)
    parser.add_argument('--device', default='cpu', help='cpu (default), cuda:0, ...')
    parser.add_argument('--out', metavar='DIR', required=True, help='output folder')
    add_verbose(parser)
    return parser


def run(args: argparse.Namespace, settings: DiagnoseSettings) -> None:
    """Run the checks, print their results and write the page.

    Raises:
        UserError: An argument is wrong, or a check that was asked for is not possible.
    """
    start()
    from mindpad_mm.core.journal import alone_in
    from mindpad_mm.core.loading import read_cfg_options
    from mindpad_mm.diagnose.suite import check_names
    from mindpad_mm.report.diagnosis_page import make_folder

    command = border_command(args)
    args.cfg_options = read_cfg_options(args.cfg_options)
    check_names(settings)
    out = make_folder(args.out)
    with alone_in(out):
        _run(args, settings, out, command)


def border_command(args: argparse.Namespace) -> str:
    """The command that measures the border loss of the same detector on the same photos."""
    words = ['mindpad', 'border', args.config, args.checkpoint or 'CHECKPOINT']
    words += ['--photos', *(args.photos or ['photos/'])]
    if args.cfg_options:
        words += ['--cfg-options', *args.cfg_options]
    if args.device != 'cpu':
        words += ['--device', args.device]
    return shlex.join(words)


def _run(args: argparse.Namespace, settings: DiagnoseSettings, out: Path, command: str) -> None:
    from mindpad_mm.core.images import list_images, read_image
    from mindpad_mm.diagnose.subject import Subject
    from mindpad_mm.diagnose.suite import diagnose
    from mindpad_mm.report.diagnosis_page import report_diagnosis

    files = list_images(args.photos)
    if len(files) > settings.max_photos:
        print(f'the first {settings.max_photos} of {len(files)} photos are used (--max-photos)')
    photos = [read_image(path, what='photo') for path in files[: settings.max_photos]]
    subject = Subject.load(
        args.config, args.checkpoint, args.input_size, args.cfg_options, args.device
    )
    names = ('config', 'checkpoint', 'cfg_options', 'device', 'label', 'from_coco', 'ann_id')
    info = {name: value for name, value in vars(args).items() if name in names and value}
    if photos:
        info['photos'] = f'{len(photos)} of {len(files)}: {" ".join(args.photos)}'
    if args.checkpoint is None:
        info['note'] = 'No checkpoint was given: the weights are random.'
    suite = diagnose(
        subject, settings, photos, info, random=args.checkpoint is None, command=command
    )
    suite.insist_on([])
    report_diagnosis(suite, out)
    suite.print(verbose=args.verbose)
    print(f'\n{out / "report.html"}')
    suite.insist_on(settings.required)
