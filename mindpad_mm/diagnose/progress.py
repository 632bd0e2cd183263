"""How far a long check has come, told to whoever shows it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn

T = TypeVar('T')
_shown: ContextVar[Progress | None] = ContextVar('shown', default=None)


@contextlib.contextmanager
def showing(console: Console) -> Iterator[Progress]:
    """A progress bar, beneath which :func:`steps` of this thread show theirs meanwhile."""
    columns = *Progress.get_default_columns()[:3], TimeElapsedColumn()
    with Progress(*columns, console=console) as progress:
        token = _shown.set(progress)
        try:
            yield progress
        finally:
            _shown.reset(token)


def steps(items: Sequence[T], what: str) -> Iterable[T]:
    """The items one after the other, counted where progress is shown and silently elsewhere.

    Args:
        items: What is worked on.
        what: For the bar.
    """
    progress = _shown.get()
    if progress is None:
        yield from items
        return
    task = progress.add_task(f'  {what}', total=len(items))
    try:
        for item in items:
            yield item
            progress.advance(task)
    finally:
        progress.remove_task(task)
