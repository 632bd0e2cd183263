"""Let a detector's padding learn from its own outputs on larger photos, without labels."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.cli.options import add_settings, new_parser, settings_from
from mindpad_mm.cli.running import add_cfg_options, start
from mindpad_mm.settings.adapt import AdaptSettings

EXAMPLES = """\
examples:
  # learn from three quarters of the photos, measure on the rest
  %(prog)s my_config.py my_checkpoint.pth --photos photos/ --out outputs/adapted

  # with objects pasted near the sides of windows
  %(prog)s my_config.py my_checkpoint.pth --photos photos/ --object lights/ --size 20 28 \\
      --out outputs/adapted

writes OUT/adapted.py and OUT/adapted.pth, which every tool takes, OUT/adapt.json, and the border loss
of both detectors in OUT/border. Measure border loss first: where padding is not to blame, there is
nothing to learn.
"""

GROUPS = {
    'learning': ('steps', 'batch', 'rate', 'surroundings', 'near', 'seed'),
    'objects and measurement': ('sizes', 'label', 'minutes'),
}


def main(argv: Sequence[str] | None = None, prog: str = 'tools/adapt.py') -> None:
    """Run the command on ``argv``, by default the arguments of this process."""
    parser = make_parser(prog)
    with one_line_errors(parser):
        args = parser.parse_args(argv)
        run(args, settings_from(args, AdaptSettings))


def run(args: argparse.Namespace, settings: AdaptSettings) -> None:
    """Learn, measure, and print the verdict.

    Raises:
        UserError: An argument is wrong.
    """
    start()
    from mindpad_mm.adapt import adapt
    from mindpad_mm.core.detector import DetectorFiles
    from mindpad_mm.core.loading import read_cfg_options
    from mindpad_mm.report import report_border

    options = read_cfg_options(args.cfg_options)
    result = adapt(
        DetectorFiles(args.config, args.checkpoint, options, args.device),
        args.photos,
        args.out or Path('outputs') / f'{Path(args.config).stem}_adapted',
        object=args.object,
        resume=args.resume,
        settings=settings,
    )
    report_border(result.border)
    print('\n' + '\n'.join(result.verdict))


def make_parser(prog: str) -> argparse.ArgumentParser:
    """The command's options: those of :class:`AdaptSettings`, and where to read and write."""
    parser = new_parser(__doc__, EXAMPLES, prog)
    parser.add_argument('config', help='MMDetection config file of a one-stage detector')
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
    add_settings(parser, AdaptSettings, GROUPS)
    run_group = parser.add_argument_group('where and how it runs')
    run_group.add_argument('--out', metavar='DIR', help='output folder (outputs/<config>_adapted)')
    run_group.add_argument(
        '--resume', action='store_true', help='continue the interrupted work in --out'
    )
    run_group.add_argument('--device', default='cpu', help='cpu (default), cuda:0, ...')
    add_cfg_options(run_group)
    return parser
