"""Write a traffic-light set to disk: ``train/``, ``val/``, ``annotations/`` and ``meta.json``."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.files import read_json, save_bytes, save_json, save_text
from mindpad_mm.core.images import read_image
from mindpad_mm.core.journal import alone_in
from mindpad_mm.core.progress import track
from mindpad_mm.traffic_lights.annotated import Lit, photos_with_lights
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
    image_names,
    read_crop,
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
        out: Folder to write; must not exist or be empty, unless ``overwrite`` is set.
        recipe: The settings.
        photos: Folder of photos for the scenes. Default: streets are drawn.
        lights: Folder of tight crops of lights, used equally often from each subfolder. Default:
            lights are drawn.
        photo_annotations: COCO file of the photos. Photos with a ``traffic light`` are left out, since
            that light would not be labelled. Default: ``../annotations/instances.json``, if it
            exists.
        val_photos: File names of photos that must not be trained on. They go to ``val``, or are left
            out if they have a traffic light.
        overwrite: Replace a set that this function has made. Other folders are never changed.

    Returns:
        The content of ``meta.json``: ``recipe``; ``photos`` and ``lights``, the names by split, or
        None if drawn; ``skipped_photos``; ``notes``, what the annotations leave open;
        ``counts`` of images, negatives, lights and occluded lights by split.

    Raises:
        UserError: A folder is missing, empty or not writable; an image cannot be read; there are too
            few images to split; or ``out`` is not empty.
    """
    if val_photos and photos is None:
        raise UserError('`val_photos` needs `photos`')
    if photo_annotations and photos is None:
        raise UserError('`photo_annotations` needs `photos`')
    photo_split, lit = None, Lit()
    if photos is not None:
        names = image_names(photos, 'photos')
        beside = photos.resolve().parent / 'annotations' / 'instances.json'
        if photo_annotations is None and beside.is_file():
            photo_annotations = beside
        if photo_annotations is not None:
            lit = photos_with_lights(photo_annotations, photos, names)
            names = [name for name in names if name not in set(lit.names)]
        for name in names:
            read_image(photos / name, what='photo')
        used = {Path(name).name for name in names}
        left_out = {Path(name).name for name in lit.names} - used
        photo_split = divide(names, recipe.val_fraction, set(val_photos) - left_out, recipe.seed)
    light_split = None
    if lights is not None:
        names = image_names(lights, 'lights')
        for name in names:
            read_crop(lights / name)
        light_split = divide(names, recipe.val_fraction, set(), recipe.seed)

    with contextlib.ExitStack() as stack:
        if out.is_dir():
            stack.enter_context(alone_in(out))
        prepare_folder(out, overwrite)
        meta = {
            'made_by': _MADE_BY,
            'recipe': recipe.to_json(),
            'photos': photo_split,
            'lights': light_split,
            'skipped_photos': lit.names,
            'notes': lit.notes,
            'counts': {},
        }
        # Written first, so that an interrupted set is recognised and can be overwritten.
        save_json(out / _META, meta)
        for split, number in zip(SPLITS, (recipe.num_train, recipe.num_val)):
            scenes = Scenes(photos, photo_split and photo_split[split])
            sources = Lights(lights, light_split and light_split[split])
            meta['counts'][split] = _write_split(out, recipe, split, number, scenes, sources)
        save_json(out / _META, meta)
        return meta


def prepare_folder(out: Path, overwrite: bool) -> None:
    """Create the folder ``out``, or remove an earlier set from it if ``overwrite`` is set.

    Raises:
        UserError: ``out`` is a file, is not writable, or is neither empty nor an earlier set that may
            be overwritten.
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
        return read_json(meta).get('made_by') == _MADE_BY
    except (UserError, AttributeError):
        return False


def _write_split(
    out: Path, recipe: Recipe, split: str, number: int, scenes: Scenes, lights: Lights
) -> dict:
    images, annotations, negatives = [], [], 0
    drawn = Scenes(None, None), Lights(None, None)
    for index in track(range(number), f'{split:>5}'):
        sources = drawn if has_turn(index, recipe.drawn) else (scenes, lights)
        picture, placed, photo = compose_image(recipe, split, index, *sources)
        name = f'{index:06d}.jpg'
        encoded = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
        save_bytes(out / split / name, encoded.tobytes())
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
        'info': {'description': f'composed traffic lights, {split}', 'recipe': recipe.to_json()},
        'images': images,
        'annotations': annotations,
        'categories': [{'id': 1, 'name': CATEGORY, 'supercategory': 'outdoor'}],
    }
    save_text(out / 'annotations' / f'{split}.json', json.dumps(coco) + '\n')
    occluded = sum(a['occluded'] > 0 for a in annotations)
    return {
        'images': number,
        'negatives': negatives,
        'lights': len(annotations),
        'occluded': occluded,
    }
