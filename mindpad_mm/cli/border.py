"""Measure what image borders cost a detector, and how much of that is padding's fault."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mindpad_mm.border import BorderSettings, border_loss
from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.cli.options import add_settings, new_parser, settings_from
from mindpad_mm.cli.running import add_running, check_launcher
from mindpad_mm.core.detector import DetectorFiles
from mindpad_mm.core.errors import UserError
from mindpad_mm.report import report_border

EXAMPLES = """\
examples:
  # five minutes on your own photos, no labels needed
  %(prog)s my_config.py my_checkpoint.pth --photos photos/

  # annotated objects; what would a swap do, or padding the image instead?
  %(prog)s my_config.py my_checkpoint.pth --photos val2017/ --ann instances_val2017.json \\
      --padding reflect circular --input-padding reflect constant --minutes 30

  # two trainings side by side
  %(prog)s zeros.py zeros.pth --photos photos/ --checkpoint reflect=reflect.py:reflect.pth

writes OUT/border.json, OUT/border.csv, OUT/border.png and OUT/report.html.
"""

GROUPS = {
    'objects': ('ann', 'labels', 'label', 'sizes', 'max_objects', 'found_thr', 'iou_thr'),
    'what is compared': ('padding', 'input_padding', 'input_padding_px'),
    'windows': ('distances', 'sides', 'near', 'far', 'fill', 'window', 'zoom', 'placebo'),
    'how much': ('minutes', 'batch_size', 'draws', 'seed'),
}


def main(argv: Sequence[str] | None = None, prog: str = 'tools/border_loss.py') -> None:
    """Run the command on ``argv``, by default the arguments of this process."""
    parser = make_parser(prog)
    with one_line_errors(parser):
        args = parser.parse_args(argv)
        check_launcher(args.launcher)
        result = border_loss(
            DetectorFiles(args.config, args.checkpoint, args.cfg_options, args.device),
            args.photos,
            object=args.object,
            checkpoints=dict(_checkpoint(text, args) for text in args.checkpoints),
            out=args.out or Path('outputs') / f'{Path(args.config).stem}_border',
            resume=args.resume,
            launcher=args.launcher,
            settings=settings_from(args, BorderSettings),
        )
        if result is not None:  # only one of several processes gets the result
            report_border(result)


def make_parser(prog: str) -> argparse.ArgumentParser:
    """The command's options: those of :class:`BorderSettings`, and where to read and write."""
    parser = new_parser(__doc__, EXAMPLES, prog)
    parser.add_argument('config', help='MMDetection config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--photos', nargs='+', required=True, metavar='PATH', help='photos, or folders of photos'
    )
    parser.add_argument(
        '--object',
        nargs='+',
        default=[],
        metavar='FILE',
        help='images to paste as objects, or folders of them',
    )
    parser.add_argument(
        '--checkpoint',
        dest='checkpoints',
        action='append',
        default=[],
        metavar='NAME=[CONFIG:]FILE',
        help='another detector of the same classes to measure beside it; can be repeated',
    )
    add_settings(parser, BorderSettings, GROUPS)
    add_running(parser, 'outputs/<config>_border')
    return parser


def _checkpoint(text: str, args: argparse.Namespace) -> tuple[str, DetectorFiles]:
    name, separator, files = text.partition('=')
    if not (separator and name and files):
        raise UserError(f'`checkpoints`: {text!r} is not NAME=FILE or NAME=CONFIG:FILE')
    config, separator, checkpoint = files.rpartition('.py:')
    if separator:
        return name, DetectorFiles(f'{config}.py', checkpoint, args.cfg_options, args.device)
    return name, DetectorFiles(args.config, files, args.cfg_options, args.device)
