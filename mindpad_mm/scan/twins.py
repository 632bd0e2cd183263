"""Twins: the same places of a photo, scored with the border near and with the border far.

Each position of a window is scored a second time in a window of the same photo that is shifted away from
the nearest sides, so that the place is at least ``far`` pixels from every side. The surroundings are the
same, so the difference is free of the scene: *loss* = open score - score.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from mmengine.structures import InstanceData

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.matching import match_all
from mindpad_mm.core.scenes import Background, Scene
from mindpad_mm.scan.arrays import ScanArrays
from mindpad_mm.scan.chunks import BOXES_AT_ONCE, Chunk, ChunkResult, ScanMap, ScanTask
from mindpad_mm.scan.cutouts import Cut, Size, TwinScene


class TwinMap(ScanMap):
    """The positions of a map that are scored in one shifted window.

    Attributes:
        index: Indices of scene, object and size, and of the twin in the task.
        shift: Pixels that the window is moved by, (rows, columns). A position of the map is this much
            less in the shifted window.
        rows, cols: In pixels of the shifted window.
    """

    def __init__(
        self, whole: ScanMap, number: int, twin: TwinScene, lines: Sequence[np.ndarray]
    ) -> None:
        self.index = (*whole.index, number)
        self.scene = twin.scene
        self.pixels = whole.pixels
        self.shift = twin.shift
        self.rows, self.cols = (each - by for each, by in zip(lines, twin.shift))


def with_twins(
    task: ScanTask, cuts: Sequence[Cut], make_scene: Callable[[Background, str], Scene]
) -> ScanTask:
    """The task with all shifted windows that its positions need.

    Args:
        task: The task; its scenes are the windows ``cuts``.
        cuts: The windows.
        make_scene: From a background and a space to a scene.

    Raises:
        UserError: No position has room for a shifted window.
    """
    task = dataclasses.replace(task, cuts=cuts)
    wanted: dict[tuple[int, Size], None] = {}
    for index in np.ndindex(len(task.scenes), len(task.objects), len(task.sizes)):
        whole = ScanMap(index, task, task.pasted[index[1]][index[2]])
        wanted |= {(index[0], shift): None for shift, _ in _groups(whole, task)}
    if not wanted:
        far, (height, width) = task.settings.far, cuts[0].size
        raise UserError(
            f'no position has room for a shifted window: in {height} x {width} pixels no object can be '
            f'{far} from every side; use a smaller `far` or smaller `sizes`'
        )
    twins = [
        TwinScene(
            background, shift, make_scene(cuts[background].window(shift), task.settings.space)
        )
        for background, shift in sorted(wanted)
    ]
    return dataclasses.replace(task, twins=twins)


def twin_maps(maps: Sequence[ScanMap], task: ScanTask) -> list[TwinMap]:
    """All maps in shifted windows; none without twins."""
    if not task.twins:
        return []
    numbers = {(twin.background, twin.shift): number for number, twin in enumerate(task.twins)}
    found = []
    for whole in maps:
        for shift, lines in _groups(whole, task):
            number = numbers[whole.index[0], shift]
            found.append(TwinMap(whole, number, task.twins[number], lines))
    return found


def add_twins(
    arrays: ScanArrays,
    task: ScanTask,
    maps: Sequence[TwinMap],
    clean: Sequence[InstanceData],
    results: Mapping[Chunk, ChunkResult],
) -> None:
    """Add what the shifted windows gave to a scan's arrays.

    Args:
        arrays: The arrays; the scores of the scenes are in them.
        task: The task.
        maps: All maps in shifted windows.
        clean: Detections in each of the task's shifted windows without the object.
        results: The matches of every chunk.
    """
    shape = arrays.scores.shape
    scores = np.full(shape, np.nan, np.float32)
    flags = np.zeros(shape, bool)
    shifts = np.zeros((*shape, 2), np.int32)

    def at(chunk: Chunk) -> tuple[np.ndarray, np.ndarray]:
        assert isinstance(chunk.map, TwinMap)
        rows, cols = (chunk.map.positions(chunk.start, chunk.stop) + chunk.map.shift).T
        return np.searchsorted(arrays.rows, rows), np.searchsorted(arrays.cols, cols)

    for twin in maps:
        *index, number = twin.index
        for start in range(0, len(twin), BOXES_AT_ONCE):
            targets = twin.targets(start, start + BOXES_AT_ONCE)
            best = match_all(clean[number], task.label, targets, task.settings.iou_thr)
            chunk = Chunk(twin, start, start + len(best))
            flags[tuple(index)][at(chunk)] = best >= task.settings.clean_thr
            shifts[tuple(index)][at(chunk)] = twin.shift
    for chunk, result in results.items():
        if isinstance(chunk.map, TwinMap):
            scores[chunk.map.index[:3]][at(chunk)] = result.matches.scores
    arrays.open_scores, arrays.open_flags, arrays.open_shifts = scores, flags, shifts


def _groups(whole: ScanMap, task: ScanTask) -> Iterator[tuple[Size, tuple[np.ndarray, np.ndarray]]]:
    """The shifts that a map's positions need, each with its rows and columns."""
    cut, far = task.cuts[whole.index[0]], task.settings.far
    by_axis = []
    for axis, lines in enumerate((whole.rows, whole.cols)):
        room = {by: cut.has_room(axis, by) for by in (-far, far)}
        shifts, possible = axis_shifts(lines, cut.size[axis] - whole.pixels.shape[axis], far, room)
        by_axis.append(
            {int(s): lines[possible & (shifts == s)] for s in np.unique(shifts[possible])}
        )
    for down, rows in by_axis[0].items():
        for right, cols in by_axis[1].items():
            if (down, right) != (0, 0):
                yield (down, right), (rows, cols)


def axis_shifts(
    lines: np.ndarray, span: int, far: int, room: dict[int, bool]
) -> tuple[np.ndarray, np.ndarray]:
    """How to shift a window along one axis, so that positions are far from both of its sides.

    Outward, away from the nearer side, if that makes both sides far; else not at all; else inward.

    Args:
        lines: (N,) positions along the axis, pixels of the window.
        span: Length of the window minus that of the object, pixels.
        far: Least distance from a side, and length of a shift, pixels.
        room: Whether the photo has room for the shifts ``-far`` and ``far``.

    Returns:
        (N,) shifts in pixels, and (N,) whether there is one.
    """
    outward = np.where(2 * lines <= span, -far, far)
    shifts, possible = np.zeros(len(lines), np.int64), np.zeros(len(lines), bool)
    for candidate in (outward, np.zeros_like(outward), -outward):
        low, high = lines - candidate, span - lines + candidate
        fits = np.array([by == 0 or room[by] for by in candidate.tolist()], bool)
        chosen = ~possible & fits & (low >= far) & (high >= far)
        shifts[chosen], possible[chosen] = candidate[chosen], True
    return shifts, possible
