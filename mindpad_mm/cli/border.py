"""Measure what image borders cost a detector, and how much of that is padding's fault."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.cli.gate import add_gate, check_gate
from mindpad_mm.cli.options import add_settings, new_parser, settings_from
from mindpad_mm.cli.running import add_running, check_launcher, start
from mindpad_mm.core.errors import UserError
from mindpad_mm.settings.border import BorderSettings

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
        run(args, settings_from(args, BorderSettings))


def run(args: argparse.Namespace, settings: BorderSettings) -> None:
    """Measure, print the verdict and write the page.

    Raises:
        UserError: An argument is wrong.
    """
    others = dict(_named_files(text, args.config) for text in args.checkpoints)
    start()
    from mindpad_mm.border import border_loss
    from mindpad_mm.core.detector import DetectorFiles
    from mindpad_mm.core.loading import read_cfg_options
    from mindpad_mm.report import report_border

    options = read_cfg_options(args.cfg_options)
    result = border_loss(
        DetectorFiles(args.config, args.checkpoint, options, args.device),
        args.photos,
        object=args.object,
        checkpoints={
            name: DetectorFiles(*files, options, args.device) for name, files in others.items()
        },
        out=args.out or Path('outputs') / f'{Path(args.config).stem}_border',
        resume=args.resume,
        launcher=args.launcher,
        settings=settings,
    )
    if result is not None:  # only one of several processes gets the result
        report_border(result)
        check_gate(args, result.measured(), 'mindpad border')


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
    add_gate(parser, 'padding_loss@16 > 0.05')
    return parser


def _named_files(text: str, config: str) -> tuple[str, tuple[str, str]]:
    """The name, and the config and checkpoint, of ``NAME=[CONFIG:]FILE``."""
    name, separator, files = text.partition('=')
    if not (separator and name and files):
        raise UserError(f'`checkpoints`: {text!r} is not NAME=FILE or NAME=CONFIG:FILE')
    own_config, separator, checkpoint = files.rpartition('.py:')
    return name, (f'{own_config}.py', checkpoint) if separator else (config, files)
