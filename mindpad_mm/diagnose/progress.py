"""Progress of long checks: shown where a progress bar is active, silent elsewhere."""

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
    """Show a progress bar; :func:`steps` in this context add theirs below it."""
    columns = *Progress.get_default_columns()[:3], TimeElapsedColumn()
    with Progress(*columns, console=console) as progress:
        token = _shown.set(progress)
        try:
            yield progress
        finally:
            _shown.reset(token)


def steps(items: Sequence[T], what: str) -> Iterable[T]:
    """Yield the items, with a progress bar if :func:`showing` is active.

    Args:
        items: Items to iterate over.
        what: Label of the bar.
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
