"""Positions of the object in a scan: its top-left pixels, such that it lies inside the scene."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mindpad_mm.core.errors import UserError


def axis_positions(extent: int, box: int, stride: int) -> np.ndarray:
    """Positions along one axis: the multiples of ``stride`` at which the box lies inside the scene.

    Args:
        extent: Length of the scene in pixels.
        box: Length of the box in pixels.
        stride: Pixels between positions, at least 1.

    Returns:
        (N,) int64, ascending from 0 to at most ``extent - box``.

    Raises:
        UserError: The box is longer than the scene.
    """
    if box > extent:
        raise UserError(
            f'the object is {box} pixels long, but the scene only {extent}: use smaller `sizes`'
        )
    return np.arange(0, extent - box + 1, stride, dtype=np.int64)


def common_grid(
    scene_sizes: Iterable[tuple[int, int]], box_sizes: Iterable[tuple[int, int]], stride: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns that contain the positions of every box in every scene.

    Args:
        scene_sizes: (height, width) of each scene, pixels.
        box_sizes: (height, width) of each box, pixels.
        stride: Pixels between positions, at least 1.

    Returns:
        ``rows`` (R,) and ``cols`` (C,), int64: those of the largest scene and the smallest box. Other
        pairs use the first rows and columns of this grid.

    Raises:
        UserError: A box does not fit a scene.
    """
    scene_sizes, box_sizes = list(scene_sizes), list(box_sizes)
    longest = []
    for axis in (0, 1):
        pairs = [(scene[axis], box[axis]) for scene in scene_sizes for box in box_sizes]
        longest.append(max((axis_positions(*pair, stride) for pair in pairs), key=len))
    return longest[0], longest[1]


def scene_positions(
    scene_size: tuple[int, int], box_size: tuple[int, int], stride: int
) -> np.ndarray:
    """Every position of a box in a scene, row by row.

    Args:
        scene_size, box_size: (height, width) in pixels.
        stride: Pixels between positions, at least 1.

    Returns:
        (N, 2) int64, (row, col) of the box's top-left pixel.
    """
    rows = axis_positions(scene_size[0], box_size[0], stride)
    cols = axis_positions(scene_size[1], box_size[1], stride)
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
