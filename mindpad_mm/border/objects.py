"""The objects beside which windows are cut: found by the detector, annotated, or pasted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import nn
from torchvision.ops import nms

from mindpad_mm.border.inputs import WindowInputs
from mindpad_mm.border.photos import Photo, Photos, listed
from mindpad_mm.border.probes import Box, take
from mindpad_mm.core.coco import read_coco
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.images import check_pixels
from mindpad_mm.core.objects import ScanObject
from mindpad_mm.core.scenes import paste
from mindpad_mm.core.spelling import other_spellings
from mindpad_mm.settings.border import BorderSettings

# Detections of one class that overlap this much are one object, seen in two windows.
_SAME_OBJECT_IOU = 0.5
# An object is a few detector cells at least.
_LEAST_SIDE = 8
# Windows of a photo in which objects are looked for; of a large photo, these many at random.
_MOST_TILES = 24


@dataclass(frozen=True)
class BorderObject:
    """An object in a photo.

    Attributes:
        photo: The photo's number.
        label: Index of its class.
        box: ``x1, y1, x2, y2`` in pixels of the scaled photo.
        source: ``'found'``, ``'annotation ID'`` or the file of a pasted object.
        score: The detector's, 0..1, where the object is its own detection; else None.
        pasted: (h, w, 4) uint8 BGRA, pasted at the box's corner; None for an object of the photo.
    """

    photo: int
    label: int
    box: Box
    source: str
    score: float | None = None
    pasted: np.ndarray | None = field(default=None, repr=False, compare=False)

    def drawn_on(self, pixels: np.ndarray) -> np.ndarray:
        """The photo's pixels with the object in it."""
        if self.pasted is None:
            return pixels
        return paste(pixels, self.pasted, int(self.box[1]), int(self.box[0]))

    def to_json(self) -> dict[str, Any]:
        """All but the pixels, as JSON types."""
        return {
            'photo': self.photo,
            'label': self.label,
            'box': [round(value, 3) for value in self.box],
            'source': self.source,
            'score': self.score,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> BorderObject:
        """Read what :meth:`to_json` gave."""
        return cls(**{**content, 'box': tuple(content['box'])})


def found_objects(
    model: nn.Module, inputs: WindowInputs, number: int, photo: Photo, settings: BorderSettings
) -> list[BorderObject]:
    """What a detector finds in overlapping windows of a photo, far from the windows' sides.

    Args:
        model: The detector.
        inputs: Packs the photo's windows for it.
        number: The photo's.
        photo: The photo.
        settings: ``found_thr``, ``labels``, ``batch_size`` and ``seed`` are used.
    """
    corners = [
        (row, col)
        for row in _tiles(photo.size[0], photo.window[0], photo.far)
        for col in _tiles(photo.size[1], photo.window[1], photo.far)
    ]
    if len(corners) > _MOST_TILES:
        rng = np.random.default_rng([settings.seed, 6, number])
        chosen = np.sort(rng.choice(len(corners), _MOST_TILES, replace=False))
        corners = [corners[index] for index in chosen]
    pixels = photo.pixels()
    found: list[InstanceData] = []

    def floor(index: int, known: InstanceData) -> float:
        return settings.found_thr

    for start in range(0, len(corners), settings.batch_size):
        batch = corners[start : start + settings.batch_size]
        windows = [take(pixels, corner, photo.window) for corner in batch]
        for corner, instances in zip(batch, inputs.detect(model, windows, floor)):
            found.append(_clear(instances, corner, photo, settings.found_thr))
    allowed = _label_indices(model, settings)
    together = InstanceData.cat(found)
    objects = []
    for label in together.labels.unique().tolist():
        if label not in allowed:
            continue
        mine = together[together.labels == label]
        for index in nms(mine.bboxes, mine.scores, _SAME_OBJECT_IOU).tolist():
            x1, y1, x2, y2 = (round(value, 3) for value in mine.bboxes[index].tolist())
            score = round(float(mine.scores[index]), 4)
            objects.append(BorderObject(number, label, (x1, y1, x2, y2), 'found', score))
    return objects


def _clear(
    instances: InstanceData, corner: tuple[int, int], photo: Photo, found_thr: float
) -> InstanceData:
    """The sure detections far from all sides of a window, in pixels of the photo."""
    boxes, scores = instances.bboxes.float().cpu(), instances.scores.float().cpu()
    height, width = photo.window
    clear = (
        (boxes[:, :2] >= photo.far).all(1)
        & (boxes[:, 2] <= width - photo.far)
        & (boxes[:, 3] <= height - photo.far)
        & ((boxes[:, 2:] - boxes[:, :2]) >= _LEAST_SIDE).all(1)
        & (scores >= found_thr)
    )
    moved = boxes + boxes.new_tensor([corner[1], corner[0]] * 2)
    return InstanceData(
        bboxes=moved[clear], scores=scores[clear], labels=instances.labels.cpu()[clear]
    )


def _tiles(extent: int, window: int, far: int) -> list[int]:
    """Offsets of overlapping windows that cover an axis."""
    # An object of up to a third of a window's clear part is clear of the sides of some window.
    step = max(1, (window - 2 * far) * 2 // 3)
    return sorted({*range(0, extent - window, step), extent - window})


def chosen_objects(
    objects: Sequence[BorderObject], number: int, settings: BorderSettings
) -> list[BorderObject]:
    """At most ``max_objects`` of a photo's objects, at random; those found twice count once.

    The best ones would be those whose scores chance has raised.
    """
    boxes = torch.tensor([obj.box for obj in objects]).reshape(-1, 4)
    labels = torch.tensor([obj.label for obj in objects])
    scores = torch.tensor([1.0 if obj.score is None else obj.score for obj in objects])
    kept = [
        int(index)
        for label in labels.unique()
        for mine in [torch.nonzero(labels == label)[:, 0]]
        for index in mine[nms(boxes[mine], scores[mine], _SAME_OBJECT_IOU)]
    ]
    rng = np.random.default_rng([settings.seed, 1, number])
    order = rng.permutation(len(kept))[: settings.max_objects]
    return [objects[kept[index]] for index in order]


def annotated_objects(
    photos: Sequence[Photo], classes: Sequence[str], settings: BorderSettings
) -> list[BorderObject]:
    """Objects of a COCO annotation file, crowds left out.

    Args:
        photos: The photos. They are matched by file name; where several images of the annotation file
            have that name, by the folders above it.
        classes: The detector's, matched by name.
        settings: ``ann``, ``labels``, ``max_objects`` and ``seed`` are used.

    Raises:
        UserError: The file cannot be read, or has none of the photos or none of the classes; an entry is
            damaged; a photo has another size than the file says.
    """
    path = Path(str(settings.ann))
    coco = read_coco(path)
    names = {key: str(category.get('name')) for key, category in coco.cats.items()}
    known = {key: classes.index(name) for key, name in names.items() if name in classes}
    for wanted_name in classes:
        others = other_spellings(wanted_name, names.values())
        if others and others[0] not in classes:
            raise UserError(
                f'`ann`: {str(path)!r} has a category {others[0]!r}, the detector a class '
                f'{wanted_name!r}: spell them alike'
            )
    if not known:
        raise UserError(
            f'`ann`: {str(path)!r} has none of the classes of the detector '
            f'(it has {", ".join(sorted(names.values())[:5]) or "none"})'
        )
    by_name: dict[str, list[dict[str, Any]]] = {}
    for image in coco.imgs.values():
        name = PurePosixPath(str(image.get('file_name', ''))).name
        by_name.setdefault(name, []).append(image)
    if not any(photo.file_name in by_name for photo in photos):
        raise UserError(f'`ann`: {str(path)!r} names none of the {len(photos)} photos')
    wanted = {classes.index(name) for name in settings.labels} or set(known.values())
    objects = []
    for number, photo in enumerate(photos):
        image = _image_of(photo, by_name.get(photo.file_name, []), path)
        if image is None:
            continue
        _check_size(image, photo, path)
        mine = []
        for annotation in coco.imgToAnns[image['id']]:
            label = known.get(annotation.get('category_id'))
            if label not in wanted or annotation.get('iscrowd'):
                continue
            box = _annotated_box(annotation, photo, path)
            if min(box[2] - box[0], box[3] - box[1]) >= _LEAST_SIDE:
                source = f'annotation {annotation["id"]}'
                mine.append(BorderObject(number, label, box, source))
        objects += chosen_objects(mine, number, settings)
    return objects


def _image_of(photo: Photo, images: Sequence[dict[str, Any]], path: Path) -> dict[str, Any] | None:
    """The entry of a photo; None if there is none."""
    if len(images) < 2:
        return images[0] if images else None
    source = Path(photo.source).resolve().as_posix()
    fitting = [image for image in images if source.endswith('/' + str(image['file_name']))]
    if len(fitting) != 1:
        raise UserError(
            f'`ann`: {str(path)!r} has {len(images)} images called {photo.file_name}, and the folders do '
            f'not tell which of them {photo.source} is'
        )
    return fitting[0]


def _check_size(image: Mapping[str, Any], photo: Photo, path: Path) -> None:
    """Check that a photo has the size that the annotation file gives, where it gives one."""
    told = image.get('height'), image.get('width')
    if not all(isinstance(length, (int, float)) and length > 0 for length in told):
        return
    scaled = tuple(round(length * photo.zoom) for length in told)  # type: ignore[operator]
    if scaled != photo.size:
        height, width = (round(length / photo.zoom) for length in photo.size)
        raise UserError(
            f'`ann`: {str(path)!r} gives {photo.file_name} {told[1]} x {told[0]} pixels, but it has '
            f'{width} x {height} (its EXIF orientation applied)'
        )


def _annotated_box(annotation: Mapping[str, Any], photo: Photo, path: Path) -> Box:
    try:
        x, y, width, height = (float(value) * photo.zoom for value in annotation['bbox'])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f'`ann`: annotation {annotation.get("id")} of {str(path)!r} has no bbox of four numbers'
        ) from error
    box = (x, y, x + width, y + height)
    if not all(map(math.isfinite, box)):
        raise UserError(
            f'`ann`: annotation {annotation.get("id")} of {str(path)!r} has a bbox that is not finite'
        )
    return box


def objects_to_paste(given: Photos) -> list[ScanObject]:
    """Read objects.

    Args:
        given: Files, folders, or uint8 arrays, BGRA, BGR (opaque) or grey.

    Raises:
        UserError: One cannot be read, or is no image.
    """
    objects = []
    for each in listed(given):
        if isinstance(each, np.ndarray):
            check_pixels('object', each, channels=(1, 3, 4))
            objects.append(ScanObject.from_pixels(each, 'array'))
        else:
            objects.append(ScanObject.from_file(each))
    return objects


def pasted_objects(
    photos: Sequence[Photo], objects: Sequence[ScanObject], label: int, settings: BorderSettings
) -> list[BorderObject]:
    """Objects pasted at random places, far from the photo's edges.

    Args:
        photos: The photos.
        objects: What is pasted, in turns.
        label: Index of their class.
        settings: ``sizes``, ``max_objects`` and ``seed`` are used.
    """
    pasted = []
    largest = max(max(photo.size) for photo in photos)
    for size in settings.sizes:
        if size > largest:
            raise UserError(f'`sizes` {size}: the largest photo has only {largest} pixels')
    resized = [obj.resized(size) for obj in objects for size in settings.sizes]
    sources = [obj.source for obj in objects for _ in settings.sizes]
    turn = 0
    for number, photo in enumerate(photos):
        rng = np.random.default_rng([settings.seed, 2, number])
        for _ in range(settings.max_objects):
            pixels, source = resized[turn % len(resized)], sources[turn % len(resized)]
            turn += 1
            height, width = pixels.shape[:2]
            low = photo.far
            rows, cols = photo.size[0] - height - low, photo.size[1] - width - low
            if rows < low or cols < low:
                continue
            row, col = int(rng.integers(low, rows + 1)), int(rng.integers(low, cols + 1))
            box = (float(col), float(row), float(col + width), float(row + height))
            pasted.append(BorderObject(number, label, box, source, pasted=pixels))
    return pasted


def _label_indices(model: nn.Module, settings: BorderSettings) -> set[int]:
    classes = list(model.dataset_meta['classes'])
    return {classes.index(name) for name in settings.labels} or set(range(len(classes)))
