"""Photos at the scale at which the network sees them, and the objects in them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.structures import InstanceData
from torch import nn
from torchvision.ops import nms

from mindpad_mm.border.inputs import WindowInputs, window_size
from mindpad_mm.border.settings import AUTO, BorderSettings
from mindpad_mm.border.windows import Box, Size, needed_size, take
from mindpad_mm.core.coco import read_coco
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.images import PathLike, list_images, read_image
from mindpad_mm.core.objects import ScanObject
from mindpad_mm.core.scenes import paste

_FAR, _LEAST_ROOM = 64, 3
# Detections of one class that overlap this much are one object, seen in two windows.
_SAME_OBJECT_IOU = 0.5
# An object is a few detector cells at least.
_LEAST_SIDE = 8


@dataclass(frozen=True)
class Photo:
    """A photo, scaled by ``zoom``.

    Attributes:
        source: Its file, or a description.
        file_name: Its name in annotation files.
        zoom: Pixels of the network's input per pixel of the photo, along both axes.
        size: (height, width) after scaling.
        window: (height, width) of the windows cut out of it: the part of the network's input that it
            fills.
        far: Pixels that the border is moved away by.
    """

    source: str
    file_name: str
    zoom: float
    size: Size
    window: Size
    far: int
    given: np.ndarray | None = field(default=None, repr=False, compare=False)

    def pixels(self) -> np.ndarray:
        """(H, W, 3) uint8 BGR, scaled."""
        image = self.given if self.given is not None else read_image(self.source, what='photo')
        if image.shape[:2] == self.size:
            return image
        smaller = self.size[0] < image.shape[0]
        interpolation = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        return cv2.resize(image, self.size[::-1], interpolation=interpolation)

    def sha256(self) -> str:
        """Digest of the photo's file, or of its pixels where it was given as an array."""
        content = Path(self.source).read_bytes() if self.given is None else self.given.tobytes()
        return hashlib.sha256(content).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """All but the pixels, as JSON types."""
        values = dataclasses.asdict(dataclasses.replace(self, given=None))
        del values['given']
        return {**values, 'size': list(self.size), 'window': list(self.window)}


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

    @property
    def size(self) -> float:
        """Square root of the box's area, pixels."""
        x1, y1, x2, y2 = self.box
        return float(np.sqrt((x2 - x1) * (y2 - y1)))

    def drawn_on(self, pixels: np.ndarray) -> np.ndarray:
        """The photo's pixels with the object in it."""
        if self.pasted is None:
            return pixels
        return paste(pixels, self.pasted, int(self.box[1]), int(self.box[0]))


def load_photos(
    given: PathLike | np.ndarray | Sequence[PathLike | np.ndarray],
    model: nn.Module,
    settings: BorderSettings,
) -> list[Photo]:
    """Photos in which there is room for windows, in random order.

    Args:
        given: Files, folders, or (H, W, 3) uint8 BGR arrays.
        model: The detector; its test pipeline decides the windows' size.
        settings: ``zoom``, ``far`` and ``seed`` are used.

    Raises:
        UserError: A photo cannot be read, or with the given zoom all are too small for windows.
    """
    listed = [given] if isinstance(given, (str, Path, np.ndarray)) else given
    photos, refused = [], []
    parts: dict[Size, Size] = {}
    for source, image in _read(listed):
        size = image.shape[0], image.shape[1]
        if size not in parts:
            parts[size] = window_size(model, size, settings.window)
        window = parts[size]
        far = _far(settings, window)
        needed = needed_size(window, far)
        least = max(wanted / length for wanted, length in zip(needed, size))
        zoom = max(1.0, least) if settings.zoom == AUTO else float(settings.zoom)
        scaled = (round(size[0] * zoom), round(size[1] * zoom))
        if any(length < wanted + far for length, wanted in zip(scaled, window)):
            refused.append((source, size, window[0] + far, window[1] + far))
            continue
        held = image if source.startswith('array') else None
        photos.append(Photo(source, Path(source).name, zoom, scaled, window, far, held))
    if not photos:
        source, size, height, width = refused[0]
        raise UserError(
            f'`photos`: all {len(refused)} are too small for windows at zoom {settings.zoom}: '
            f'{source} is {size[1]} x {size[0]} pixels and needs {width} x {height} after scaling; '
            f'give larger photos, a larger `zoom`, or `zoom=auto`'
        )
    order = np.random.default_rng([settings.seed, 0]).permutation(len(photos))
    return [photos[index] for index in order]


