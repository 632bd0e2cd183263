"""The loop of a scan over the chunks of all maps, and its progress bar."""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.logging import print_log
from mmengine.structures import InstanceData
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from torch import nn

from mindpad_mm.core.journal import Journal
from mindpad_mm.core.loading import config_faults
from mindpad_mm.core.matching import match_all, match_each
from mindpad_mm.core.processes import gathered
from mindpad_mm.core.progress import ProgressBar
from mindpad_mm.core.scenes import detect_first
from mindpad_mm.padding.mmdet import tell_hidden_padding
from mindpad_mm.scan.arrays import ScanArrays
from mindpad_mm.scan.bystanders import LEAST_SCORE, counting, watch
from mindpad_mm.scan.choice import Choice, Chooser, Kind, kind_of, summary
from mindpad_mm.scan.chunks import (
    BOXES_AT_ONCE,
    Chunk,
    ChunkResult,
    ScanMap,
    ScanTask,
    cut_into_chunks,
)
from mindpad_mm.scan.cutouts import WindowInfo
from mindpad_mm.scan.engines import Engine, find_engine
from mindpad_mm.scan.info import BackgroundInfo, ObjectInfo, ScanRun
from mindpad_mm.scan.quick import inside_stride
from mindpad_mm.scan.twins import TwinMap, add_twins, twin_maps
from mindpad_mm.scan.watch import collect_bystanders


def run_scan(
    model: nn.Module,
    task: ScanTask,
    out: Path | None = None,
    fingerprint: dict[str, Any] | None = None,
) -> tuple[ScanArrays, ScanRun] | None:
    """Run a scan.

    The result of a chunk does not depend on other chunks, so the arrays are the same bytes for every
    number of processes.

    Args:
        model: The detector, in evaluation mode.
        task: What to scan.
        out: An existing folder for the journal. A killed scan continues from the chunks in it. Default:
            no journal.
        fingerprint: Everything that the results depend on, as JSON types; saved in the journal.

    Returns:
        The arrays and details of the run; None on all processes but that of rank 0.

    Raises:
        UserError: The engine is unknown, an object is larger than a scene, the detector cannot predict,
            or the journal has another fingerprint.
    """
    engine_class = find_engine(task.engine, task.space)
    shape = (len(task.scenes), len(task.objects), len(task.sizes))
    maps = [ScanMap(index, task, task.pasted[index[1]][index[2]]) for index in np.ndindex(*shape)]
    shifted = twin_maps(maps, task)
    chunks = list(
        cut_into_chunks([*maps, *shifted], engine_class.chunk_size, task.settings.batch_size)
    )
    journal = None if out is None else Journal(out, fingerprint or {})
    clean: list[InstanceData] = []
    if get_rank() == 0:
        # All clean scenes are detected before an engine is built, because an engine may change the
        # model's memory format. A resumed scan may not build one for the first maps, but must give the
        # same bits.
        with config_faults(
            'the detector in the config cannot predict; check that the model has a test_cfg, and that '
            'scale_factor is among the meta_keys of its test pipeline'
        ):
            scenes = [*task.scenes, *(twin.scene for twin in task.twins)]
            clean = [detect_first(model, scene) for scene in scenes]
            tell_hidden_padding(model, lambda: detect_first(model, scenes[0]))

    watched = gathered(clean)[0] if task.settings.bystanders else None
    runner = _ChunkRunner(model, task, watched)
    results = {} if journal is None else _read_journal(journal, chunks, watched)
    done = set().union(*gathered(set(results)))
    todo = [number for number in range(len(chunks)) if number not in done]
    chooser = Chooser(task, runner.build)
    runner.choices = gathered(_choices(chooser, journal, [*maps, *shifted]))[0]
    share = todo[get_rank() :: get_world_size()]
    with _ScanProgress(chunks, share, done) as advance:
        for number in share:
            found = runner.run(chunks[number])
            found = found._replace(seconds=found.seconds / get_world_size())
            results[number] = found
            if journal is not None:
                if found.bystanders is not None:
                    journal.write_array(_others(chunks[number]), found.bystanders)
                journal.write(chunks[number].name, found.matches, found.seconds)
            advance(chunks[number], found.seconds)

    collected: dict[int, ChunkResult] = {}
    for of_rank in gathered(results):
        collected.update(of_rank)
    notes = [note for notes in gathered(runner.notes()) for note in notes]
    if get_rank() > 0:
        return None
    by_chunk = {chunks[n]: found for n, found in collected.items()}
    arrays = _assemble(task, maps, clean, by_chunk)
    if task.twins:
        add_twins(arrays, task, shifted, clean[len(task.scenes) :], by_chunk)
    if watched is not None:
        arrays.bystanders = collect_bystanders(arrays, clean, by_chunk)
    seconds = sum(each.seconds for each in collected.values())
    scored = sum(map(len, maps)) + sum(map(len, shifted))
    backgrounds, objects = _describe_inputs(task)
    run = ScanRun(
        backgrounds=backgrounds,
        objects=objects,
        sizes=list(task.sizes),
        inside_stride=inside_stride(task.settings.stride, task.settings.quick),
        engine=' and '.join(sorted({choice.engine for choice in runner.choices.values()})),
        engine_notes=sorted(notes, key=_by_map),
        batch_size=runner.choices[kind_of(maps[0])].batch_size,
        processes=get_world_size(),
        threads=torch.get_num_threads(),
        positions=sum(map(len, maps)),
        seconds=round(seconds, 3),
        positions_per_second=round(scored / seconds, 3),
        windows=_describe_windows(task),
    )
    return arrays, run


