"""Make a traffic-light detection set in COCO format."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.cli.options import add_settings, new_parser, settings_from
from mindpad_mm.cli.running import start
from mindpad_mm.traffic_lights.dataset import Recipe

EXAMPLES = """examples:
  from nothing, scenes and lights drawn:
    %(prog)s --out data/traffic_lights
  real crops on real photos:
    %(prog)s --photos coco/images --lights crops \\
        --num-images 600 --size 256 --seed 0 --out data/traffic_lights

writes OUT/train/*.jpg, OUT/val/*.jpg, OUT/annotations/{train,val}.json and OUT/meta.json, which
names the photos and crops of each split. No photo and no crop is in both splits.
"""


def main(argv: Sequence[str] | None = None, prog: str = 'tools/make_traffic_lights.py') -> None:
    """Run the command on ``argv``, by default the arguments of this process."""
    parser = make_parser(prog)
    with one_line_errors(parser):
        run(parser.parse_args(argv))


def make_parser(prog: str) -> argparse.ArgumentParser:
    """The command's options: those of :class:`Recipe`, and where to read and write."""
    parser = new_parser(__doc__, EXAMPLES, prog)
    add = parser.add_argument
    add('--out', type=Path, required=True, help='folder to write; must be absent or empty')
    add('--photos', type=Path, help='folder of photos for the scenes (default: drawn streets)')
    add(
        '--lights',
        type=Path,
        help='folder of tight crops of lights, optionally in one subfolder per colour '
        '(default: drawn lights)',
    )
    add(
        '--photo-annotations',
        type=Path,
        help='COCO json of the photos; photos with a "traffic light" are left out '
        '(default: PHOTOS/../annotations/instances.json, if it exists)',
    )
    add(
        '--val-photos',
        nargs='+',
        default=[],
        metavar='NAME',
        help='file names of photos that must not be trained on',
    )
    add('--num-val', type=int, help='validation images (default: a quarter of --num-images)')
    add_settings(parser, Recipe)
    add('--overwrite', action='store_true', help='replace a set that this tool made before')
    return parser


def run(args: argparse.Namespace) -> None:
    """Write the set and print its counts.

    Raises:
        UserError: An argument is wrong.
    """
    if args.num_val is None:
        args.num_val = args.num_train // 4
    recipe = settings_from(args, Recipe)
    start()
    from mindpad_mm.traffic_lights.write import make_traffic_lights

    meta = make_traffic_lights(
        args.out,
        recipe,
        photos=args.photos,
        lights=args.lights,
        photo_annotations=args.photo_annotations,
        val_photos=args.val_photos,
        overwrite=args.overwrite,
    )
    skipped = meta['skipped_photos']
    if skipped:
        print(f'left out {len(skipped)} photos that hold traffic lights: {", ".join(skipped)}')
    for note in meta['notes']:
        print(f'note: {note}')
    for split, counts in meta['counts'].items():
        print(f'{split}: ' + ', '.join(f'{number} {what}' for what, number in counts.items()))
    print(f'written to {args.out}')
