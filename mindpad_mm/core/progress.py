"""Progress of long work on stderr: a bar on a terminal, elsewhere a line every half minute."""

from __future__ import annotations

import datetime
import time
from collections.abc import Collection, Iterator
from typing import Any, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

T = TypeVar('T')
SECONDS_BETWEEN_LINES = 30.0


class ProgressBar(Progress):
    """rich's progress display, which prints lines where it cannot draw a bar: in logs and CI.

    Args:
        columns: Columns of the bar. Default: what is done, the bar, the count and the time left.
        disable: Whether to show nothing, as on all ranks but the first.
        transient: Whether the bar disappears when it is full.
    """

    def __init__(
        self, *columns: ProgressColumn, disable: bool = False, transient: bool = False
    ) -> None:
        console = Console(stderr=True)
        default = (
            TextColumn('{task.description}'),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        drawn = console.is_terminal
        super().__init__(
            *(columns or default),
            console=console,
            disable=disable or not drawn,
            transient=transient,
        )
        self._prints_lines = not disable and not drawn
        self._line_at = time.monotonic() + SECONDS_BETWEEN_LINES
        self._started: dict[TaskID, tuple[float, float]] = {}

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """As in rich; may print a line."""
        super().update(task_id, **changes)
        self._print_line(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """As in rich; may print a line."""
        super().advance(task_id, advance)
        self._print_line(task_id)

    def track(  # type: ignore[override]  # fewer parameters
        self, sequence: Collection[T], *, description: str
    ) -> Iterator[T]:
        """Yield the items of a sequence and count them.

        rich's own counts in a thread, which does nothing while the bar is not drawn.
        """
        task = self.add_task(description, total=len(sequence))
        for item in sequence:
            yield item
            self.advance(task)

    def _print_line(self, task_id: TaskID) -> None:
        if not self._prints_lines:
            return
        now = time.monotonic()
        task = self.tasks[self.task_ids.index(task_id)]
        begun, before = self._started.setdefault(task_id, (now, task.completed))
        if now < self._line_at:
            return
        self._line_at = now + SECONDS_BETWEEN_LINES
        line = f'{task.description}: {task.completed:.0f}'
        if task.total:
            line += f' of {task.total:.0f}'
            if task.completed > before:
                seconds = (task.total - task.completed) * (now - begun) / (task.completed - before)
                line += f', {datetime.timedelta(seconds=round(seconds))} left'
        self.console.print(line, soft_wrap=True, highlight=False)


def track(items: Collection[T], what: str, transient: bool = False) -> Iterator[T]:
    """Yield the items and show the progress.

    Args:
        items: What to iterate over; must have a length.
        what: Description of the work.
        transient: Whether the bar disappears when it is full.
    """
    with ProgressBar(transient=transient) as bar:
        yield from bar.track(items, description=escape(what))
