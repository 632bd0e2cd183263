"""What a scan consists of: one map for each scene, object and size, cut into chunks of positions."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mindpad_mm.core.objects import ScanObject
from mindpad_mm.core.scenes import Scene
from mindpad_mm.scan.positions import axis_positions, position_boxes
from mindpad_mm.scan.settings import AUTO, ScanSettings


@dataclass(frozen=True)
class ScanTask:
    """What to scan.

    Attributes:
        scenes: Pasted into, B of them.
        objects: Pasted, O of them.
        sizes: Longer sides of the objects in pixels of the scene, S of them.
        label: Index of the class asked for.
        settings: How to scan.
        engine: Name of the engine.
    """

    scenes: Sequence[Scene]
    objects: Sequence[ScanObject]
    sizes: Sequence[int]
    label: int
    settings: ScanSettings
    engine: str

    @functools.cached_property
    def pasted(self) -> list[list[np.ndarray]]:
        """(h, w, 4) uint8 BGRA, by object and size: the objects as they are pasted."""
        return [[obj.resized(size) for size in self.sizes] for obj in self.objects]

    @property
    def space(self) -> str:
        """The scenes' space."""
        return self.scenes[0].space


class ScanMap:
    """One object at one size over one scene.

    Args:
        index: Of scene, object and size.
        task: The scan's.
        pixels: (h, w, 4) the object as it is pasted.

    Raises:
        UserError: The object is larger than the scene.
    """

    def __init__(self, index: tuple[int, int, int], task: ScanTask, pixels: np.ndarray) -> None:
        self.index = index
        self.scene = task.scenes[index[0]]
        self.pixels = pixels
        self._rows, self._cols = (
            axis_positions(*extents, task.settings.stride)
            for extents in zip(self.scene.size, pixels.shape[:2])
        )

    def __len__(self) -> int:
        return len(self._rows) * len(self._cols)

    def cells(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Row and column in the map of the positions ``start, ..., stop - 1``, row by row."""
        return np.divmod(np.arange(start, min(stop, len(self))), len(self._cols))

    def positions(self, start: int, stop: int) -> np.ndarray:
        """(N, 2) int64, their (row, col) in the scene."""
        rows, cols = self.cells(start, stop)
        return np.stack([self._rows[rows], self._cols[cols]], -1)

    def targets(self, start: int, stop: int) -> np.ndarray:
        """(N, 4) float64, the boxes there, ``x1, y1, x2, y2``."""
        return position_boxes(self.positions(start, stop), self.pixels.shape[:2])


class Chunk(NamedTuple):
    """Positions ``start, ..., stop - 1`` of a map: done, kept and shared as one."""

    map: ScanMap
    start: int
    stop: int

    @property
    def name(self) -> str:
        """No other chunk of the scan has it."""
        return '-'.join(map(str, (*self.map.index, self.start)))


def cut_into_chunks(maps: Sequence[ScanMap], length: int, batch_size: int | str) -> Iterator[Chunk]:
    """All positions of all maps; where chunks begin never varies.

    Args:
        maps: The scan's.
        length: Positions a chunk, rounded up to whole batches.
        batch_size: The scan's; all that ``'auto'`` chooses from divide the usual lengths.
    """
    batch = 1 if batch_size == AUTO else int(batch_size)
    length = -(-length // batch) * batch
    for current in maps:
        for start in range(0, len(current), length):
            yield Chunk(current, start, min(start + length, len(current)))
