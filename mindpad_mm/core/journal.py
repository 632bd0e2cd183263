"""Results kept as they come, so that killed work goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.files import save_json, written_whole
from mindpad_mm.core.images import PathLike
from mindpad_mm.core.matching import Matches

FOLDER = '.progress'
_DIGEST_BYTES = hashlib.sha256().digest_size
# Values per position: score, IoU and box.
_COLUMNS = 6


def prepare_folder(out: PathLike, resume: bool, result: str, check: bool = True) -> Path:
    """See that long work may write to a folder, before it begins. Nothing is overwritten.

    Args:
        out: The folder; made if it is missing.
        resume: Whether work in it may be continued.
        result: Name of the file that is there once the work is finished.
        check: Whether to look at what the folder holds; of several processes, one does.

    Raises:
        UserError: ``out`` is a file or cannot be written to, or the check failed.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise UserError(f'`out` {str(out)!r} is a file: give a folder')
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'`out` {str(out)!r} cannot be written to: {error.strerror}') from error
    if not os.access(out, os.W_OK | os.X_OK):
        raise UserError(f'`out` {str(out)!r} cannot be written to: no permission')
    if check and any(out.iterdir()):
        if not resume:
            raise UserError(
                f'`out` {str(out)!r} is not empty: choose another folder, or set `resume=True` '
                f'to continue what is in it'
            )
        if not (out / FOLDER).is_dir() and not (out / result).is_file():
            raise UserError(f'`out` {str(out)!r} holds nothing to resume: choose another folder')
    return out


def check_fingerprint(found: dict[str, Any], wanted: dict[str, Any], out: Path) -> None:
    """Check that work can be resumed: its results depend on the same things.

    Args:
        found: Fingerprint of the work in the folder.
        wanted: Fingerprint of the work to do.
        out: The folder, for the error message.


    Raises:
        UserError: The fingerprints differ.
    """
    differing = {key: value for key, value in wanted.items() if found.get(key) != value}
    if differing:
        named = [
            f'{key} ({found.get(key)}, not {value})' if isinstance(value, (int, float)) else key
            for key, value in differing.items()
        ]
        hint = ' (OMP_NUM_THREADS sets the threads)' if 'threads' in differing else ''
        raise UserError(
            f'what is in {str(out)!r} differs in {", ".join(named)}: resume it with the same{hint}, '
            f'or choose another `out`'
        )


class Journal:
    """Finished chunks of a scan, each in a file of its own.

    Files are written atomically and have a checksum. A damaged file is treated as missing.

    Args:
        out: The scan's folder.
        fingerprint: Everything that the results depend on, as JSON types; saved with the chunks.

    Raises:
        UserError: The folder contains chunks with another fingerprint.
    """

    def __init__(self, out: Path, fingerprint: dict[str, Any]) -> None:
        self.folder = out / FOLDER
        state = self.folder / 'fingerprint.json'
        if state.is_file():
            found = json.loads(state.read_text(encoding='utf-8'))
            check_fingerprint(found, fingerprint, out)
        else:
            save_json(state, fingerprint)

    def read(self, name: str, count: int) -> tuple[Matches, float] | None:
        """Read a chunk.

        Args:
            name: Name of the chunk.
            count: Number of its positions.

        Returns:
            The matches, and the seconds they took. None if the file is missing, damaged, or has
            another number of positions.
        """
        path = self.folder / name
        if not path.is_file():
            return None
        data = path.read_bytes()
        digest, payload = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        if hashlib.sha256(name.encode() + payload).digest() != digest:
            return None
        values = np.frombuffer(payload, '<f4', offset=8)
        if values.size != count * _COLUMNS:
            return None
        values = values.reshape(count, _COLUMNS)
        matches = Matches(values[:, 0], values[:, 1], values[:, 2:])
        return matches, float(np.frombuffer(payload, '<f8', 1)[0])

    def write(self, name: str, matches: Matches, seconds: float) -> None:
        """Write a chunk; once this returns, not even a power failure loses it."""
        values = np.column_stack(matches).astype('<f4')
        payload = np.array(seconds, '<f8').tobytes() + values.tobytes()
        digest = hashlib.sha256(name.encode() + payload).digest()
        with written_whole(self.folder / name) as file:
            file.write_bytes(digest + payload)

    def read_value(self, name: str) -> Any | None:
        """Read a JSON value by name; None if it is missing."""
        path = self.folder / name
        return json.loads(path.read_text(encoding='utf-8')) if path.is_file() else None

    def write_value(self, name: str, value: Any) -> None:
        """Write a JSON value under a name."""
        save_json(self.folder / name, value)


def discard(out: Path) -> None:
    """Delete the journal of a complete scan."""
    if (out / FOLDER).is_dir():
        shutil.rmtree(out / FOLDER)