def _by_map(note: Mapping[str, Any]) -> tuple[Any, ...]:
    return note['background'], note['object'], note['size'], note.get('shift', [])


class _ChunkRunner:
    """Runs chunks on an engine. Each map gets a new engine.

    Attributes:
        choices: What runs each kind of map.
    """

    def __init__(
        self, model: nn.Module, task: ScanTask, watched: Sequence[InstanceData] | None
    ) -> None:
        self.choices: Mapping[Kind, Choice] = {}
        self._watched = watched
        self._model = model
        self._task = task
        self._current: tuple[ScanMap, Engine] | None = None
        self._notes: list[dict[str, Any]] = []

    def run(self, chunk: Chunk) -> ChunkResult:
        """Run a chunk. The seconds do not include the start of the engine."""
        if self._current is None or self._current[0] is not chunk.map:
            self._collect_notes()
            choice = self.choices[kind_of(chunk.map)]
            engine = self.build(find_engine(choice.engine, self._task.space), chunk.map)
            engine.batch_size = choice.batch_size
            self._current = chunk.map, engine
            engine.detect(chunk.map.positions(0, engine.batch_size))
        else:
            engine = self._current[1]
        positions = chunk.map.positions(chunk.start, chunk.stop)
        targets = chunk.map.targets(chunk.start, chunk.stop)
        begin = time.perf_counter()
        detections = engine.detect(positions)
        matches = match_each(detections, self._task.label, targets, self._task.settings.iou_thr)
        bystanders = None
        if self._watched is not None and not isinstance(chunk.map, TwinMap):
            bystanders = watch(detections, self._watched[chunk.map.index[0]], targets)
        return ChunkResult(matches, time.perf_counter() - begin, bystanders)

    def notes(self) -> list[dict[str, Any]]:
        """Notes of all engines, each with the background, object and size of its map."""
        self._collect_notes()
        return self._notes

    def build(self, engine_class: type[Engine], scan_map: ScanMap) -> Engine:
        """Make an engine for a map."""
        task = self._task
        engine = engine_class(
            self._model,
            scan_map.scene,
            scan_map.pixels,
            label=task.label,
            iou_thr=task.settings.iou_thr,
            tolerance=task.settings.tolerance,
        )
        engine.checking = task.settings.checking
        if self._watched is not None:
            engine.score_floor = LEAST_SCORE
        return engine

    def _collect_notes(self) -> None:
        """Add the current engine's notes, and let go of it."""
        if self._current is not None:
            scan_map, engine = self._current
            background, obj = scan_map.index[:2]
            longer = max(scan_map.pixels.shape[:2])
            where: dict[str, Any] = {'background': background, 'object': obj, 'size': longer}
            if isinstance(scan_map, TwinMap):
                where['shift'] = list(scan_map.shift)
            notes = {**engine.notes(), **self.choices[kind_of(scan_map)].notes()}
            if notes:
                self._notes.append({**where, **notes})
        self._current = None


