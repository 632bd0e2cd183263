"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A file to write, which replaces ``path`` once it is written; folders are made.

    After that, neither a kill nor a power failure can lose it. Several processes may write the same file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'{path.name}.{os.getpid()}.tmp')
    yield temporary
    with open(temporary, 'rb+') as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def save_json(path: Path, content: Any) -> None:
    """Write JSON, whole or not at all; folders are made.

    Raises:
        ValueError: A number is not finite, which JSON cannot say.
    """
    with written_whole(path) as file:
        file.write_text(json.dumps(content, indent=1, allow_nan=False) + '\n', 'utf-8')
