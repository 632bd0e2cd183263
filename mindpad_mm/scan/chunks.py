"""Parts of a scan: a map for each scene, object and size, cut into chunks of positions."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mindpad_mm.core.matching import Matches
from mindpad_mm.core.objects import ScanObject
from mindpad_mm.core.scenes import Scene
from mindpad_mm.scan.cutouts import Cut, TwinScene
from mindpad_mm.scan.positions import photo_grid, position_boxes
from mindpad_mm.scan.quick import thinned
from mindpad_mm.settings.scan import AUTO, ScanSettings

# Boxes matched with the detections in a clean scene at once.
BOXES_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class ScanTask:
    """What to scan.

    Attributes:
        scenes: Scenes to paste into.
        objects: Objects to paste.
        sizes: Lengths of the objects' longer side, pixels of the scene; None: their natural size.
        label: Index of the objects' class.
        settings: Settings of the scan.
        engine: Name of the engine, or ``'auto'``, see :mod:`mindpad_mm.scan.choice`.
        cuts: Where the scenes were cut out of photos; empty without windows.
        twins: The shifted windows.
    """

    scenes: Sequence[Scene]
    objects: Sequence[ScanObject]
    sizes: Sequence[int | None]
    label: int
    settings: ScanSettings
    engine: str
    cuts: Sequence[Cut] = ()
    twins: Sequence[TwinScene] = ()

    @functools.cached_property
    def pasted(self) -> list[list[np.ndarray]]:
        """Objects as pasted, (h, w, 4) uint8 BGRA, by object and size."""
        return [[obj.resized(size) for size in self.sizes] for obj in self.objects]

    @property
    def space(self) -> str:
        """The space of all scenes."""
        return self.scenes[0].space


def check_sizes(task: ScanTask) -> None:
    """Check that all objects fit all photos, before any is resized.

    Raises:
        UserError: An object is larger than the photo in a scene.
    """
    for scene, obj, size in itertools.product(task.scenes, task.objects, task.sizes):
        photo_grid(scene.photo, obj.size_at(size), task.settings.stride)


class ScanMap:
    """One object at one size over one scene.

    Attributes:
        index: Indices of scene, object and size.
        scene, pixels: What is pasted into, and the object as pasted.
        rows, cols: (R,) and (C,) int64, pixel rows and columns of the object's top-left pixel.

    Args:
        index: Indices of scene, object and size.
        task: The task of the scan.
        pixels: (h, w, 4) uint8 BGRA, the object as pasted.

    Raises:
        UserError: The object is larger than the photo in the scene.
    """

    index: tuple[int, ...]

    def __init__(self, index: tuple[int, int, int], task: ScanTask, pixels: np.ndarray) -> None:
        self.index = index
        self.scene = task.scenes[index[0]]
        self.pixels = pixels
        height, width = pixels.shape[:2]
        lines = photo_grid(self.scene.photo, (height, width), task.settings.stride)
        self.rows, self.cols = (thinned(each, task.settings.quick) for each in lines)

    def __len__(self) -> int:
        return len(self.rows) * len(self.cols)

    def positions(self, start: int, stop: int) -> np.ndarray:
        """(N, 2) int64 (row, col) of positions ``start, ..., stop - 1``, in pixels of the scene.

        Positions are numbered row by row. A ``stop`` beyond the last position means all of them.
        """
        rows, cols = np.divmod(np.arange(start, min(stop, len(self))), len(self.cols))
        return np.stack([self.rows[rows], self.cols[cols]], -1)

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


class ChunkResult(NamedTuple):
    """The matches at the positions of a chunk, and the seconds they took.

    ``bystanders`` is what :func:`mindpad_mm.scan.bystanders.watch` gives; None if they are not watched.
    """

    matches: Matches
    seconds: float
    bystanders: np.ndarray | None = None


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
