"""Positions of the object in a scan: its top-left pixels, such that it lies inside the photo."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.scenes import Part


def axis_positions(extent: int, box: int, stride: int, start: int = 0) -> np.ndarray:
    """Positions along one axis, a stride apart, at which the box lies inside the photo.

    Args:
        extent: Length of the photo in pixels.
        box: Length of the box in pixels.
        stride: Pixels between positions, at least 1.
        start: The photo's first pixel. Default: 0.

    Returns:
        (N,) int64, ascending from ``start`` to at most ``start + extent - box``.

    Raises:
        UserError: The box is longer than the photo.
    """
    if box > extent:
        raise UserError(
            f'the object is {box} pixels long, but the photo only {extent}: use smaller `sizes`'
        )
    return np.arange(start, start + extent - box + 1, stride, dtype=np.int64)


def photo_grid(
    photo: Part, box_size: tuple[int, int], stride: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows (R,) and columns (C,), int64, of the positions of a box in a photo.

    Args:
        photo: The part of the scene that the photo fills, pixels.
        box_size: (height, width) of the box, pixels.
        stride: Pixels between positions, at least 1.

    Raises:
        UserError: The box does not fit the photo.
    """
    rows = axis_positions(photo.height, box_size[0], stride, photo.top)
    return rows, axis_positions(photo.width, box_size[1], stride, photo.left)


def common_grid(
    photos: Iterable[Part], box_sizes: Iterable[tuple[int, int]], stride: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns that contain the positions of every box in every photo.

    Args:
        photos: The part of each scene that its photo fills, pixels.
        box_sizes: (height, width) of each box, pixels.
        stride: Pixels between positions, at least 1.

    Returns:
        ``rows`` (R,) and ``cols`` (C,), int64, ascending: all that occur. Evenly spaced if all photos
        start at the same row and column.

    Raises:
        UserError: A box does not fit a photo.
    """
    pairs = itertools.product(photos, box_sizes)
    grids = [photo_grid(photo, box, stride) for photo, box in pairs]
    rows, cols = (np.unique(np.concatenate(lines)) for lines in zip(*grids))
    return rows, cols


def scene_positions(photo: Part, box_size: tuple[int, int], stride: int) -> np.ndarray:
    """Every position of a box in a photo, row by row.

    Args:
        photo: The part of the scene that the photo fills, pixels.
        box_size: (height, width) of the box, pixels.
        stride: Pixels between positions, at least 1.

    Returns:
        (N, 2) int64, (row, col) of the box's top-left pixel.
    """
    rows, cols = photo_grid(photo, box_size, stride)
    return np.stack(np.meshgrid(rows, cols, indexing='ij'), -1).reshape(-1, 2)


def position_boxes(positions: np.ndarray, box_size: tuple[int, int]) -> np.ndarray:
    """Boxes of the object at positions.

    Args:
        positions: (N, 2) (row, col) of the box's top-left pixel.
        box_size: (height, width) in pixels.

    Returns:
        (N, 4) float64 ``x1, y1, x2, y2``; the last pixel's row and column are ``y2 - 1`` and
        ``x2 - 1``.
    """
    height, width = box_size
    row, col = np.asarray(positions, np.float64).T
    return np.stack([col, row, col + width, row + height], -1)
