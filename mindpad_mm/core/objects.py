"""The objects that a scan pastes: drawn, from an image file, or cut out of a COCO photo."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from pycocotools.coco import COCO

from mindpad_mm.core.drawing import draw_light
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.images import PathLike, read_image

DRAWN_HEIGHT = 256


@dataclass(frozen=True)
class ScanObject:
    """An object to paste, cropped to the tight box of its alpha.

    Attributes:
        pixels: (H, W, 4) uint8, BGR with straight (not premultiplied) alpha, 0..255.
        source: Where it came from, for a person to read.
    """

    pixels: np.ndarray
    source: str

    @classmethod
    def from_pixels(cls, pixels: np.ndarray, source: str) -> ScanObject:
        """Crop BGR (opaque), BGRA or grey uint8 pixels to their visible part.

        Raises:
            UserError: Nothing in it is visible.
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
        """Read an RGBA, RGB (opaque) or grey image file.

        Raises:
            UserError: It cannot be read, or is fully transparent.
        """
        return cls.from_pixels(read_image(path, cv2.IMREAD_UNCHANGED, 'object'), str(path))

    @classmethod
    def drawn(cls, seed: int = 0) -> ScanObject:
        """A drawn red traffic light; the same seed gives the same pixels."""
        rng = np.random.default_rng([seed, 1])
        return cls.from_pixels(draw_light(DRAWN_HEIGHT, rng=rng), f'drawn traffic light {seed}')

    def resized(self, size: int) -> np.ndarray:
        """The object with its longer side ``size`` pixels, as it is pasted.

        Shrinking averages over areas and enlarging interpolates linearly, both on premultiplied
        colours, so that what is hidden under full transparency never bleeds into the edge.

        Args:
            size: Pixels, >= 1.

        Returns:
            (h, w, 4) uint8 BGRA with straight alpha, ``max(h, w) == size``. Its box is its full
            extent.

        Raises:
            UserError: At this size nothing of it is visible.
        """
        height, width = self.pixels.shape[:2]
        scale = size / max(height, width)
        if scale == 1:
            return self.pixels
        shape = (max(1, round(height * scale)), max(1, round(width * scale)))
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        colour = self.pixels.astype(np.float32)
        colour[..., :3] *= colour[..., 3:] / 255
        colour = cv2.resize(colour, shape[::-1], interpolation=interpolation)
        alpha = colour[..., 3:]
        # Below half a step alpha rounds to 0 and the colour no longer matters.
        colour[..., :3] *= np.where(alpha < 0.5, 0, 255 / np.maximum(alpha, 0.5))
        pixels = np.clip(np.rint(colour), 0, 255).astype(np.uint8)
        if not pixels[..., 3].any():
            raise UserError(f'object {self.source!r} is invisible at size {size}: use a larger one')
        return pixels


def load_coco_objects(
    ann_file: PathLike, ann_ids: Sequence[int], photo_root: PathLike | None = None
) -> tuple[list[ScanObject], dict[Path, np.ndarray]]:
    """Cut annotated objects out of their photos by their masks.

    Args:
        ann_file: COCO instances JSON.
        ann_ids: The ids of the annotations to cut out.
        photo_root: The folder of the photos. By default the folders in which COCO keeps them are
            tried: beside the JSON, ``images/``, and the split in the file's name
            (``instances_val2017.json`` -> ``val2017/``), there and one folder up.

    Returns:
        The objects, and for each photo the (H, W) bool mask of the holes they leave.

    Raises:
        UserError: No such file, annotation or photo; a crowd; an empty mask; a photo of another
            size than its annotation says.
    """
    coco = read_coco(Path(ann_file))
    objects: list[ScanObject] = []
    holes: dict[Path, np.ndarray] = {}
    for ann_id in ann_ids:
        if ann_id not in coco.anns:
            raise UserError(f'{str(ann_file)!r} has no annotation with id {ann_id}')
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
        photo = find_photo(Path(ann_file), image['file_name'], photo_root)
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
        objects.append(ScanObject.from_pixels(np.concatenate([pixels, alpha], -1), source))
        photo = photo.resolve()
        holes[photo] = holes.get(photo, False) | mask
    return objects, holes


def read_coco(path: Path) -> COCO:
    """An annotation file, without pycocotools' prints.

    Raises:
        UserError: It is missing or is none.
    """
    if not path.is_file():
        raise UserError(f'annotation file {str(path)!r} does not exist')
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
            return COCO(str(path))
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        # The repr of a decoding error holds the whole file.
        problem = f'{type(error).__name__}: {error}'
        raise UserError(f'{str(path)!r} is not a COCO annotation file: {problem}') from error


def find_photo(ann_file: Path, file_name: str, photo_root: PathLike | None) -> Path:
    """A photo of an annotation file, in ``photo_root`` or where COCO keeps it.

    Raises:
        UserError: It is in none of the folders.
    """
    if photo_root is not None:
        folders = [Path(photo_root)]
    else:
        split = ann_file.stem.rsplit('_', 1)[-1]
        parents = (ann_file.parent, ann_file.parent.parent)
        folders = [parent / name for parent in parents for name in ('', 'images', split)]
    for folder in folders:
        if (folder / file_name).is_file():
            return folder / file_name
    tried = ', '.join(dict.fromkeys(str(folder) for folder in folders))
    raise UserError(f'photo {file_name!r} was not found in {tried}: give its folder, --photo-root')
