"""Paste an object at every position of a scene and map where a detector misses it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.cli.gate import add_gate, check_gate
from mindpad_mm.cli.options import add_settings, new_parser, settings_from
from mindpad_mm.cli.running import add_running, add_verbose, check_launcher, start
from mindpad_mm.core.errors import UserError
from mindpad_mm.settings.scan import ScanSettings

EXAMPLES = """\
examples:
  # a drawn traffic light on a drawn street
  %(prog)s my_config.py my_checkpoint.pth

  # a first, coarse map, of some of the photos in a folder
  %(prog)s my_config.py my_checkpoint.pth --background photos/ --quick

  # every position twice, with the border near and far: what the border costs, free of the scene
  %(prog)s my_config.py my_checkpoint.pth --background photos/ --window

  # your own object on your own photos, two sizes, every second pixel
  %(prog)s my_config.py my_checkpoint.pth --background photos/ \\
      --object light.png --label "traffic light" --size 32 48 --stride 2 --out outputs/lights

  # two annotated cars, cut out of their photos and pasted into the inpainted photos
  %(prog)s my_config.py my_checkpoint.pth \\
      --from-coco annotations/instances_val2017.json --category car --max-objects 2

  # shared by four processes; same bytes as one process with OMP_NUM_THREADS=1
  torchrun --nproc_per_node 4 tools/blindspot_scan.py my_config.py my_checkpoint.pth \\
      --launcher pytorch --stride 1
"""


GROUPS = {
    'object and positions': (
        'from_coco',
        'ann_ids',
        'category',
        'max_objects',
        'photo_root',
        'sizes',
        'stride',
        'quick',
        'space',
        'seed',
    ),
    'with the border near and far': ('window', 'zoom', 'far'),
    'which detections count': ('label', 'iou_thr', 'clean_thr'),
    'what lies behind the map': ('causes', 'bystanders'),
    'engine and statistics': ('engine', 'batch_size', 'tolerance', 'checking', 'periods'),
}


def main(argv: Sequence[str] | None = None, prog: str = 'tools/blindspot_scan.py') -> None:
    """Run the command on ``argv``, by default the arguments of this process."""
    parser = make_parser(prog)
    with one_line_errors(parser):
        args = parser.parse_args(argv)
        check_launcher(args.launcher)
        if args.worst < 0:
            raise UserError(f'--worst {args.worst} is not valid: give the number of places')
        run(args, settings_from(args, ScanSettings))


def run(args: argparse.Namespace, settings: ScanSettings) -> None:
    """Scan, print the result and write the page.

    Raises:
        UserError: An argument is wrong.
    """
    start()
    from mindpad_mm.core.detector import DetectorFiles
    from mindpad_mm.core.loading import read_cfg_options
    from mindpad_mm.report import report_scan
    from mindpad_mm.scan import blindspot_scan, write_exports

    options = read_cfg_options(args.cfg_options)
    result = blindspot_scan(
        DetectorFiles(args.config, args.checkpoint, options, args.device),
        args.scene,
        args.object,
        out=args.out or Path('outputs') / f'{Path(args.config).stem}_scan',
        resume=args.resume,
        launcher=args.launcher,
        settings=settings,
    )
    if result is not None:  # only rank 0 gets the result
        write_exports(result, args.worst)
        report_scan(result, args.verbose)
        check_gate(args, result.measured(), 'mindpad scan')


def make_parser(prog: str) -> argparse.ArgumentParser:
    """The command's options: those of :class:`ScanSettings`, and where to read and write."""
    parser = new_parser(__doc__, EXAMPLES, prog)
    parser.add_argument('config', help='MMDetection config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    inputs = parser.add_argument_group('scene and object')
    add_pasted(inputs)
    add_settings(parser, ScanSettings, GROUPS)
    add_running(parser, 'outputs/<config>_scan')
    parser.add_argument(
        '--worst',
        type=int,
        default=0,
        metavar='N',
        help='also write the N worst places to OUT/worst, as a data set of FiftyOne',
    )
    add_gate(parser, 'blind_fraction@32 > 0.2')
    add_verbose(parser)
    return parser


def add_pasted(group: argparse._ArgumentGroup) -> None:
    """Add the options for scenes and objects."""
    group.add_argument(
        '--background',
        dest='scene',
        nargs='+',
        default=[],
        metavar='FILE',
        help='photos, or folders of photos (a drawn street)',
    )
    group.add_argument(
        '--object',
        nargs='+',
        default=[],
        metavar='FILE',
        help='images to paste, RGBA or opaque, or folders of them (a drawn traffic light)',
    )
