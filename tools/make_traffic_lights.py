"""Make a traffic-light detection set in COCO format."""

from __future__ import annotations

import argparse
from pathlib import Path

from mindpad_mm.core.errors import one_line_errors
from mindpad_mm.traffic_lights.dataset import Recipe
from mindpad_mm.traffic_lights.write import make_traffic_lights

EXAMPLE = """examples:
  from nothing, scenes and lights drawn:
    python tools/make_traffic_lights.py --out data/traffic_lights
  real crops on real photos:
    python tools/make_traffic_lights.py --photos coco/images --lights crops \\
        --num-images 600 --size 256 --seed 0 --out data/traffic_lights

writes OUT/train/*.jpg, OUT/val/*.jpg, OUT/annotations/{train,val}.json and OUT/meta.json, which
names the photos and crops of each split; no photo and no crop is in both.
"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    recipe = Recipe()
    add('--out', type=Path, required=True, help='folder to write; must be absent or empty')
    add('--photos', type=Path, help='folder of photos for the scenes (default: drawn streets)')
    add(
        '--lights',
        type=Path,
        help='folder of tight crops of lights, a subfolder a colour if you '
        'like (default: drawn lights)',
    )
    add(
        '--photo-annotations',
        type=Path,
        help='COCO json of the photos: those with a "traffic '
        'light" are left out (default: PHOTOS/../annotations/instances.json, if there is one)',
    )
    add(
        '--val-photos',
        nargs='+',
        default=[],
        metavar='NAME',
        help='file names of photos that must not be trained on',
    )
    add('--num-images', type=int, default=recipe.num_train, help='train images (%(default)s)')
    add('--num-val', type=int, help='val images (default: a quarter of --num-images)')
    add('--size', type=int, default=recipe.size, help='side of the images, pixels (%(default)s)')
    add(
        '--min-size',
        type=int,
        default=recipe.min_size,
        help='height of the smallest lights, pixels (%(default)s)',
    )
    add(
        '--negatives',
        type=float,
        default=recipe.negatives,
        help='share of images without a light (%(default)s)',
    )
    add(
        '--occluded',
        type=float,
        default=recipe.occluded,
        help='share of lights to hide in part (%(default)s)',
    )
    add(
        '--distractors',
        type=float,
        default=recipe.distractors,
        help='mean number of look-alikes an image, not labelled (%(default)s)',
    )
    add(
        '--drawn',
        type=float,
        default=recipe.drawn,
        help='share of images to draw although there are photos or crops (%(default)s)',
    )
    add(
        '--val-fraction',
        type=float,
        default=recipe.val_fraction,
        help='share of the photos and of the crops that only val uses (%(default)s)',
    )
    add('--seed', type=int, default=recipe.seed, help='same seed, same bytes (%(default)s)')
    add('--overwrite', action='store_true', help='replace a set made by this tool before')
    return parser.parse_args()


@one_line_errors
def main() -> None:
    args = parse_args()
    recipe = Recipe(
        num_train=args.num_images,
        num_val=args.num_images // 4 if args.num_val is None else args.num_val,
        size=args.size,
        min_size=args.min_size,
        negatives=args.negatives,
        occluded=args.occluded,
        distractors=args.distractors,
        drawn=args.drawn,
        val_fraction=args.val_fraction,
        seed=args.seed,
    )
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
    for split, counts in meta['counts'].items():
        print(f'{split}: ' + ', '.join(f'{number} {what}' for what, number in counts.items()))
    print(f'written to {args.out}')


if __name__ == '__main__':
    main()
