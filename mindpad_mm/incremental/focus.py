"""Which priors a focused scan computes: those about the object, on the levels that matter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn
from torch.nn.modules.utils import _pair

from mindpad_mm.incremental.demand import Cells


@dataclass(frozen=True)
class Grid:
    """Where the priors of one level lie, each pair (vertical, horizontal).

    Attributes:
        size: Cells.
        first: Centre of the first cell's priors, input pixels.
        stride: From a cell's to the next, pixels.
    """

    size: tuple[int, int]
    first: tuple[float, float]
    stride: tuple[float, float]

    def cells(self, corners: np.ndarray, extent: tuple[int, int], reach: float) -> Cells:
        """The cells about objects.

        Args:
            corners: (B, 2) (row, col) of the objects' top-left pixels.
            extent: (height, width) of the objects, pixels.
            reach: 0 for the cell whose priors are nearest to the object's centre; each 1 more takes
                in those that are half the object's extent further off it, to every side.
        """
        rows, cols = (self._axis(axis, corners[:, axis], extent[axis], reach) for axis in (0, 1))
        return rows, cols

    def _axis(
        self, axis: int, corner: np.ndarray, extent: int, reach: float
    ) -> tuple[np.ndarray, np.ndarray]:
        size, stride = self.size[axis], self.stride[axis]
        centre = (corner + extent / 2 - self.first[axis]) / stride
        margin = 0.5 + reach * extent / 2 / stride
        low = np.ceil(centre - margin).astype(int).clip(0, size - 1)
        # Beyond the last cell, that is still the nearest one.
        return low, np.maximum(np.ceil(centre + margin).astype(int).clip(0, size), low + 1)


def prior_grids(head: nn.Module, sizes: list[tuple[int, int]]) -> tuple[Grid, ...] | None:
    """The grids of a dense head's levels of these sizes; None if it has no priors to tell by."""
    generator: Any = getattr(head, 'prior_generator', None)
    if generator is None or getattr(generator, 'num_levels', None) != len(sizes):
        return None
    grids = []
    for (height, width), stride, priors in zip(
        sizes, generator.strides, generator.grid_priors(sizes, device='cpu')
    ):
        cell = priors.reshape(height * width, -1, priors.shape[-1])[0].double()
        # Boxes x1, y1, x2, y2, or points x, y.
        centre = (cell[:, :2] + cell[:, 2:]) / 2 if priors.shape[-1] == 4 else cell[:, :2]
        (x, y), (across, down) = centre.mean(0).tolist(), _pair(stride)
        grids.append(Grid((height, width), (y, x), (down, across)))
    return tuple(grids)


@dataclass(frozen=True)
class Focus:
    """The priors to compute.

    Attributes:
        grids: Of all levels.
        reaches: Of the levels that matter, see :meth:`Grid.cells`.
    """

    grids: tuple[Grid, ...]
    reaches: Mapping[int, float]

    def cells(self, corners: np.ndarray, extent: tuple[int, int]) -> dict[int, Cells]:
        """The cells of each level that matters."""
        return {
            level: self.grids[level].cells(corners, extent, reach)
            for level, reach in self.reaches.items()
        }

    def but(self, level: int, reach: float | None) -> Focus:
        """The same with another reach for a level; None leaves it out."""
        reaches = {**self.reaches, level: reach}
        return Focus(self.grids, {k: v for k, v in reaches.items() if v is not None})

    def notes(self) -> list[dict[str, Any]]:
        """For a reader of ``scan.json``."""
        return [
            {'level': level, 'stride': list(self.grids[level].stride), 'reach': reach}
            for level, reach in self.reaches.items()
        ]


# Reaches that are tried. Within the object's own extent, cells cost next to nothing beside what the
# level's reading of its surroundings does.
REACHES = (1, 2, 5)


def find_focus(grids: tuple[Grid, ...], does: Callable[[Focus], bool]) -> Focus | None:
    """A focus on few levels, and of no longer a reach than it takes, that does.

    Coarse levels are left out, not fine ones: those read the furthest about, and the deepest maps.

    Args:
        grids: Of all levels.
        does: Whether a focus does; called once for each level at most, and for each level and reach.

    Returns:
        None if not even the longest reach on all levels does.
    """
    tried = (Focus(grids, dict.fromkeys(range(len(grids)), reach)) for reach in REACHES)
    focus = next(filter(does, tried), None)
    if focus is None:
        return None
    coarsest_first = sorted(focus.reaches, key=lambda level: grids[level].stride, reverse=True)
    for level in coarsest_first[:-1]:
        less = focus.but(level, None)
        if not does(less):
            break
        focus = less
    for level in coarsest_first:
        shorter = [reach for reach in REACHES if reach < focus.reaches.get(level, 0)]
        tried = (focus.but(level, reach) for reach in shorter)
        focus = next(filter(does, tried), focus)
    return focus
