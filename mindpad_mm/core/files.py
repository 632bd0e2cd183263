"""Writing files atomically, reading JSON, and telling whether a file is as it was written."""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mindpad_mm.core.errors import UserError, one_line
from mindpad_mm.core.names import PathLike


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
        # A link of that name would lead the write elsewhere.
        temporary.unlink(missing_ok=True)
        yield temporary
        with open(temporary, 'rb+') as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
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


def _sync_folder(folder: Path) -> None:
    """Make the new name of a file last; not every file system can."""
    with contextlib.suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


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


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name as ``.npz``, atomically; equal arrays give equal bytes."""
    with written_whole(path) as temporary, open(temporary, 'wb') as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]


def json_types(value: Any) -> Any:
    """A value as JSON can hold it: NaN, infinities and all that JSON does not know as text."""
    if isinstance(value, dict):
        return {str(key): json_types(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_types(each) for each in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, (str, bool, int)) else str(value)


def save_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically, see :func:`written_whole`.

    Raises:
        UserError: The file cannot be written.
        ValueError: A number is NaN or infinite, which JSON does not allow.
    """
    with written_whole(path) as file:
        file.write_text(json.dumps(content, indent=1, allow_nan=False) + '\n', 'utf-8')


def read_json(path: PathLike, what: str = 'file') -> Any:
    """The content of a JSON file.

    Args:
        path: The file.
        what: Name of its role, for error messages.

    Raises:
        UserError: It cannot be read, is nested too deeply, or is not JSON in UTF-8. A byte order mark is
            refused, because pycocotools and MMDetection, which read such files too, cannot read it.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f'{what} {path}: {error.strerror or error}') from error
    if content.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UserError(
            f'{what} {path}: begins with a byte order mark, which MMDetection cannot read; save it as '
            f'UTF-8 without one'
        )
    try:
        return json.loads(content.decode('utf-8'))
    except (ValueError, RecursionError) as error:
        raise UserError(f'{what} {path}: not JSON, or truncated ({one_line(error)})') from error


def seal(path: Path) -> None:
    """Write a file's digest beside it, by which :func:`is_sealed` knows it again."""
    save_text(_seal_of(path), _digest(path))


def is_sealed(path: Path) -> bool:
    """Whether a file is there, and is as it was when it was sealed under this name."""
    try:
        return path.is_file() and _seal_of(path).read_text(encoding='utf-8') == _digest(path)
    except (OSError, ValueError):
        return False


def _seal_of(path: Path) -> Path:
    return path.with_name(f'{path.name}.sha256')


def _digest(path: Path) -> str:
    # With its name, and that of its folder: another file of the same kind is not taken for it.
    named = f'{path.parent.name}/{path.name}\n'.encode()
    return hashlib.sha256(named + path.read_bytes()).hexdigest()
