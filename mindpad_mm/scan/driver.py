"""The scan itself: every object at every size over every scene, a chunk of positions at a time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mindpad_mm.core.images import write_png
from mindpad_mm.core.loading import config_faults
from mindpad_mm.core.matching import match_each
from mindpad_mm.scan.engines import Engine, find_engine
from mindpad_mm.scan.engines.full import AUTO_BATCH_SIZES, detect_images, fastest_batch_size
from mindpad_mm.scan.journal import Journal
from mindpad_mm.scan.keeper import Keeper, Values
from mindpad_mm.scan.plan import AUTO, Chunk, ScanMap, ScanTask, cut_into_chunks
from mindpad_mm.scan.result import ScanResult
from mindpad_mm.scan.team import Team


def run_scan(
    model: nn.Module,
    task: ScanTask,
    out: Path,
    fingerprint: dict[str, Any],
    team: Team | None = None,
) -> ScanResult | None:
    """Scan, keeping results in ``out`` as they come and going on from those already there.

    Writes ``scene_<k>.png`` and ``object_<k>_<size>.png``, the inputs as pasted. Nobody but the
    team's leader reads or writes in ``out``. Chunks do not depend on who did the others: the arrays
    are the same bytes for every number of processes.

    Args:
        model: The detector, in evaluation mode.
        task: What to scan.
        out: An existing folder.
        fingerprint: JSON-able; all that the results depend on.
        team: The processes that share the scan; default this one alone.

    Returns:
        The arrays, or None on any process but the leader; ``info`` holds ``backgrounds``,
        ``objects``, ``sizes``, ``engine``, ``engine_notes`` (one a map and process), ``batch_size``,
        ``processes``, ``threads`` (of each), ``positions``, ``seconds`` (at work side by side) and
        ``positions_per_second`` (of all processes together, once warm).

    Raises:
        UserError: No such engine, an object larger than a scene, a detector that cannot predict, or
            results of another fingerprint in ``out``.
    """
    team = team or Team()
    engine_class = find_engine(task.engine, task.space)
    pasted = [[obj.resized(size) for size in task.sizes] for obj in task.objects]
    shape = (len(task.scenes), len(task.objects), len(task.sizes))
    maps = [ScanMap(index, task, pasted[index[1]][index[2]]) for index in np.ndindex(*shape)]
    chunks = list(cut_into_chunks(maps, engine_class.chunk_size, task.batch_size))
    runner = _Runner(model, engine_class, task)

    def run(number: int) -> Values:
        return runner.run(chunks[number])

    if team.rank > 0:
        runner.batch_size = team.exchange(None)[0]
        team.work(run)
        team.exchange(runner.notes())
        return None

    journal = Journal(out, fingerprint)
    inputs = _save_inputs(task, pasted, out)
    # All clean scenes come first: an engine may change the model's memory format, and a resumed
    # scan that needs no engine for the first maps must still see the same bits.
    with config_faults(
        'the detector in the config cannot predict; does its test pipeline end with scale_factor '
        'among the meta_keys, as Resize gives it, and has the model a test_cfg?'
    ):
        clean = [detect_images(model, scene, [scene.pixels])[0] for scene in task.scenes]
    keeper = Keeper(journal, task, maps, clean, team.size)
    todo = keeper.recall(chunks)
    if task.batch_size == AUTO:
        runner.batch_size = journal.read_value('batch_size')
        if runner.batch_size is None:
            runner.batch_size = runner.measure(chunks[todo[0]].map)
            journal.write_value('batch_size', runner.batch_size)
    team.exchange(runner.batch_size)
    with keeper.bar:
        team.work(run, todo, lambda number, values: keeper.keep(chunks[number], values))
    notes = [note for notes in team.exchange(runner.notes()) for note in notes]
    positions = sum(map(len, maps))
    keeper.result.info = {
        **inputs,
        'engine': engine_class.name,
        'engine_notes': sorted(notes, key=_by_map),
        'batch_size': runner.batch_size,
        'processes': team.size,
        'threads': torch.get_num_threads(),
        'positions': positions,
        'seconds': round(keeper.seconds, 3),
        'positions_per_second': round(positions / keeper.seconds, 3),
    }
    return keeper.result


class _Runner:
    """Runs chunks on an engine, which is built anew where the map is another than before."""

    def __init__(self, model: nn.Module, engine_class: type[Engine], task: ScanTask) -> None:
        self.batch_size = task.batch_size
        self._model = model
        self._engine_class = engine_class
        self._task = task
        self._map: ScanMap | None = None
        self._engine: Engine | None = None
        self._notes: list[dict[str, Any]] = []

    def run(self, chunk: Chunk) -> Values:
        """What a chunk gives, the engine warm."""
        if chunk.map is not self._map:
            self._build(chunk.map)
            self._engine.batch_size = self.batch_size
            self._engine.detect(chunk.map.positions(0, self.batch_size))
        positions = chunk.map.positions(chunk.start, chunk.stop)
        targets = chunk.map.targets(chunk.start, chunk.stop)
        begin = time.perf_counter()
        detections = self._engine.detect(positions)
        matches = match_each(detections, self._task.label, targets, self._task.iou_thr)
        return matches, time.perf_counter() - begin

    def measure(self, current: ScanMap) -> int:
        """The batch size at which a map runs fastest."""
        self._build(current)
        measured = fastest_batch_size(self._engine, current.positions(0, max(AUTO_BATCH_SIZES)))
        self._map = None  # an engine begins its map with nothing seen before
        return measured

    def notes(self) -> list[dict[str, Any]]:
        """What the engines have to say, each with its map's background, object and size."""
        self._dismiss()
        return self._notes

    def _build(self, current: ScanMap) -> None:
        self._dismiss()
        self._map, task = current, self._task
        self._engine = self._engine_class(
            self._model,
            current.scene,
            current.pixels,
            label=task.label,
            iou_thr=task.iou_thr,
            tolerance=task.tolerance,
        )

    def _dismiss(self) -> None:
        notes = self._engine.notes() if self._map is not None else None
        if notes:
            background, obj, size = self._map.index
            where = {'background': background, 'object': obj, 'size': self._task.sizes[size]}
            self._notes.append({**where, **notes})
        self._map = self._engine = None


def _by_map(note: dict[str, Any]) -> tuple[int, int, int]:
    return note['background'], note['object'], note['size']


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
