"""The loop of a scan: every object at every size over every scene, a chunk of positions at a time."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.structures import InstanceData
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from torch import nn

from mindpad_mm.core.journal import Journal
from mindpad_mm.core.loading import config_faults
from mindpad_mm.core.matching import Matches, match_all, match_each
from mindpad_mm.core.processes import gathered
from mindpad_mm.core.scenes import detect_images
from mindpad_mm.scan.chunks import Chunk, ScanMap, ScanTask, cut_into_chunks
from mindpad_mm.scan.engines import Engine, find_engine
from mindpad_mm.scan.engines.full import AUTO_BATCH_SIZES, fastest_batch_size
from mindpad_mm.scan.positions import common_grid
from mindpad_mm.scan.result import BackgroundInfo, ObjectInfo, ScanArrays, ScanRun
from mindpad_mm.scan.settings import AUTO

ChunkResult = tuple[Matches, float]
"""What was found at a chunk's positions, and the seconds that took."""

# Boxes compared with a clean scene's detections at once.
_BOXES_AT_ONCE = 1 << 16


def run_scan(
    model: nn.Module,
    task: ScanTask,
    out: Path | None = None,
    fingerprint: dict[str, Any] | None = None,
) -> tuple[ScanArrays, ScanRun] | None:
    """Scan. With a folder, finished chunks are kept in it, and a killed scan continues from them.

    A chunk's result does not depend on the other chunks: the arrays are the same bytes for every number
    of processes.

    Args:
        model: The detector, in evaluation mode.
        task: What to scan.
        out: An existing folder for the journal. Default: nothing is written.
        fingerprint: JSON types; all that the results depend on. Kept in the journal.

    Returns:
        The arrays and an account of the run; None on any process but rank 0.

    Raises:
        UserError: No such engine, an object larger than a scene, a detector that cannot predict, or a
            journal of another fingerprint in ``out``.
    """
    engine_class = find_engine(task.engine, task.space)
    shape = (len(task.scenes), len(task.objects), len(task.sizes))
    maps = [ScanMap(index, task, task.pasted[index[1]][index[2]]) for index in np.ndindex(*shape)]
    chunks = list(cut_into_chunks(maps, engine_class.chunk_size, task.settings.batch_size))
    journal = None if out is None else Journal(out, fingerprint or {})
    runner = _ChunkRunner(model, engine_class, task)
    clean: list[InstanceData] = []
    if get_rank() == 0:
        # All clean scenes come first: an engine may change the model's memory format, and a resumed
        # scan that needs no engine for the first maps must still see the same bits.
        with config_faults(
            'the detector in the config cannot predict; does its test pipeline end with scale_factor '
            'among the meta_keys, as Resize gives it, and has the model a test_cfg?'
        ):
            clean = [detect_images(model, scene, [scene.pixels])[0] for scene in task.scenes]

    results = {} if journal is None else _read_journal(journal, chunks)
    done = set().union(*gathered(set(results)))
    todo = [number for number in range(len(chunks)) if number not in done]
    if task.settings.batch_size == AUTO:
        runner.batch_size = gathered(_auto_batch_size(runner, journal, chunks, todo))[0]
    share = todo[get_rank() :: get_world_size()]
    with _ProgressBar(chunks, share, done) as advance:
        for number in share:
            matches, seconds = runner.run(chunks[number])
            results[number] = matches, seconds / get_world_size()
            if journal is not None:
                journal.write(chunks[number].name, *results[number])
            advance(chunks[number], results[number][1])

    collected: dict[int, ChunkResult] = {}
    for found in gathered(results):
        collected.update(found)
    notes = [note for notes in gathered(runner.notes()) for note in notes]
    if get_rank() > 0:
        return None
    arrays = _assemble(task, maps, clean, {chunks[n]: found for n, found in collected.items()})
    seconds = sum(seconds for _, seconds in collected.values())
    positions = sum(map(len, maps))
    backgrounds, objects = _describe_inputs(task)
    run = ScanRun(
        backgrounds=backgrounds,
        objects=objects,
        sizes=list(task.sizes),
        engine=engine_class.name,
        engine_notes=sorted(notes, key=lambda n: (n['background'], n['object'], n['size'])),
        batch_size=int(runner.batch_size),
        processes=get_world_size(),
        threads=torch.get_num_threads(),
        positions=positions,
        seconds=round(seconds, 3),
        positions_per_second=round(positions / seconds, 3),
    )
    return arrays, run


