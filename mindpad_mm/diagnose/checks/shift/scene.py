"""Scenes that are larger than the input and contain one object with a known box."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mindpad_mm.core.annotations import BOXES
from mindpad_mm.core.coco import find_photo, read_coco
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.images import read_image
from mindpad_mm.core.names import PathLike
from mindpad_mm.core.scenes import paste
from mindpad_mm.diagnose.inputs import cover


@dataclass(frozen=True)
class ShiftScene:
    """A scene, the box of its object, and the size of the frame that moves over it.

    Attributes:
        pixels: (H, W, 3) uint8 BGR.
        box: (top, left, height, width) of the object, scene pixels.
        input_size: (height, width) of the frame, pixels.
        source: Description of the scene.
    """

    pixels: np.ndarray
    box: tuple[int, int, int, int]
    input_size: tuple[int, int]
    source: str

    @property
    def start(self) -> tuple[int, int]:
        """(top, left) of the frame with the object in its centre, as far as the scene allows."""
        place = []
        for axis in (0, 1):
            middle = self.box[axis] + self.box[axis + 2] // 2 - self.input_size[axis] // 2
            place.append(min(max(middle, 0), self.pixels.shape[axis] - self.input_size[axis]))
        return place[0], place[1]

    def holds(self, top: int, left: int) -> bool:
        """Whether a frame at this position is inside the scene."""
        return all(
            0 <= at <= self.pixels.shape[axis] - self.input_size[axis]
            for axis, at in enumerate((top, left))
        )

    def frame(self, top: int, left: int) -> np.ndarray:
        """The (h, w, 3) uint8 BGR pixels of a frame."""
        height, width = self.input_size
        return np.ascontiguousarray(self.pixels[top : top + height, left : left + width])

    def visible(self, top: int, left: int) -> tuple[int, int, int, int] | None:
        """``x1, y1, x2, y2`` of the object's visible part, frame pixels; None if it is not visible."""
        y, x, height, width = self.box
        y1, x1 = max(y - top, 0), max(x - left, 0)
        y2, x2 = (
            min(y + height - top, self.input_size[0]),
            min(x + width - left, self.input_size[1]),
        )
        return (x1, y1, x2, y2) if y1 < y2 and x1 < x2 else None

    def gap(self, top: int, left: int, vector: tuple[int, int]) -> int:
        """Pixels between the object and the frame's border in a (rows, columns) direction."""
        axis = 0 if vector[0] else 1
        before = self.box[axis] - (top, left)[axis]
        after = self.input_size[axis] - before - self.box[axis + 2]
        return before if vector[axis] < 0 else after


def pasted_scene(photo: np.ndarray, pixels: np.ndarray, input_size: tuple[int, int]) -> ShiftScene:
    """Paste an object in the centre of a photo.

    The photo is scaled so that the frame can move until the object has left it on every side.

    Args:
        photo: (H, W, 3) uint8 BGR.
        pixels: (h, w, 4) uint8 BGRA.
        input_size: (height, width) of the frame, pixels.

    Raises:
        UserError: The object is larger than the frame.
    """
    height, width = pixels.shape[:2]
    if height > input_size[0] or width > input_size[1]:
        raise UserError(
            f'the object of {height} x {width} pixels (h x w) does not fit in an input of '
            f'{input_size[0]} x {input_size[1]}: use a smaller size'
        )
    scene, scale = cover(photo, (2 * input_size[0] + height, 2 * input_size[1] + width))
    top, left = (scene.shape[0] - height) // 2, (scene.shape[1] - width) // 2
    return ShiftScene(
        paste(scene, pixels, top, left),
        (top, left, height, width),
        input_size,
        f'an object of {height} x {width} px pasted in a scene scaled by {scale:.2f}',
    )


def annotated_scene(
    ann_file: Path, ann_id: int, photo_root: PathLike | None, input_size: tuple[int, int]
) -> tuple[ShiftScene, str]:
    """An annotated object in its photo, at the scale of the photo.

    Args:
        ann_file: COCO instances JSON.
        ann_id: The annotation.
        photo_root: The folder of the photo; default as in
            :func:`mindpad_mm.core.objects.load_coco_objects`.
        input_size: (height, width) of the frame, pixels.

    Returns:
        The scene, and the name of the annotation's class.

    Raises:
        UserError: The file, annotation or photo does not exist; the photo is smaller than the frame
            or the object larger; the annotation is outside its photo.
    """
    coco = read_coco(ann_file, BOXES)
    if ann_id not in coco.anns:
        raise UserError(f'{str(ann_file)!r} has no annotation with id {ann_id}')
    annotation = coco.anns[ann_id]
    image = coco.imgs[annotation['image_id']]
    photo = read_image(find_photo(ann_file, image['file_name'], photo_root), what='photo')
    if (image['height'], image['width']) != photo.shape[:2]:
        raise UserError(
            f'the photo of annotation {ann_id} has {photo.shape[1]} x {photo.shape[0]} pixels, but '
            f'{str(ann_file)!r} says {image["width"]} x {image["height"]}'
        )
    if photo.shape[0] < input_size[0] or photo.shape[1] < input_size[1]:
        raise UserError(
            f'the photo of annotation {ann_id} has {photo.shape[0]} x {photo.shape[1]} pixels '
            f'(h x w), the input {input_size[0]} x {input_size[1]}: the scene '
            'must be larger than the input'
        )
    x1, y1, width, height = annotation['bbox']
    # Annotated boxes may extend beyond the photo.
    left, top = max(round(x1), 0), max(round(y1), 0)
    bottom = min(max(round(y1 + height), top + 1), photo.shape[0])
    right = min(max(round(x1 + width), left + 1), photo.shape[1])
    box = top, left, bottom - top, right - left
    if min(box[2:]) < 1:
        raise UserError(
            f'the box of annotation {ann_id} lies outside its photo: {annotation["bbox"]}'
        )
    if box[2] > input_size[0] or box[3] > input_size[1]:
        raise UserError(
            f'the object of annotation {ann_id} has {box[2]} x {box[3]} pixels (h x w), more than the '
            f'input of {input_size[0]} x {input_size[1]}: take a smaller one or a larger `input_size`'
        )
    source = f'annotation {ann_id} of {ann_file}'
    category = coco.cats.get(annotation['category_id'])
    if category is None:
        raise UserError(f'the category {annotation["category_id"]} of {source} is not in its list')
    return ShiftScene(photo, box, input_size, source), category['name']
