"""Objects to paste: drawn, read from an image file, or cut out of a COCO photo."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools.coco import COCO

from mindpad_mm.core.coco import find_photo, read_coco
from mindpad_mm.core.drawing import draw_light
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.images import read_image
from mindpad_mm.core.names import PathLike
from mindpad_mm.core.segmentation import segmentation_mask

DRAWN_HEIGHT = 256
# Smaller ones are blurred beyond recognition in most photos.
_LEAST_SIDE = 16


@dataclass(frozen=True)
class ScanObject:
    """An object to paste, cropped to its visible pixels.

    Attributes:
        pixels: (H, W, 4) uint8 BGRA. Alpha is straight, not premultiplied: 0 is transparent,
            255 opaque.
        source: Description of where the object comes from.
        category: Name of its category, if an annotation says it.
        photo_size: (height, width) of the photo that it was cut out of, pixels; None if it was not.
        natural: (height, width) at which it is pasted at its natural size, pixels of the scene; None if
            it has none.
    """

    pixels: np.ndarray
    source: str
    category: str | None = None
    photo_size: tuple[int, int] | None = None
    natural: tuple[int, int] | None = None

    @classmethod
    def from_pixels(cls, pixels: np.ndarray, source: str) -> ScanObject:
        """Crop an image to the bounding box of its visible pixels (alpha above 0).

        Args:
            pixels: (H, W, 4) BGRA, (H, W, 3) BGR or (H, W) grey, uint8. Images without alpha are
                opaque.
            source: Description of where the image comes from.

        Raises:
            UserError: Every pixel is transparent.
        """
        if pixels.ndim == 2:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGRA)
        elif pixels.shape[2] == 3:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2BGRA)
        visible = pixels[..., 3] > 0
        if not visible.any():
            raise UserError(f'object {source!r} is fully transparent: nothing of it can be seen')
        rows, cols = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
        crop = pixels[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
        return cls(np.ascontiguousarray(crop), source)

    @classmethod
    def from_file(cls, path: PathLike) -> ScanObject:
        """Read an object from an RGBA, RGB or grey image file.

        Raises:
            UserError: The file cannot be read, or every pixel is transparent.
        """
        return cls.from_pixels(read_image(path, cv2.IMREAD_UNCHANGED, 'object'), str(path))

    @classmethod
    def drawn(cls, seed: int = 0) -> ScanObject:
        """Draw a red traffic light; the same seed gives the same pixels."""
        rng = np.random.default_rng([seed, 1])
        return cls.from_pixels(draw_light(DRAWN_HEIGHT, rng=rng), f'drawn traffic light {seed}')

    def size_at(self, size: int | None) -> tuple[int, int]:
        """(height, width) in pixels after :meth:`resized`."""
        if size is None:
            assert self.natural is not None, 'an object without a natural size needs a size'
            return self.natural
        height, width = self.pixels.shape[:2]
        scale = size / max(height, width)
        return max(1, round(height * scale)), max(1, round(width * scale))

    def resized(self, size: int | None) -> np.ndarray:
        """Resize the object so that its longer side is ``size`` pixels.

        Shrinking averages over areas, enlarging interpolates linearly. Both work on premultiplied
        colours, so the colour of transparent pixels does not bleed into the edge.

        Args:
            size: Length of the longer side in pixels, at least 1. None: its natural size.

        Returns:
            (h, w, 4) uint8 BGRA with straight alpha, ``max(h, w) == size``. It is not cropped
            again: the object's box is the whole array.

        Raises:
            UserError: No pixel is visible at this size.
        """
        height, width = self.pixels.shape[:2]
        new_height, new_width = self.size_at(size)
        if (new_height, new_width) == (height, width):
            return self.pixels
        smaller = new_height * new_width < height * width
        interpolation = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        premultiplied = self.pixels.astype(np.float32)
        premultiplied[..., :3] *= premultiplied[..., 3:] / 255
        resized = cv2.resize(premultiplied, (new_width, new_height), interpolation=interpolation)
        alpha = resized[..., 3:]
        # Alpha below 0.5 is rounded to 0, so the colour there does not matter.
        resized[..., :3] *= np.where(alpha < 0.5, 0, 255 / np.maximum(alpha, 0.5))
        pixels = np.clip(np.rint(resized), 0, 255).astype(np.uint8)
        if not pixels[..., 3].any():
            longer = max(new_height, new_width)
            raise UserError(
                f'`sizes`: object {self.source!r} is invisible at size {longer}; use a larger size'
            )
        return pixels


def load_coco_objects(
    ann_file: PathLike, ann_ids: Sequence[int], photo_root: PathLike | None = None
) -> tuple[list[ScanObject], dict[Path, np.ndarray]]:
    """Cut annotated objects out of their photos along their masks.

    Args:
        ann_file: COCO instances JSON file.
        ann_ids: Ids of the annotations to cut out.
        photo_root: Folder of the photos. Default: see :func:`mindpad_mm.core.coco.find_photo`.

    Returns:
        The objects, and by resolved path of each photo the (H, W) bool mask of all the objects
        that were cut out of it.

    Raises:
        UserError: A file or an annotation is missing or damaged; an annotation is a crowd or has
            no mask; a photo does not have the size that the annotation file gives.
    """
    coco = read_coco(Path(ann_file))
    objects: list[ScanObject] = []
    holes: dict[Path, np.ndarray] = {}
    for ann_id in ann_ids:
        cutout, photo, mask = _cut_out(coco, Path(ann_file), ann_id, photo_root)
        objects.append(cutout)
        photo = photo.resolve()
        holes[photo] = holes[photo] | mask if photo in holes else mask
    return objects, holes


def whole_annotations(ann_file: PathLike, category: str, most: int, seed: int = 0) -> list[int]:
    """Ids of annotations of a category that can be cut out as whole objects.

    Photos take turns; the order of photos, and of the objects of each, is random. Crowds, objects
    without a mask, those that touch the edge of their photo (which may cut them off), those with a side
    below 16 pixels and those longer than half the photo's shorter side are left out.

    Args:
        ann_file: COCO instances JSON file.
        category: Name of the category.
        most: Most ids to return, at least 1.
        seed: Seed of the order. Default: 0.

    Raises:
        UserError: The file cannot be read, or has no such category or no such object.
    """
    coco = read_coco(Path(ann_file))
    numbers = {each['name']: key for key, each in coco.cats.items()}
    if category not in numbers:
        close = difflib.get_close_matches(category, numbers, n=1)
        some = ', '.join(sorted(numbers)[:8]) + (', ...' if len(numbers) > 8 else '')
        hint = f'did you mean {close[0]!r}?' if close else f'it has {some}'
        raise UserError(f'`category`: {str(ann_file)!r} has no category {category!r}; {hint}')
    turns = []
    for image in coco.getImgIds():
        known = coco.imgToAnns[image]
        mine = [
            annotation['id']
            for annotation in known
            if annotation.get('category_id') == numbers[category]
            and _is_whole(annotation, coco.imgs[image])
        ]
        rng = np.random.default_rng([seed, 2, image])
        turns += [
            (turn, rng.random(), mine[index])
            for turn, index in enumerate(rng.permutation(len(mine)))
        ]
    if not turns:
        raise UserError(
            f'`category`: {str(ann_file)!r} has no {category!r} that is whole, of at least '
            f'{_LEAST_SIDE} px and at most half the photo: choose annotations with `ann_ids`'
        )
    return [number for _, _, number in sorted(turns)[:most]]


def _is_whole(annotation: Mapping[str, Any], image: Mapping[str, Any]) -> bool:
    """Whether an annotated object is complete, and of a size that can be scanned."""
    if annotation.get('iscrowd', 0) or not annotation.get('segmentation'):
        return False
    x, y, width, height = annotation['bbox']
    apart = min(x, y, image['width'] - x - width, image['height'] - y - height)
    half = min(image['width'], image['height']) / 2
    return apart >= 1 and min(width, height) >= _LEAST_SIDE and max(width, height) <= half


def _cut_out(
    coco: COCO, ann_file: Path, ann_id: int, photo_root: PathLike | None
) -> tuple[ScanObject, Path, np.ndarray]:
    """Return the object of one annotation, the path of its photo and its (H, W) bool mask."""
    if ann_id not in coco.anns:
        raise UserError(f'`ann_ids`: {str(ann_file)!r} has no annotation with id {ann_id}')
    annotation = coco.anns[ann_id]
    source = f'annotation {ann_id} of {ann_file}'
    image = coco.imgs.get(annotation['image_id'], {})
    lacking = [key for key in ('file_name', 'height', 'width') if key not in image]
    if lacking:
        raise UserError(
            f'the photo of {source} has no {lacking[0]} among its images: complete the file'
        )
    if annotation.get('iscrowd', 0):
        raise UserError(f'{source} is a crowd (iscrowd=1), not one object: choose another')
    if not annotation.get('segmentation'):
        raise UserError(f'{source} has no mask to cut it out by: choose another')
    photo = find_photo(ann_file, image['file_name'], photo_root)
    pixels = read_image(photo, what='photo')
    height, width = pixels.shape[:2]
    if (image['height'], image['width']) != (height, width):
        raise UserError(
            f'photo {str(photo)!r} is {width} x {height} pixels, '
            f'but {str(ann_file)!r} says {image["width"]} x {image["height"]}'
        )
    mask = segmentation_mask(annotation['segmentation'], height, width, source)
    if not mask.any():
        raise UserError(f'{source} has an empty mask: choose another')
    alpha = mask[..., None].astype(np.uint8) * 255
    cutout = ScanObject.from_pixels(np.concatenate([pixels, alpha], -1), source)
    category = coco.cats.get(annotation.get('category_id'), {}).get('name')
    size = mask.shape[0], mask.shape[1]
    return dataclasses.replace(cutout, category=category, photo_size=size), photo, mask