class _ChunkRunner:
    """Runs chunks on an engine, which is built anew for each map."""

    def __init__(self, model: nn.Module, engine_class: type[Engine], task: ScanTask) -> None:
        self.batch_size = task.settings.batch_size
        self._model = model
        self._engine_class = engine_class
        self._task = task
        self._map: ScanMap | None = None
        self._engine: Engine | None = None
        self._notes: list[dict[str, Any]] = []

    def run(self, chunk: Chunk) -> ChunkResult:
        """The matches at a chunk's positions, and the seconds they took on a warm engine."""
        if self._engine is None or chunk.map is not self._map:
            engine = self._build(chunk.map)
            engine.batch_size = int(self.batch_size)
            engine.detect(chunk.map.positions(0, engine.batch_size))
        else:
            engine = self._engine
        positions = chunk.map.positions(chunk.start, chunk.stop)
        targets = chunk.map.targets(chunk.start, chunk.stop)
        begin = time.perf_counter()
        detections = engine.detect(positions)
        matches = match_each(detections, self._task.label, targets, self._task.settings.iou_thr)
        return matches, time.perf_counter() - begin

    def measure(self, current: ScanMap) -> int:
        """The batch size at which a map runs fastest."""
        engine = self._build(current)
        measured = fastest_batch_size(engine, current.positions(0, max(AUTO_BATCH_SIZES)))
        self._map = self._engine = None  # the scan of the map starts with a fresh engine
        return measured

    def notes(self) -> list[dict[str, Any]]:
        """The engines' notes, each with its map's background, object and size."""
        self._close()
        return self._notes

    def _build(self, current: ScanMap) -> Engine:
        self._close()
        task = self._task
        self._map = current
        self._engine = self._engine_class(
            self._model,
            current.scene,
            current.pixels,
            label=task.label,
            iou_thr=task.settings.iou_thr,
            tolerance=task.settings.tolerance,
        )
        return self._engine

    def _close(self) -> None:
        if self._engine is not None and self._map is not None:
            notes = self._engine.notes()
            background, obj, size = self._map.index
            where = {'background': background, 'object': obj, 'size': self._task.sizes[size]}
            if notes:
                self._notes.append({**where, **notes})
        self._map = self._engine = None


def _auto_batch_size(
    runner: _ChunkRunner, journal: Journal | None, chunks: Sequence[Chunk], todo: Sequence[int]
) -> int | None:
    """Rank 0 measures the batch size, or takes what an earlier run measured."""
    if get_rank() > 0:
        return None
    known = None if journal is None else journal.read_value('batch_size')
    if known is not None:
        return known
    measured = runner.measure(chunks[todo[0]].map)
    if journal is not None:
        journal.write_value('batch_size', measured)
    return measured


def _read_journal(journal: Journal, chunks: Sequence[Chunk]) -> dict[int, ChunkResult]:
    found = {
        number: journal.read(chunk.name, chunk.stop - chunk.start)
        for number, chunk in enumerate(chunks)
    }
    return {number: result for number, result in found.items() if result is not None}


def _assemble(
    task: ScanTask,
    maps: Sequence[ScanMap],
    clean: Sequence[InstanceData],
    results: Mapping[Chunk, ChunkResult],
) -> ScanArrays:
    """Place the chunks' results in arrays [background, object, size, row, col]."""
    boxes = [current.pixels.shape[:2] for current in maps]
    rows, cols = common_grid([scene.size for scene in task.scenes], boxes, task.settings.stride)
    shape = (len(task.scenes), len(task.objects), len(task.sizes), len(rows), len(cols))
    scores, ious, clean_scores = np.full((3, *shape), np.nan, np.float32)
    detected = np.full((*shape, 4), np.nan, np.float32)
    for current in maps:
        for start in range(0, len(current), _BOXES_AT_ONCE):
            targets = current.targets(start, start + _BOXES_AT_ONCE)
            best = match_all(clean[current.index[0]], task.label, targets, task.settings.iou_thr)
            _place(clean_scores, Chunk(current, start, start + len(best)), best)
    for chunk, (matches, _) in results.items():
        for array, values in zip((scores, ious, detected), matches):
            _place(array, chunk, values)
    flags = clean_scores >= task.settings.clean_thr
    return ScanArrays(scores, ious, detected, flags, clean_scores, rows, cols)


def _place(array: np.ndarray, chunk: Chunk, values: np.ndarray) -> None:
    array[chunk.map.index][chunk.map.cells(chunk.start, chunk.stop)] = values


class _ProgressBar:
    """A progress bar over a process's share of the chunks, on rank 0 alone; a context."""

    def __init__(self, chunks: Sequence[Chunk], share: Sequence[int], done: set[int]) -> None:
        def length(numbers: Any) -> int:
            return sum(chunks[n].stop - chunks[n].start for n in numbers)

        self._before, self._seconds = length(done), 0.0
        self._bar = Progress(
            TextColumn('scanning'),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn('{task.fields[speed]}'),
            console=Console(stderr=True),
            disable=get_rank() > 0,
        )
        # The other processes' shares are as large: this one's progress stands for all.
        self._processes = get_world_size()
        total = self._before + length(share) * self._processes
        self._task = self._bar.add_task('', total=total, completed=self._before, speed='')

    def __enter__(self) -> Any:
        self._bar.start()
        return self._advance

    def __exit__(self, *error: Any) -> None:
        self._bar.stop()

    def _advance(self, chunk: Chunk, seconds: float) -> None:
        self._seconds += seconds * self._processes
        task = self._bar.tasks[0]
        done = task.completed + (chunk.stop - chunk.start) * self._processes
        speed = (done - self._before) / self._seconds
        left = datetime.timedelta(seconds=round(((task.total or 0) - done) / speed))
        self._bar.update(self._task, completed=done, speed=f'{speed:.1f} positions/s, {left} left')


def _describe_inputs(task: ScanTask) -> tuple[list[BackgroundInfo], list[ObjectInfo]]:
    backgrounds = [
        BackgroundInfo(scene.source, f'scene_{k}.png', *scene.size)
        for k, scene in enumerate(task.scenes)
    ]
    objects = [
        ObjectInfo(
            obj.source,
            [f'object_{k}_{size}.png' for size in task.sizes],
            [list(pixels.shape[:2]) for pixels in pasted],
        )
        for k, (obj, pasted) in enumerate(zip(task.objects, task.pasted))
    ]
    return backgrounds, objects
