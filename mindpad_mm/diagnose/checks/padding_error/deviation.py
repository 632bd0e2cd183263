"""Deviation of the maps of a padded crop from those of the uncropped photo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mindpad_mm.diagnose.border_bias import SIDES, interior

NOTICEABLE = 0.1
"""Minimum deviation, in standard deviations, that counts as affected by padding."""


@dataclass
class LayerError:
    """The deviation of one layer's maps.

    Deviations are in standard deviations: the root mean square of the difference over channels,
    cells and photos, divided by the root mean square of the channels' standard deviations in the
    maps of the uncropped photos.

    Attributes:
        name: The layer's qualified name.
        size: (h, w) of its map.
        stride: (vertical, horizontal), input pixels per cell.
        maps: By mode, (h, w): deviation at each cell.
        photos: By mode, (P,): deviation in the outermost ring of cells, for each photo.
    """

    name: str
    size: tuple[int, int]
    stride: tuple[int, int]
    maps: dict[str, np.ndarray]
    photos: dict[str, np.ndarray]

    def rings(self, mode: str) -> np.ndarray:
        """(ceil(min(h, w) / 2),) deviation by distance to the nearest border in cells, from 0."""
        rows, columns = (np.minimum(np.arange(n), np.arange(n)[::-1]) for n in self.size)
        distance = np.minimum(rows[:, None], columns).ravel()
        squares = np.bincount(distance, np.square(self.maps[mode]).ravel())
        return np.sqrt(squares / np.bincount(distance))

    def sides(self, mode: str) -> dict[str, np.ndarray]:
        """By side, deviation by distance to it in cells, over the middle half of the side."""
        squares = np.square(self.maps[mode])
        rows = squares[:, interior(self.size[1])].mean(1)
        columns = squares[interior(self.size[0])].mean(0)
        half_rows, half_columns = (-(-n // 2) for n in self.size)
        lines = (
            rows[:half_rows],
            rows[::-1][:half_rows],
            columns[:half_columns],
            columns[::-1][:half_columns],
        )
        return {side: np.sqrt(line) for side, line in zip(SIDES, lines)}

    def reach(self, mode: str) -> int:
        """Input pixels from the border to the end of the last ring that deviates noticeably."""
        harmed = np.flatnonzero(self.rings(mode) >= NOTICEABLE)
        return int((harmed[-1] + 1) * min(self.stride)) if len(harmed) else 0


class DeviationSums:
    """Accumulates the deviations over photos.

    Args:
        strides: The strides of the layers to compare.
        margin: Position of the crop in the large input, pixels.
    """

    def __init__(self, strides: dict[str, tuple[int, int]], margin: int) -> None:
        self.strides = strides
        self.margin = margin
        self.truth: dict[str, Tensor] = {}
        self.moments: dict[str, list[Tensor]] = {name: [] for name in strides}
        self.squares: dict[tuple[str, str], list[np.ndarray]] = {}

    def start_photo(self) -> None:
        """Discard the reference maps of the last photo."""
        self.truth.clear()

    def add_truth(self, name: str, maps: Tensor) -> None:
        """Store the cells of the large input's map that belong to the crop, as reference."""
        if name not in self.strides:
            return
        top, left = (self.margin // stride for stride in self.strides[name])
        height, width = maps.shape[-2] - 2 * top, maps.shape[-1] - 2 * left
        cells = maps[0, :, top : top + height, left : left + width]
        self.truth[name] = cells.clone()
        flat = cells.double().flatten(1)
        self.moments[name].append(torch.stack([flat.mean(1), flat.square().mean(1)]))

    def adder(self, mode: str) -> Callable[[str, Tensor], None]:
        """A ``visit`` function that compares the crop's maps in one mode with the reference."""

        def add(name: str, maps: Tensor) -> None:
            if name in self.strides:
                squares = (maps[0] - self.truth[name]).square().sum(0, dtype=torch.float64)
                self.squares.setdefault((mode, name), []).append(squares.cpu().numpy())

        return add

    def errors(self, modes: list[str], left_out: dict[str, str]) -> list[LayerError]:
        """The deviation of each layer; constant layers are added to ``left_out`` instead."""
        errors = []
        for name, stride in self.strides.items():
            mean, square = torch.stack(self.moments[name]).mean(0)
            variance = float((square - mean.square()).clamp(min=0).sum())
            if variance <= np.finfo(np.float32).tiny:
                left_out[name] = 'its maps are constant'
                continue
            stacks = {mode: np.stack(self.squares[mode, name]) / variance for mode in modes}
            ring = np.ones(stacks[modes[0]].shape[1:], bool)
            ring[1:-1, 1:-1] = False
            maps = {mode: np.sqrt(stack.mean(0)) for mode, stack in stacks.items()}
            photos = {mode: np.sqrt(stack[:, ring].mean(1)) for mode, stack in stacks.items()}
            errors.append(LayerError(name, ring.shape, stride, maps, photos))
        return errors
