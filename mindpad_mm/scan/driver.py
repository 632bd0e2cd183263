"""The scan itself: every object at every size over every scene, a chunk of positions at a time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, Sequence

import numpy as np
from mmengine.structures import InstanceData
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from mindpad_mm.scan.engines import Engine, find_engine
from mindpad_mm.scan.engines.full import detect_images, fastest_batch_size
from mindpad_mm.scan.images import write_png
from mindpad_mm.scan.journal import Journal
from mindpad_mm.scan.matching import match_all, match_each
from mindpad_mm.scan.objects import ScanObject
from mindpad_mm.scan.positions import common_grid, position_boxes, scene_positions
from mindpad_mm.scan.result import ScanResult
from mindpad_mm.scan.scenes import Scene

AUTO = 'auto'


@dataclass(frozen=True)
class ScanTask:
    """What to scan and how.

    Attributes:
        scenes: Pasted into, B of them.
        objects: Pasted, O of them.
        sizes: Longer sides of the objects in scene pixels, S of them.
        label: Index of the asked class.
        stride: Pixels between positions, default 4.
        iou_thr: A detection counts where its IoU with the pasted box is at least this.
        clean_thr: A position is flagged where the clean scene has such a detection of this
            confidence or more.
        engine: Name of an engine, or ``'auto'``.
        batch_size: Positions a forward pass. ``'auto'`` measures, so that runs may differ in the
            scores' last bits; a number gives the same bytes every time.
    """

    scenes: Sequence[Scene]
    objects: Sequence[ScanObject]
    sizes: Sequence[int]
    label: int
    stride: int = 4
    iou_thr: float = 0.5
    clean_thr: float = 0.001
    engine: str = AUTO
    batch_size: int | str = 8

    @property
    def space(self) -> str:
        """The scenes' space."""
        return self.scenes[0].space


def run_scan(
    model: nn.Module, task: ScanTask, out: Path, fingerprint: dict[str, Any]
) -> ScanResult:
    """Scan, keeping results in ``out`` as they come and going on from those already there.

    Writes ``scene_<k>.png`` and ``object_<k>_<size>.png``, the inputs as pasted.

    Args:
        model: The detector, in evaluation mode.
        task: What to scan.
        out: An existing folder.
        fingerprint: JSON-able; all that the results depend on.

    Returns:
        The arrays; ``info`` holds ``backgrounds``, ``objects``, ``sizes``, ``engine``,
        ``engine_notes``, ``batch_size``, ``positions``, ``seconds`` and
        ``positions_per_second`` (once warm).

    Raises:
        UserError: No such engine, an object larger than a scene, or results of another
            fingerprint in ``out``.
    """
    engine_class = find_engine(task.engine, task.space)
    pasted = [[obj.resized(size) for size in task.sizes] for obj in task.objects]
    boxes = [[pixels.shape[:2] for pixels in row] for row in pasted]
    all_boxes = [box for row in boxes for box in row]
    rows, cols = common_grid([scene.size for scene in task.scenes], all_boxes, task.stride)
    journal = Journal(out, fingerprint)
    info = _save_inputs(task, pasted, out)

    shape = (len(task.scenes), len(task.objects), len(task.sizes), len(rows), len(cols))
    result = ScanResult(
        scores=np.full(shape, np.nan, np.float32),
        ious=np.full(shape, np.nan, np.float32),
        flags=np.zeros(shape, bool),
        clean=np.full(shape, np.nan, np.float32),
        rows=rows,
        cols=cols,
        info=info,
    )
    # All clean scenes come first: an engine may change the model's memory format, and a resumed
    # scan that needs no engine for the first maps must still see the same bits.
    clean = [detect_images(model, scene, [scene.pixels])[0] for scene in task.scenes]
    maps = [_Map(index, task, pasted, boxes) for index in np.ndindex(*shape[:3])]
    total = sum(len(m.positions) for m in maps)
    seconds, notes = 0.0, []
    with _progress_bar() as progress:
        bar = progress.add_task('scanning', total=total, speed='')
        for current in maps:
            current.place(result.clean, match_all(clean[current.index[0]], *current.match_args()))
            runner = _MapRunner(model, engine_class, current, journal)
            for start, scores, ious, took in runner.chunks():
                current.place(result.scores, scores, start)
                current.place(result.ious, ious, start)
                seconds += took
                done = progress.tasks[0].completed + len(scores)
                progress.update(bar, completed=done, speed=f'{done / seconds:.1f} positions/s')
            if runner.engine is not None:
                notes.append(runner.engine.notes())
    result.flags = result.clean >= task.clean_thr
    info.update(
        engine=engine_class.name,
        engine_notes=[note for note in notes if note],
        batch_size=runner.batch_size(),
        positions=total,
        seconds=round(seconds, 3),
        positions_per_second=round(total / seconds, 3),
    )
    return result


