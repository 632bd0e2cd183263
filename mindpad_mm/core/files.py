"""Writing files atomically."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Write a file atomically: an interrupted write leaves the previous file, or none, at ``path``.

    Missing folders are created. Several processes may write the same file; the last one wins. After
    the context ends, not even a power failure loses the file.

    Args:
        path: The file.

    Yields:
        A temporary path to write to. It replaces ``path`` when the context ends without an error.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'{path.name}.{os.getpid()}.tmp')
    yield temporary
    with open(temporary, 'rb+') as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def save_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically, see :func:`written_whole`.

    Raises:
        ValueError: A number is NaN or infinite, which JSON does not allow.
    """
    with written_whole(path) as file:
        file.write_text(json.dumps(content, indent=1, allow_nan=False) + '\n', 'utf-8')