def _read(given: Sequence[PathLike | np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    for number, each in enumerate(given):
        if isinstance(each, np.ndarray):
            if each.dtype != np.uint8 or each.ndim != 3 or each.shape[2] != 3:
                raise UserError(
                    f'`photos` holds an array of {each.dtype} and shape {each.shape}: give uint8 '
                    f'pixels of shape (height, width, 3), channels in the order blue, green, red'
                )
            yield f'array {number}', each
        else:
            for file in list_images([each]):
                yield str(file), read_image(file, what='photo')


def _far(settings: BorderSettings, window: Size) -> int:
    if settings.far != AUTO:
        return int(settings.far)
    # The largest power of two, because strides are powers of two, that leaves room for an object.
    return int(min(_FAR, 2 ** np.floor(np.log2(min(window) / _LEAST_ROOM))))


def found_objects(
    model: nn.Module, inputs: WindowInputs, number: int, photo: Photo, settings: BorderSettings
) -> list[BorderObject]:
    """What the detector finds in overlapping windows of a photo, far from the windows' sides.

    Args:
        model: The detector.
        inputs: Packs the photo's windows for it.
        number: The photo's.
        photo: The photo.
        settings: ``found_thr``, ``labels``, ``max_objects`` and ``batch_size`` are used.

    Returns:
        The objects, best first.
    """
    pixels = photo.pixels()
    corners = [
        (row, col)
        for row in _tiles(photo.size[0], photo.window[0], photo.far)
        for col in _tiles(photo.size[1], photo.window[1], photo.far)
    ]
    windows = [take(pixels, corner, photo.window) for corner in corners]
    found: list[InstanceData] = []
    for start in range(0, len(windows), settings.batch_size):
        for corner, instances in zip(
            corners[start:], inputs.detect(model, windows[start : start + settings.batch_size])
        ):
            boxes = instances.bboxes.float().cpu()
            height, width = photo.window
            clear = (
                (boxes[:, :2] >= photo.far).all(1)
                & (boxes[:, 2] <= width - photo.far)
                & (boxes[:, 3] <= height - photo.far)
                & ((boxes[:, 2:] - boxes[:, :2]) >= _LEAST_SIDE).all(1)
                & (instances.scores.cpu() >= settings.found_thr)
            )
            moved = boxes + boxes.new_tensor([corner[1], corner[0]] * 2)
            found.append(
                InstanceData(
                    bboxes=moved[clear],
                    scores=instances.scores.cpu()[clear],
                    labels=instances.labels.cpu()[clear],
                )
            )
    allowed = _label_indices(model, settings)
    objects = []
    together = InstanceData.cat(found)
    for label in together.labels.unique().tolist():
        if label not in allowed:
            continue
        mine = together[together.labels == label]
        for index in nms(mine.bboxes, mine.scores, _SAME_OBJECT_IOU).tolist():
            x1, y1, x2, y2 = (round(value, 3) for value in mine.bboxes[index].tolist())
            box = (x1, y1, x2, y2)
            objects.append(
                BorderObject(number, label, box, 'found', round(float(mine.scores[index]), 4))
            )
    objects.sort(key=lambda each: -(each.score or 0))
    return objects[: settings.max_objects]


def _tiles(extent: int, window: int, far: int) -> list[int]:
    """Offsets of overlapping windows that cover an axis."""
    # An object of up to a third of a window's clear part is clear of the sides of some window.
    step = max(1, (window - 2 * far) * 2 // 3)
    return sorted({*range(0, extent - window, step), extent - window})


def annotated_objects(
    photos: Sequence[Photo], classes: Sequence[str], settings: BorderSettings
) -> list[BorderObject]:
    """Objects of a COCO annotation file, crowds left out.

    Args:
        photos: The photos, matched by file name.
        classes: The detector's, matched by name.
        settings: ``ann``, ``labels`` and ``max_objects`` are used.

    Raises:
        UserError: The file cannot be read, or has none of the photos or none of the classes.
    """
    path = Path(str(settings.ann))
    coco = read_coco(path)
    names = {category['id']: category['name'] for category in coco.cats.values()}
    known = {key: classes.index(name) for key, name in names.items() if name in classes}
    if not known:
        raise UserError(
            f'`ann`: {str(path)!r} has none of the classes of the detector '
            f'(it has {", ".join(sorted(names.values())[:5])}, ...)'
        )
    images = {image['file_name'].split('/')[-1]: image for image in coco.imgs.values()}
    if not any(photo.file_name in images for photo in photos):
        raise UserError(f'`ann`: {str(path)!r} names none of the {len(photos)} photos')
    wanted = {classes.index(name) for name in settings.labels} or set(known.values())
    objects = []
    for number, photo in enumerate(photos):
        image = images.get(photo.file_name)
        if image is None:
            continue
        size = (round(image['height'] * photo.zoom), round(image['width'] * photo.zoom))
        if size != photo.size:
            raise UserError(
                f'`ann`: {str(path)!r} gives {photo.file_name} {image["width"]} x {image["height"]} '
                f'pixels, which the photo does not have'
            )
        mine = []
        for annotation in coco.imgToAnns[image['id']]:
            label = known.get(annotation['category_id'])
            x, y, width, height = (value * photo.zoom for value in annotation['bbox'])
            small = min(width, height) < _LEAST_SIDE
            if label not in wanted or annotation.get('iscrowd') or small:
                continue
            box = (x, y, x + width, y + height)
            mine.append(BorderObject(number, label, box, f'annotation {annotation["id"]}'))
        order = np.random.default_rng([settings.seed, 1, number]).permutation(len(mine))
        objects += [mine[index] for index in order[: settings.max_objects]]
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