class _Map:
    """One object at one size over one scene: its positions, and their place in the arrays."""

    def __init__(
        self,
        index: tuple[int, int, int],
        task: ScanTask,
        pasted: list[list[np.ndarray]],
        boxes: list[list[tuple[int, int]]],
    ) -> None:
        self.index = index
        self.task = task
        self.scene = task.scenes[index[0]]
        self.pixels = pasted[index[1]][index[2]]
        self.positions = scene_positions(self.scene.size, boxes[index[1]][index[2]], task.stride)
        self.targets = position_boxes(self.positions, boxes[index[1]][index[2]])

    def match_args(self, part: slice = slice(None)) -> tuple[int, np.ndarray, float]:
        """Label, target boxes and IoU threshold for the matching functions."""
        return self.task.label, self.targets[part], self.task.iou_thr

    def match(self, detections: list[InstanceData], part: slice) -> tuple[np.ndarray, np.ndarray]:
        """Scores and ious of the positions in ``part``."""
        return match_each(detections, *self.match_args(part))

    def place(self, array: np.ndarray, values: np.ndarray, start: int = 0) -> None:
        """Write the values of positions ``start, start + 1, ...`` to where they belong."""
        grid = self.positions[start : start + len(values)] // self.task.stride
        array[self.index][grid[:, 0], grid[:, 1]] = values


class _MapRunner:
    """Runs the chunks of one map that the journal does not hold."""

    def __init__(
        self, model: nn.Module, engine_class: type, current: _Map, journal: Journal
    ) -> None:
        self.model = model
        self.engine_class = engine_class
        self.map = current
        self.journal = journal
        self.engine: Engine | None = None

    def batch_size(self) -> int:
        """The number asked for, or the one that was measured when the scan began."""
        asked = self.map.task.batch_size
        return self.journal.read_value('batch_size') if asked == AUTO else int(asked)

    def chunks(self) -> Iterator[tuple[int, np.ndarray, np.ndarray, float]]:
        """(start, scores, ious, seconds) of each chunk; where they begin never varies."""
        positions = self.map.positions
        step = self._chunk_size()
        for start in range(0, len(positions), step):
            part = slice(start, min(start + step, len(positions)))
            name = '-'.join(map(str, (*self.map.index, start)))
            kept = self.journal.read(name, part.stop - start)
            if kept is None:
                if self.engine is None:
                    self.engine = self._warm_engine()
                begin = time.perf_counter()
                scores, ious = self.map.match(self.engine.detect(positions[part]), part)
                kept = scores, ious, time.perf_counter() - begin
                self.journal.write(name, *kept)
            yield (start, *kept)

    def _chunk_size(self) -> int:
        """The engine's, rounded up to whole batches. All that auto chooses from divide it."""
        asked = self.map.task.batch_size
        batch = 1 if asked == AUTO else int(asked)
        return -(-self.engine_class.chunk_size // batch) * batch

    def _warm_engine(self) -> Engine:
        task = self.map.task
        engine = self.engine_class(
            self.model, self.map.scene, self.map.pixels, label=task.label, iou_thr=task.iou_thr
        )
        if task.batch_size == AUTO and self.batch_size() is None:
            measured = fastest_batch_size(engine, self.map.positions)
            self.journal.write_value('batch_size', measured)
        engine.batch_size = self.batch_size()
        engine.detect(self.map.positions[: engine.batch_size])
        return engine


def _save_inputs(task: ScanTask, pasted: list[list[np.ndarray]], out: Path) -> dict[str, Any]:
    backgrounds, objects = [], []
    for k, scene in enumerate(task.scenes):
        file = f'scene_{k}.png'
        write_png(out / file, scene.pixels)
        height, width = scene.size
        backgrounds.append({'source': scene.source, 'file': file, 'height': height, 'width': width})
    for k, (obj, at_sizes) in enumerate(zip(task.objects, pasted)):
        files = [f'object_{k}_{size}.png' for size in task.sizes]
        for file, pixels in zip(files, at_sizes):
            write_png(out / file, pixels)
        boxes = [list(pixels.shape[:2]) for pixels in at_sizes]
        objects.append({'source': obj.source, 'files': files, 'boxes': boxes})
    return {'backgrounds': backgrounds, 'objects': objects, 'sizes': list(task.sizes)}


def _progress_bar() -> Progress:
    return Progress(
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn('{task.fields[speed]}'),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
