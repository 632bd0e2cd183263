"""Parts of a scan: a map for each scene, object and size, cut into chunks of positions."""

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
        scenes: Scenes to paste into.
        objects: Objects to paste.
        sizes: Lengths of the objects' longer side, pixels of the scene.
        label: Index of the objects' class.
        settings: Settings of the scan.
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
        """Objects as pasted, (h, w, 4) uint8 BGRA, by object and size."""
        return [[obj.resized(size) for size in self.sizes] for obj in self.objects]

    @property
    def space(self) -> str:
        """The space of all scenes."""
        return self.scenes[0].space


class ScanMap:
    """One object at one size over one scene.

    Args:
        index: Indices of scene, object and size.
        task: The task of the scan.
        pixels: (h, w, 4) uint8 BGRA, the object as pasted.

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
        """Indices (N,) of the map's rows and columns at positions ``start, ..., stop - 1``.

        Positions are numbered row by row. A ``stop`` beyond the last position means all of them.
        """
        return np.divmod(np.arange(start, min(stop, len(self))), len(self._cols))

    def positions(self, start: int, stop: int) -> np.ndarray:
        """(N, 2) int64 (row, col) in pixels of the scene, of the same positions."""
        rows, cols = self.cells(start, stop)
        return np.stack([self._rows[rows], self._cols[cols]], -1)

    def targets(self, start: int, stop: int) -> np.ndarray:
        """(N, 4) float64 boxes of the object there, ``x1, y1, x2, y2`` in pixels of the scene."""
        return position_boxes(self.positions(start, stop), self.pixels.shape[:2])


class Chunk(NamedTuple):
    """Positions ``start, ..., stop - 1`` of a map, which one process runs and saves together."""

    map: ScanMap
    start: int
    stop: int

    @property
    def name(self) -> str:
        """A name that is unique in the scan."""
        return '-'.join(map(str, (*self.map.index, self.start)))


def cut_into_chunks(maps: Sequence[ScanMap], length: int, batch_size: int | str) -> Iterator[Chunk]:
    """Cut all maps into chunks. The same arguments always give the same chunks.

    Args:
        maps: The maps of the scan.
        length: Positions per chunk; rounded up to whole batches.
        batch_size: Positions per batch. With ``'auto'``, ``length`` is not rounded: the batch sizes
            that may be chosen divide the usual lengths.
    """
    batch = 1 if batch_size == AUTO else int(batch_size)
    length = -(-length // batch) * batch
    for current in maps:
        for start in range(0, len(current), length):
            yield Chunk(current, start, min(start + length, len(current)))