def _choices(
    chooser: Chooser, journal: Journal | None, maps: Sequence[ScanMap]
) -> dict[Kind, Choice] | None:
    """What rank 0 chooses, or an earlier run chose, for each kind of map; None on other ranks."""
    if get_rank() > 0:
        return None
    known = None if journal is None or not chooser.measures else journal.read_value('engines')
    if known is not None:
        return {tuple(kind): Choice(**choice) for kind, choice in known}
    choices = chooser.choose(maps)
    if chooser.measures:
        if journal is not None:
            kept = [[kind, dataclasses.asdict(choice)] for kind, choice in choices.items()]
            journal.write_value('engines', kept)
        if any(choice.speeds for choice in choices.values()):
            print_log(summary(choices.values()), 'current')
    return choices


def _read_journal(
    journal: Journal, chunks: Sequence[Chunk], watched: Sequence[InstanceData] | None
) -> dict[int, ChunkResult]:
    found = {}
    for number, chunk in enumerate(chunks):
        count, bystanders = chunk.stop - chunk.start, None
        if watched is not None and not isinstance(chunk.map, TwinMap):
            columns = len(counting(watched[chunk.map.index[0]])[0]) + 2
            bystanders = journal.read_array(_others(chunk), (count, columns))
            if bystanders is None:
                continue
        result = journal.read(chunk.name, count)
        if result is not None:
            found[number] = ChunkResult(*result, bystanders)
    return found


def _others(chunk: Chunk) -> str:
    """Name of a chunk's bystanders in the journal."""
    return f'{chunk.name}-bystanders'


def _assemble(
    task: ScanTask,
    maps: Sequence[ScanMap],
    clean: Sequence[InstanceData],
    results: Mapping[Chunk, ChunkResult],
) -> ScanArrays:
    """Make arrays with the axes (background, object, size, row, col) from the results of chunks."""
    rows = np.unique(np.concatenate([scan_map.rows for scan_map in maps]))
    cols = np.unique(np.concatenate([scan_map.cols for scan_map in maps]))

    def place(array: np.ndarray, chunk: Chunk, values: np.ndarray) -> None:
        """Write the values (N, ...) of a chunk into an array of all maps."""
        at = chunk.map.positions(chunk.start, chunk.stop).T
        array[chunk.map.index][np.searchsorted(rows, at[0]), np.searchsorted(cols, at[1])] = values

    shape = (len(task.scenes), len(task.objects), len(task.sizes), len(rows), len(cols))
    scores, ious, clean_scores = np.full((3, *shape), np.nan, np.float32)
    detected = np.full((*shape, 4), np.nan, np.float32)
    for scan_map in maps:
        for start in range(0, len(scan_map), BOXES_AT_ONCE):
            targets = scan_map.targets(start, start + BOXES_AT_ONCE)
            best = match_all(clean[scan_map.index[0]], task.label, targets, task.settings.iou_thr)
            place(clean_scores, Chunk(scan_map, start, start + len(best)), best)
    for chunk, result in results.items():
        if isinstance(chunk.map, TwinMap):
            continue
        for array, values in zip((scores, ious, detected), result.matches):
            place(array, chunk, values)
    flags = clean_scores >= task.settings.clean_thr
    return ScanArrays(scores, ious, detected, flags, clean_scores, rows, cols)


class _ScanProgress:
    """A context with a progress bar on rank 0."""

    def __init__(self, chunks: Sequence[Chunk], share: Sequence[int], done: set[int]) -> None:
        def length(numbers: Any) -> int:
            return sum(chunks[n].stop - chunks[n].start for n in numbers)

        self._before, self._seconds = length(done), 0.0
        self._bar = ProgressBar(
            TextColumn('{task.description}'),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn('{task.fields[speed]}'),
            disable=get_rank() > 0,
        )
        # All processes have about the same share, so the progress of all is estimated from rank 0's.
        self._processes = get_world_size()
        total = self._before + length(share) * self._processes
        self._task = self._bar.add_task('scanning', total=total, completed=self._before, speed='')

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
        BackgroundInfo(scene.source, f'scene_{k}.png', *scene.size, list(scene.photo))
        for k, scene in enumerate(task.scenes)
    ]
    objects = [
        ObjectInfo(
            obj.source,
            [f'object_{k}_{max(pixels.shape[:2])}.png' for pixels in pasted],
            [list(pixels.shape[:2]) for pixels in pasted],
        )
        for k, (obj, pasted) in enumerate(zip(task.objects, task.pasted))
    ]
    return backgrounds, objects


def _describe_windows(task: ScanTask) -> list[WindowInfo]:
    return [
        WindowInfo(
            f'photo_{k}.png',
            cut.zoom,
            *cut.corner,
            [list(twin.shift) for twin in task.twins if twin.background == k],
        )
        for k, cut in enumerate(task.cuts)
    ]
