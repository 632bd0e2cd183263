"""Where a scan puts its object: top-left pixels, the box always fully inside the scene."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mindpad_mm.core.errors import UserError


def axis_positions(extent: int, box: int, stride: int) -> np.ndarray:
    """All multiples of ``stride`` at which a box lies inside an axis.

    Args:
        extent: The scene's pixels along the axis.
        box: The box's pixels along the axis, 1..extent.
        stride: Pixels from one position to the next, >= 1.

    Returns:
        (N,) int64, ascending from 0 to at most ``extent - box``.

    Raises:
        UserError: The stride is not positive, or the box is longer than the axis.
    """
    if stride < 1:
        raise UserError(f'`stride` {stride} is not possible: it must be at least 1 pixel')
    if box > extent:
        raise UserError(
            f'the object is {box} pixels long where the scene has only {extent}: use a smaller size'
        )
    return np.arange(0, extent - box + 1, stride, dtype=np.int64)


def common_grid(
    scene_sizes: Iterable[tuple[int, int]], box_sizes: Iterable[tuple[int, int]], stride: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns that hold the positions of every (scene, box) pair.

    Args:
        scene_sizes: (height, width) of each scene, pixels.
        box_sizes: (height, width) of each box, pixels.
        stride: Pixels, >= 1.

    Returns:
        ``rows`` (R,) and ``cols`` (C,) int64: those of the largest scene and the smallest box.
        A pair that allows fewer fills the first rows and columns of this grid.

    Raises:
        UserError: Some box does not fit some scene, or the stride is not positive.
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
    """Every position of one box in one scene, row by row.

    Returns:
        (N, 2) int64, (row, col) of the box's top-left pixel.
    """
    rows = axis_positions(scene_size[0], box_size[0], stride)
    cols = axis_positions(scene_size[1], box_size[1], stride)
    return np.stack(np.meshgrid(rows, cols, indexing='ij'), -1).reshape(-1, 2)


def position_boxes(positions: np.ndarray, box_size: tuple[int, int]) -> np.ndarray:
    """Boxes (N, 4) float64 ``x1, y1, x2, y2`` of (row, col) positions; x2 and y2 exclusive."""
    height, width = box_size
    row, col = np.asarray(positions, np.float64).T
    return np.stack([col, row, col + width, row + height], -1)
