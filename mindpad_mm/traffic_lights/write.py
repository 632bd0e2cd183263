"""Write a traffic-light set to disk: ``train/``, ``val/``, ``annotations/`` and ``meta.json``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import cv2
from rich.progress import track

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.files import save_json
from mindpad_mm.traffic_lights.dataset import (
    CATEGORY,
    SPLITS,
    Recipe,
    annotation,
    compose_image,
    divide,
    has_turn,
)
from mindpad_mm.traffic_lights.sources import (
    Lights,
    Scenes,
    check_picture,
    list_pictures,
    photos_with_lights,
    read_crop,
    read_picture,
)

_META = 'meta.json'
_MADE_BY = 'make_traffic_lights'


def make_traffic_lights(
    out: Path,
    recipe: Recipe,
    photos: Path | None = None,
    lights: Path | None = None,
    photo_annotations: Path | None = None,
    val_photos: Sequence[str] = (),
    overwrite: bool = False,
) -> dict:
    """Compose a traffic-light detection set and write it in COCO format.

    Args:
        out: folder to write; must be absent or empty, unless ``overwrite``.
        recipe: sizes, numbers, shares and the seed.
        photos: folder of photos for the scenes; None draws streets.
        lights: folder of tight crops of lights (subfolders are drawn equally often); None draws
            lights.
        photo_annotations: COCO file of the photos; those with a ``traffic light`` are left out, as
            their lights would go unlabelled. None looks for ``../annotations/instances.json``.
        val_photos: file names of photos that must not be trained on; they go to ``val``, or
            nowhere if they hold a traffic light.
        overwrite: replace a set that this function made before. Other folders are never touched.

    Returns:
        What ``meta.json`` holds: ``recipe``, ``photos`` and ``lights`` (names a split, None if
        drawn), ``skipped_photos``, ``counts`` (images, negatives, lights, occluded a split).

    Raises:
        UserError: a folder missing, empty or not writable, a picture that cannot be read, too few
            pictures to split, ``out`` in use.
    """
    if val_photos and photos is None:
        raise UserError('`val_photos` needs `photos`')
    if photo_annotations and photos is None:
        raise UserError('`photo_annotations` needs `photos`')
    photo_split, skipped, lit = None, [], set()
    if photos is not None:
        names = list_pictures(photos, 'photos')
        beside = photos.resolve().parent / 'annotations' / 'instances.json'
        if photo_annotations is None and beside.is_file():
            photo_annotations = beside
        if photo_annotations is not None:
            lit = photos_with_lights(photo_annotations)
            skipped = [name for name in names if Path(name).name in lit]
            names = [name for name in names if Path(name).name not in lit]
        for name in names:
            check_picture(photos / name)
            read_picture(photos / name, cv2.IMREAD_REDUCED_COLOR_8)  # OpenCV knows fewer formats
        photo_split = divide(names, recipe.val_fraction, set(val_photos) - lit, recipe.seed)
    light_split = None
    if lights is not None:
        names = list_pictures(lights, 'lights')
        for name in names:
            read_crop(lights / name)
        light_split = divide(names, recipe.val_fraction, set(), recipe.seed)

    prepare_folder(out, overwrite)
    meta = {
        'made_by': _MADE_BY,
        'recipe': asdict(recipe),
        'photos': photo_split,
        'lights': light_split,
        'skipped_photos': skipped,
        'counts': {},
    }
    # First of all, so that an interrupted set is recognised as ours and can be overwritten.
    save_json(out / _META, meta)
    for split, number in zip(SPLITS, (recipe.num_train, recipe.num_val)):
        scenes = Scenes(photos, photo_split and photo_split[split])
        sources = Lights(lights, light_split and light_split[split])
        meta['counts'][split] = _write_split(out, recipe, split, number, scenes, sources)
    save_json(out / _META, meta)
    return meta


def prepare_folder(out: Path, overwrite: bool) -> None:
    """Make ``out``, or empty it of an earlier set if ``overwrite``.

    Raises:
        UserError: it is a file, not writable, or holds something (without ``overwrite``: anything;
            with it: anything but a set of ours).
    """
    if out.exists() and not out.is_dir():
        raise UserError(f'`out` {out}: is a file; name a folder')
    try:
        if out.is_dir() and any(out.iterdir()):
            if not overwrite:
                raise UserError(f'`out` {out}: not empty; choose another or set `overwrite`')
            if not _is_ours(out / _META):
                raise UserError(f'`out` {out}: not a set made by this tool; choose another folder')
            for part in (*SPLITS, 'annotations'):
                if (out / part).exists():
                    shutil.rmtree(out / part)
        for part in (*SPLITS, 'annotations'):
            (out / part).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'`out` {out}: cannot be written ({error.strerror})') from error


def _is_ours(meta: Path) -> bool:
    try:
        return json.loads(meta.read_text()).get('made_by') == _MADE_BY
    except (FileNotFoundError, ValueError, AttributeError):
        return False


def _write_split(
    out: Path, recipe: Recipe, split: str, number: int, scenes: Scenes, lights: Lights
) -> dict:
    images, annotations, negatives = [], [], 0
    drawn = Scenes(None, None), Lights(None, None)
    for index in track(range(number), description=f'{split:>5}'):
        sources = drawn if has_turn(index, recipe.drawn) else (scenes, lights)
        picture, placed, photo = compose_image(recipe, split, index, *sources)
        name = f'{index:06d}.jpg'
        if not cv2.imwrite(str(out / split / name), picture, [cv2.IMWRITE_JPEG_QUALITY, 92]):
            raise UserError(f'{out / split / name}: cannot be written; is the disk full?')
        images.append(
            {
                'id': index + 1,
                'file_name': name,
                'width': recipe.size,
                'height': recipe.size,
                'photo': photo,
            }
        )
        negatives += not placed
        for light in placed:
            annotations.append(annotation(light, recipe.size, index + 1, len(annotations) + 1))
    coco = {
        'info': {'description': f'composed traffic lights, {split}', 'recipe': asdict(recipe)},
        'images': images,
        'annotations': annotations,
        'categories': [{'id': 1, 'name': CATEGORY, 'supercategory': 'outdoor'}],
    }
    (out / 'annotations' / f'{split}.json').write_text(json.dumps(coco) + '\n')
    occluded = sum(a['occluded'] > 0 for a in annotations)
    return {
        'images': number,
        'negatives': negatives,
        'lights': len(annotations),
        'occluded': occluded,
    }
