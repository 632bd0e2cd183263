"""What comes back from the chunks of a scan: onto the disk, into the arrays, onto the progress bar."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import numpy as np
from mmengine.structures import InstanceData
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from mindpad_mm.core.matching import Matches, match_all
from mindpad_mm.scan.journal import Journal
from mindpad_mm.scan.plan import Chunk, ScanMap, ScanTask
from mindpad_mm.scan.positions import common_grid
from mindpad_mm.scan.result import ScanResult

# What was found at a chunk's positions, and the seconds it took.
Values = tuple[Matches, float]

# Boxes compared with a clean scene's detections at once.
_BOXES_AT_ONCE = 1 << 16


class Keeper:
    """Keeps the results of chunks as they come.

    Args:
        journal: Where they are safe from a kill.
        task: The scan's.
        maps: The scan's.
        clean: Final detections in each clean scene.
        processes: How many work at the same time.

    Attributes:
        result: The arrays; complete once every chunk is kept.
        seconds: What the kept chunks took, divided among the processes that worked side by side.
        bar: The progress bar, a context.
    """

    def __init__(
        self,
        journal: Journal,
        task: ScanTask,
        maps: Sequence[ScanMap],
        clean: Sequence[InstanceData],
        processes: int,
    ) -> None:
        self.journal = journal
        self.processes = processes
        boxes = [current.pixels.shape[:2] for current in maps]
        rows, cols = common_grid([scene.size for scene in task.scenes], boxes, task.stride)
        shape = (len(task.scenes), len(task.objects), len(task.sizes), len(rows), len(cols))
        scores, ious, found = np.full((3, *shape), np.nan, np.float32)
        detected = np.full((*shape, 4), np.nan, np.float32)
        for current in maps:
            for start in range(0, len(current), _BOXES_AT_ONCE):
                targets = current.targets(start, start + _BOXES_AT_ONCE)
                best = match_all(clean[current.index[0]], task.label, targets, task.iou_thr)
                _place(found, Chunk(current, start, start + len(best)), best)
        self.result = ScanResult(scores, ious, detected, found >= task.clean_thr, found, rows, cols)
        self.seconds = 0.0
        self._seconds_before = 0.0
        self._done_before = 0
        self.bar = Progress(
            TextColumn('scanning'),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn('{task.fields[speed]}'),
            console=Console(stderr=True),
        )
        self._bar_task = self.bar.add_task('', total=sum(map(len, maps)), speed='')

    def recall(self, chunks: Sequence[Chunk]) -> list[int]:
        """Take what the journal holds; returns the numbers of the chunks that it does not hold."""
        missing = []
        for number, chunk in enumerate(chunks):
            values = self.journal.read(chunk.name, chunk.stop - chunk.start)
            if values is None:
                missing.append(number)
            else:
                self._take(chunk, values)
                self._done_before += chunk.stop - chunk.start
        self._seconds_before = self.seconds
        self.bar.update(self._bar_task, completed=self._done_before)
        return missing

    def keep(self, chunk: Chunk, values: Values) -> None:
        """Keep a chunk that one of the processes has done."""
        matches, seconds = values
        values = matches, seconds / self.processes
        self.journal.write(chunk.name, *values)
        self._take(chunk, values)
        task = self.bar.tasks[0]
        done = task.completed + len(matches.scores)
        # What an earlier run did may have been done by more processes, or fewer.
        speed = (done - self._done_before) / (self.seconds - self._seconds_before)
        left = datetime.timedelta(seconds=round((task.total - done) / speed))
        self.bar.update(
            self._bar_task, completed=done, speed=f'{speed:.1f} positions/s, {left} left'
        )

    def _take(self, chunk: Chunk, values: Values) -> None:
        matches, seconds = values
        for name, found in matches._asdict().items():
            _place(getattr(self.result, name), chunk, found)
        self.seconds += seconds


def _place(array: np.ndarray, chunk: Chunk, values: np.ndarray) -> None:
    array[chunk.map.index][chunk.map.cells(chunk.start, chunk.stop)] = values
