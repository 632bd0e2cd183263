"""Objects to paste: drawn, read from an image file, or cut out of a COCO photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from pycocotools.coco import COCO

from mindpad_mm.core.coco import find_photo, read_coco
from mindpad_mm.core.drawing import draw_light
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.images import PathLike, read_image

DRAWN_HEIGHT = 256


@dataclass(frozen=True)
class ScanObject:
    """An object to paste, cropped to its visible pixels.

    Attributes:
        pixels: (H, W, 4) uint8 BGRA. Alpha is straight, not premultiplied: 0 is transparent,
            255 opaque.
        source: Description of where the object comes from.
    """

    pixels: np.ndarray
    source: str

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

    def resized(self, size: int) -> np.ndarray:
        """Resize the object so that its longer side is ``size`` pixels.

        Shrinking averages over areas, enlarging interpolates linearly. Both work on premultiplied
        colours, so the colour of transparent pixels does not bleed into the edge.

        Args:
            size: Length of the longer side in pixels, at least 1.

        Returns:
            (h, w, 4) uint8 BGRA with straight alpha, ``max(h, w) == size``. It is not cropped
            again: the object's box is the whole array.

        Raises:
            UserError: No pixel is visible at this size.
        """
        height, width = self.pixels.shape[:2]
        scale = size / max(height, width)
        if scale == 1:
            return self.pixels
        new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        premultiplied = self.pixels.astype(np.float32)
        premultiplied[..., :3] *= premultiplied[..., 3:] / 255
        resized = cv2.resize(premultiplied, (new_width, new_height), interpolation=interpolation)
        alpha = resized[..., 3:]
        # Alpha below 0.5 is rounded to 0, so the colour there does not matter.
        resized[..., :3] *= np.where(alpha < 0.5, 0, 255 / np.maximum(alpha, 0.5))
        pixels = np.clip(np.rint(resized), 0, 255).astype(np.uint8)
        if not pixels[..., 3].any():
            raise UserError(
                f'`sizes`: object {self.source!r} is invisible at size {size}; use a larger size'
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
    try:
        mask = coco.annToMask(annotation).astype(bool)
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f'{source} has a segmentation that is neither polygons nor run lengths ({error}): '
            f'choose another'
        ) from error
    if mask.shape != pixels.shape[:2]:
        raise UserError(
            f'photo {str(photo)!r} is {pixels.shape[1]} x {pixels.shape[0]} pixels, '
            f'but {str(ann_file)!r} says {mask.shape[1]} x {mask.shape[0]}'
        )
    if not mask.any():
        raise UserError(f'{source} has an empty mask: choose another')
    alpha = mask[..., None].astype(np.uint8) * 255
    return ScanObject.from_pixels(np.concatenate([pixels, alpha], -1), source), photo, mask
