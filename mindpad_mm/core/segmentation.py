"""Masks of COCO segmentations, which are checked first."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mindpad_mm.core.errors import UserError


def segmentation_mask(segmentation: Any, height: int, width: int, source: str) -> np.ndarray:
    """The mask of a COCO segmentation: polygons, run lengths, or compressed run lengths.

    Everything is checked before pycocotools sees it, which trusts it: run lengths that do not fill the
    image show memory of the process, a polygon far outside takes all of it.

    Args:
        segmentation: The annotation's ``segmentation``.
        height, width: Size of the image, pixels.
        source: Name of the annotation in error messages.

    Returns:
        (H, W) bool.

    Raises:
        UserError: It is none of the three, has another size than the image, or cannot be right.
    """
    runs = check_segmentation(segmentation, height, width, source)
    if runs is not None:
        # Runs alternate between outside and inside, column by column.
        values = np.arange(len(runs)) % 2 == 1
        return np.repeat(values, runs).reshape(width, height).T
    runs = coco_mask.frPyObjects(segmentation, height, width)
    return coco_mask.decode(coco_mask.merge(runs)).astype(bool)


def check_segmentation(
    segmentation: Any, height: int, width: int, source: str
) -> np.ndarray | None:
    """Check a COCO segmentation, see :func:`segmentation_mask`.

    Returns:
        Its run lengths; None if it is made of polygons.

    Raises:
        UserError: It cannot be right.
    """
    if isinstance(segmentation, dict):
        return _run_lengths(segmentation, height, width, source)
    if not isinstance(segmentation, list) or not segmentation:
        raise _no_segmentation(source)
    for polygon in segmentation:
        _check_polygon(polygon, height, width, source)
    return None


def _run_lengths(segmentation: dict[str, Any], height: int, width: int, source: str) -> np.ndarray:
    size, counts = segmentation.get('size'), segmentation.get('counts')
    if not isinstance(size, (list, tuple)) or not isinstance(counts, (list, str, bytes)):
        raise _no_segmentation(source)
    if list(size) != [height, width]:
        raise UserError(
            f'{source} has run lengths for an image of size {list(size)}, but its image has '
            f'{[height, width]} (height, width): choose another, or correct the file'
        )
    if not isinstance(counts, list):
        counts = _uncompressed(counts, source)
    if not all(_is_whole(run) and 0 <= run <= height * width for run in counts):
        raise UserError(f'{source} has run lengths that are no lengths: choose another')
    if sum(counts) != height * width:
        raise UserError(
            f'{source} has run lengths of {sum(counts)} pixels together, but its image has '
            f'{height * width}: choose another, or correct the file'
        )
    return np.array(counts, int)


def _uncompressed(counts: str | bytes, source: str) -> list[int]:
    """Run lengths from COCO's text: five bits a character, from the third on differences."""
    codes = counts.encode() if isinstance(counts, str) else counts
    runs: list[int] = []
    value = shift = 0
    for code in codes:
        bits = code - 48
        if not 0 <= bits < 64 or shift > 30:
            raise UserError(f'{source} has compressed run lengths that are damaged: choose another')
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:  # the number goes on
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise UserError(f'{source} has compressed run lengths that are cut off: choose another')
    return runs


def _check_polygon(polygon: Any, height: int, width: int, source: str) -> None:
    if not isinstance(polygon, list) or not all(map(_is_number, polygon)):
        raise _no_segmentation(source)
    if len(polygon) < 6 or len(polygon) % 2:
        raise UserError(
            f'{source} has a polygon of {len(polygon)} numbers: it takes x and y of three points or '
            f'more; choose another'
        )
    low, high = limits(height, width)
    beyond = [value for value in polygon if not low <= value <= high]
    if beyond:
        raise UserError(
            f'{source} has a polygon with a point at {beyond[0]:g}, far outside its image of '
            f'{width} x {height} pixels: choose another, or correct the file'
        )


def limits(height: int, width: int) -> tuple[int, int]:
    """Least and largest coordinate of an annotation: it may lie as far outside as its image is large."""
    side = max(height, width)
    return -side, 2 * side


def _no_segmentation(source: str) -> UserError:
    return UserError(
        f'{source} has a segmentation that is neither polygons nor run lengths: choose another'
    )


def _is_number(value: Any) -> bool:
    """Whether it is a number that a float can hold, NaN included."""
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) <= 2**53
    return isinstance(value, float)


def _is_whole(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value) and value == int(value)
