"""What a scan pastes, into what, at which size, and which class it looks for."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mindpad_mm.core.detector import find_label
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.images import check_pixels, list_images
from mindpad_mm.core.names import PathLike
from mindpad_mm.core.objects import ScanObject, load_coco_objects, whole_annotations
from mindpad_mm.core.opened import OpenedDetector
from mindpad_mm.core.scenes import Background, load_backgrounds
from mindpad_mm.scan.cutouts import window_size, zoom_of
from mindpad_mm.scan.quick import spread
from mindpad_mm.settings.scan import DEFAULT_SIZE, ScanSettings

Pixels = PathLike | np.ndarray
"""An image file, a folder of image files, or pixels with OpenCV's channel order."""


def load_objects(
    given: Pixels | Sequence[Pixels], settings: ScanSettings
) -> tuple[list[ScanObject], dict[Path, np.ndarray]]:
    """The objects, and the holes that those of ``from_coco`` leave in their photos.

    Args:
        given: Files, folders or pixels; see :func:`mindpad_mm.blindspot_scan`.
        settings: ``from_coco``, ``ann_ids``, ``category``, ``max_objects``, ``photo_root`` and ``seed``
            are used.

    Raises:
        UserError: An object cannot be read.
    """
    objects = []
    for each in _listed(given):
        if isinstance(each, np.ndarray):
            check_pixels('object', each, channels=(1, 3, 4))
            objects.append(ScanObject.from_pixels(each, 'array'))
        else:
            objects += [ScanObject.from_file(file) for file in list_images([each])]
    if settings.from_coco is None:
        return objects or [ScanObject.drawn(settings.seed)], {}
    ids = settings.ann_ids
    if settings.category is not None:
        most = settings.max_objects
        ids = whole_annotations(settings.from_coco, settings.category, most, settings.seed)
    cut, holes = load_coco_objects(settings.from_coco, ids, settings.photo_root)
    return objects + cut, holes


def load_scenes(
    given: Pixels | Sequence[Pixels], holes: Mapping[Path, np.ndarray], settings: ScanSettings
) -> list[Background]:
    """The photos to paste into, the holes inpainted.

    Args:
        given: Files, folders or pixels. If there are none: the photos with holes, or a drawn street.
        holes: (H, W) bool masks by resolved path of the photo.
        settings: ``seed`` and ``quick`` are used. A quick scan takes at most three photos.

    Raises:
        UserError: A photo cannot be read.
    """
    scenes = _listed(given)
    if not scenes and not holes:
        return [Background.drawn(settings.seed)]
    files: list[Pixels] = []
    for each in scenes or list(holes):
        files += [each] if isinstance(each, np.ndarray) else list_images([each])
    chosen = spread(files, settings.quick)
    if len(chosen) < len(files):
        print_log(f'quick: {len(chosen)} of {len(files)} photos are scanned', 'current')
    backgrounds = []
    for each in chosen:
        if isinstance(each, np.ndarray):
            check_pixels('scene', each, channels=(3,))
            backgrounds.append(Background(np.ascontiguousarray(each), 'array'))
        else:
            backgrounds += load_backgrounds([each], holes)
    return backgrounds


def label_of(objects: Sequence[ScanObject], label: str | None, classes: Sequence[str]) -> int:
    """Index of the objects' class.

    Args:
        objects: The objects.
        label: Name of the class. None: the category of the annotated objects, or, without any, the
            default of :func:`mindpad_mm.core.detector.find_label`.
        classes: Names of the detector's classes.

    Raises:
        UserError: The detector has no such class, or the objects are of several categories.
    """
    categories = list(dict.fromkeys(obj.category for obj in objects if obj.category is not None))
    if label is not None:
        found = find_label(label, classes)
        for category in categories:
            if category != label and category in classes:
                print_log(
                    f'a {category!r} is pasted, but {label!r} is looked for, as `label` says',
                    'current',
                    logging.WARNING,
                )
        return found
    if len(categories) > 1:
        raise UserError(
            f'the annotated objects are of several categories ({", ".join(categories)}): scan them '
            f'one by one, or set `label`'
        )
    if categories and categories[0] not in classes:
        raise UserError(
            f'the annotated object is a {categories[0]!r}, which the detector does not know: set '
            f'`label` to the class to look for'
        )
    return find_label(categories[0] if categories else None, classes)


def sizes_of(objects: Sequence[ScanObject], settings: ScanSettings) -> tuple[int | None, ...]:
    """Lengths of the objects' longer side, pixels of the scene; None: the natural size of each.

    Raises:
        UserError: No size is given, and only some of the objects have a natural one.
    """
    if settings.sizes is not None:
        return tuple(settings.sizes)
    natural = [obj.natural is not None for obj in objects]
    if any(natural) and not all(natural):
        raise UserError(
            'annotated objects have a natural size, but images of objects have none: set `sizes`'
        )
    return (None,) if all(natural) else (DEFAULT_SIZE,)


def with_natural_sizes(
    objects: Sequence[ScanObject], subject: OpenedDetector, settings: ScanSettings
) -> list[ScanObject]:
    """The objects, those cut out of photos with the size that they have there.

    In space ``image`` this is the size in the photo, in space ``input`` that after the test pipeline has
    resized the photo, and for windows that after ``zoom``.

    Args:
        objects: The objects.
        subject: The detector.
        settings: ``space``, ``window`` and ``zoom`` are used.
    """
    sized = []
    for obj in objects:
        if obj.photo_size is not None:
            scale = (1.0, 1.0)
            if settings.window is not None:
                window = window_size(obj.photo_size, subject, settings)
                scale = (zoom_of(obj.photo_size, window, settings),) * 2
            elif settings.space == 'input':
                scale = _resizing(subject, obj.photo_size)
            height, width = (max(1, round(n * by)) for n, by in zip(obj.pixels.shape[:2], scale))
            obj = dataclasses.replace(obj, natural=(height, width))
        sized.append(obj)
    return sized


def _resizing(subject: OpenedDetector, size: tuple[int, int]) -> tuple[float, float]:
    """Pixels of the network's input per pixel of a photo, (vertical, horizontal)."""
    blank = np.zeros((*size, 3), np.uint8)
    scene = subject.make_scene(Background(blank, 'a photo of an annotation'), 'image')
    sample = scene.pipeline({'img': blank, 'img_id': 0})['data_samples']
    horizontal, vertical = sample.metainfo.get('scale_factor', (1.0, 1.0))[:2]
    return float(vertical), float(horizontal)


def _listed(given: Any) -> list[Any]:
    return [given] if isinstance(given, (str, Path, np.ndarray)) else list(given)
