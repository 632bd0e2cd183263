"""Writing files atomically."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mindpad_mm.core.errors import UserError


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Write a file atomically: an interrupted write leaves the previous file, or none, at ``path``.

    Missing folders are created. Several processes may write the same file; the last one wins. After
    the context ends, not even a power failure loses the file.

    Args:
        path: The file.

    Yields:
        A temporary path to write to. It replaces ``path`` when the context ends without an error, and is
        removed otherwise.

    Raises:
        UserError: The file cannot be written, for example because the disk is full.
    """
    temporary = path.with_name(f'{path.name}.{os.getpid()}.tmp')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, 'rb+') as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        _remove(temporary)
        reason = error.strerror or str(error)
        raise UserError(f'cannot write {str(path)!r}: {reason}') from error
    except BaseException:
        _remove(temporary)
        raise


def _remove(temporary: Path) -> None:
    # Where the folder itself is gone, or cannot be written to, nothing is left to remove.
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)


def save_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically, see :func:`written_whole`."""
    with written_whole(path) as file:
        file.write_bytes(content)


def save_text(path: Path, text: str) -> None:
    """Write a UTF-8 file atomically, see :func:`written_whole`.

    Parts of file names that are not text (lone surrogates) are written as character references
    (``&#56575;``), as HTML shows them.
    """
    save_bytes(path, text.encode('utf-8', 'xmlcharrefreplace'))


def save_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically, see :func:`written_whole`.

    Raises:
        UserError: The file cannot be written.
        ValueError: A number is NaN or infinite, which JSON does not allow.
    """
    with written_whole(path) as file:
        file.write_text(json.dumps(content, indent=1, allow_nan=False) + '\n', 'utf-8')
