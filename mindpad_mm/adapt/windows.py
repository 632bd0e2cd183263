"""Windows to learn from: cut-outs of photos with their surroundings, with objects near their sides."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mindpad_mm.core.images import read_image, scaled
from mindpad_mm.core.objects import ScanObject
from mindpad_mm.core.scenes import paste

# Photos kept in memory.
_KEPT = 64


@dataclass
class Windows:
    """Draws windows at random; step ``n`` of one seed always has the same ones.

    Attributes:
        photos: Files, or (H, W, 3) uint8 BGR arrays.
        objects: To paste; empty: none.
        size: (height, width) of a window, pixels.
        surroundings: Pixels around it on each side.
        near: A pasted object stands at most these many pixels from one side.
        sizes: Longer sides of pasted objects, pixels: any between the smallest and the largest.
        seed: Of everything that is drawn.
    """

    photos: Sequence[Path | np.ndarray]
    objects: Sequence[ScanObject]
    size: tuple[int, int]
    surroundings: int
    near: int
    sizes: Sequence[int] = (32,)
    seed: int = 0
    _read: functools._lru_cache_wrapper = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._read = functools.lru_cache(_KEPT)(self._photo)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of a window with its surroundings, pixels."""
        height, width = (side + 2 * self.surroundings for side in self.size)
        return height, width

    def draw(self, step: int, count: int) -> list[np.ndarray]:
        """(H, W, 3) uint8 BGR windows with their surroundings, half of them mirrored."""
        rng = np.random.default_rng([self.seed, step])
        return [self._drawn(rng) for _ in range(count)]

    def _drawn(self, rng: np.random.Generator) -> np.ndarray:
        photo = self._read(int(rng.integers(len(self.photos))))
        top, left = (rng.integers(0, n - m + 1) for n, m in zip(photo.shape, self.shape))
        scene = photo[top : top + self.shape[0], left : left + self.shape[1]]
        if rng.random() < 0.5:
            scene = scene[:, ::-1]
        if self.objects:
            chosen = self.objects[rng.integers(len(self.objects))]
            longer = int(rng.integers(min(self.sizes), max(self.sizes) + 1))
            scene = self._pasted(scene, chosen.resized(longer), rng)
        return np.ascontiguousarray(scene)

    def _pasted(
        self, scene: np.ndarray, pixels: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """The scene with an object inside the window, near one of its sides."""
        rooms = [max(0, side - length) for side, length in zip(self.size, pixels.shape)]
        place = [int(rng.integers(0, room + 1)) for room in rooms]
        axis = int(rng.integers(2))
        inside = int(rng.integers(0, min(self.near, rooms[axis]) + 1))
        place[axis] = inside if rng.random() < 0.5 else rooms[axis] - inside
        return paste(scene, pixels, self.surroundings + place[0], self.surroundings + place[1])

    def _photo(self, number: int) -> np.ndarray:
        """A photo at the least scale at which a window and its surroundings have room in it."""
        each = self.photos[number]
        pixels = each if isinstance(each, np.ndarray) else read_image(each, what='photo')
        scale = max(need / side for need, side in zip(self.shape, pixels.shape))
        height, width = (
            max(need, round(side * scale)) for need, side in zip(self.shape, pixels.shape)
        )
        return scaled(pixels, (height, width))
