#!/usr/bin/env python
"""Slide an object over every position of a scene and map where a detector goes blind."""

from __future__ import annotations

import argparse
import os

from mindpad_mm.core.errors import UserError, one_line_errors
from mindpad_mm.core.loading import CfgOptions
from mindpad_mm.report import report_scan
from mindpad_mm.scan import ENGINES, LAUNCHERS, blindspot_scan

EXAMPLE = """\
examples:
  # a drawn traffic light on a drawn street
  tools/blindspot_scan.py my_config.py my_checkpoint.pth

  # your own object on your own photos, two sizes, every second pixel
  tools/blindspot_scan.py my_config.py my_checkpoint.pth --background photos/ \\
      --object light.png --label "traffic light" --size 32 48 --stride 2 --out outputs/lights

  # an annotated object, cut out of its photo and slid over what is left of it
  tools/blindspot_scan.py my_config.py my_checkpoint.pth \\
      --from-coco annotations/instances_val2017.json --ann-id 404330 --label "traffic light"

  # shared by four processes; the same bytes as from one with OMP_NUM_THREADS=1
  torchrun --nproc_per_node 4 tools/blindspot_scan.py my_config.py my_checkpoint.pth \\
      --launcher pytorch --stride 1
"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='MMDetection config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    scene = parser.add_argument_group('what is pasted where')
    scene.add_argument(
        '--background', nargs='+', default=[], metavar='FILE', help='photos, or folders of photos'
    )
    scene.add_argument(
        '--object',
        nargs='+',
        default=[],
        metavar='FILE',
        help='images to paste, RGBA or opaque, or folders',
    )
    scene.add_argument(
        '--from-coco', metavar='JSON', help='cut the object out of a COCO photo by its mask'
    )
    scene.add_argument(
        '--ann-id', nargs='+', type=int, default=[], metavar='ID', help='annotations to cut out'
    )
    scene.add_argument('--photo-root', metavar='DIR', help='folder of the photos of --from-coco')
    scene.add_argument(
        '--size', nargs='+', type=int, default=[32], help="object's longer side, pixels (32)"
    )
    scene.add_argument('--stride', type=int, default=4, help='pixels between positions (4)')
    scene.add_argument(
        '--space',
        default='input',
        help="paste in the network's 'input' (default) or in the original 'image'",
    )
    match = parser.add_argument_group('what counts as found')
    match.add_argument(
        '--label', help="class to look for ('traffic light' if there is one, else the only class)"
    )
    match.add_argument(
        '--iou-thr', type=float, default=0.5, help='least IoU with the pasted box (0.5)'
    )
    match.add_argument(
        '--clean-thr',
        type=float,
        default=0.001,
        help='leave out positions where the clean scene alone scores this much (0.001)',
    )
    run = parser.add_argument_group('how it runs')
    run.add_argument(
        '--engine', default='auto', help=f'auto (default), {", ".join(ENGINES.module_dict)}'
    )
    run.add_argument(
        '--batch-size',
        type=_batch_size,
        default=8,
        metavar='N',
        help="positions a forward pass (8); 'auto' measures, at the price of the last bits "
        'differing from run to run',
    )
    run.add_argument(
        '--tolerance',
        type=float,
        default=1e-3,
        help='focused engine: largest difference in score it may show at its checks (0.001)',
    )
    run.add_argument(
        '--period',
        nargs='+',
        type=int,
        metavar='PX',
        help="candidate periods of the detector's grid (its strides)",
    )
    run.add_argument('--device', default='cpu', help='cpu (default), cuda:0, ...')
    run.add_argument(
        '--launcher',
        choices=LAUNCHERS,
        default='none',
        help='what started the processes that share the scan (none: this one does it all); '
        'torchrun is pytorch',
    )
    run.add_argument('--seed', type=int, default=0, help='seed of what is drawn (0)')
    run.add_argument(
        '--cfg-options', nargs='+', action=CfgOptions, help='overrides of the config, key=value'
    )
    run.add_argument('--out', metavar='DIR', help='output folder (outputs/<config>_scan)')
    run.add_argument(
        '--resume', action='store_true', help='go on with the interrupted scan in --out'
    )
    return parser.parse_args()


def _batch_size(text: str) -> int | str:
    if text != 'auto' and not text.lstrip('-').isdecimal():
        raise argparse.ArgumentTypeError(f'{text!r} is neither a whole number nor auto')
    return text if text == 'auto' else int(text)


@one_line_errors
def main() -> None:
    args = parse_args()
    # torchrun's own name for a run; each of its processes would scan it all, into the same folder.
    if args.launcher == 'none' and 'TORCHELASTIC_RUN_ID' in os.environ:
        raise UserError(
            'torchrun started this process: add --launcher pytorch, or start it with python'
        )
    result = blindspot_scan(
        args.config,
        args.checkpoint,
        args.out,
        backgrounds=args.background,
        objects=args.object,
        from_coco=args.from_coco,
        ann_ids=args.ann_id,
        photo_root=args.photo_root,
        label=args.label,
        sizes=args.size,
        stride=args.stride,
        space=args.space,
        engine=args.engine,
        iou_thr=args.iou_thr,
        clean_thr=args.clean_thr,
        periods=args.period,
        batch_size=args.batch_size,
        tolerance=args.tolerance,
        device=args.device,
        launcher=args.launcher,
        cfg_options=args.cfg_options,
        seed=args.seed,
        resume=args.resume,
    )
    if result is not None:  # one of several processes tells
        report_scan(result)


if __name__ == '__main__':
    main()
