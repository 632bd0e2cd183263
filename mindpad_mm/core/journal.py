"""Results kept as they come, so that killed work goes on where it stopped."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.files import read_json, save_bytes, save_json
from mindpad_mm.core.matching import Matches
from mindpad_mm.core.names import PathLike

FOLDER = '.progress'
_FINGERPRINT = 'fingerprint.json'
# Of files in an output folder, with some to spare.
_LONGEST_NAME = 100
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
    if os.path.exists(out) and not out.is_dir():
        raise UserError(f'`out` {str(out)!r} is a file: give a folder')
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'`out` {str(out)!r} cannot be written to: {error.strerror}') from error
    if not os.access(out, os.W_OK | os.X_OK):
        raise UserError(f'`out` {str(out)!r} cannot be written to: no permission')
    if len(os.fsencode(out.resolve())) + _LONGEST_NAME > os.pathconf(out, 'PC_PATH_MAX'):
        raise UserError(f'`out` {str(out)!r} is too long for files in it: choose a shorter name')
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

    Files are written atomically and have a checksum, which also covers the fingerprint. A file that is
    damaged, of other work or a symbolic link is treated as missing.

    Args:
        out: The scan's folder.
        fingerprint: Everything that the results depend on, as JSON types; saved with the chunks.

    Raises:
        UserError: The folder contains chunks with another fingerprint, or cannot be written to.
    """

    def __init__(self, out: Path, fingerprint: dict[str, Any]) -> None:
        self.folder = out / FOLDER
        if self.folder.is_symlink() or (self.folder.exists() and not self.folder.is_dir()):
            raise UserError(f'{str(self.folder)!r} is no folder of this tool: remove it')
        text = json.dumps(fingerprint, sort_keys=True)
        self._key = hashlib.sha256(text.encode()).digest()
        found = self._known_fingerprint()
        if found is None:
            # Chunks of other work, if there are any, do not fit the digest.
            save_json(self.folder / _FINGERPRINT, fingerprint)
        else:
            check_fingerprint(found, json.loads(text), out)

    def _known_fingerprint(self) -> dict[str, Any] | None:
        """The fingerprint in the folder; None if it is missing or damaged."""
        state = self.folder / _FINGERPRINT
        if state.is_symlink() or not state.is_file():
            return None
        try:
            found = read_json(state)
        except UserError:
            return None
        return found if isinstance(found, dict) else None

    def read(self, name: str, count: int) -> tuple[Matches, float] | None:
        """Read a chunk.

        Args:
            name: Name of the chunk.
            count: Number of its positions.

        Returns:
            The matches, and the seconds they took. None if the file is missing, damaged, or has
            another number of positions.
        """
        payload = self._read(name)
        if payload is None or len(payload) != 8 + 4 * count * _COLUMNS:
            return None
        values = np.frombuffer(payload, '<f4', offset=8).reshape(count, _COLUMNS)
        matches = Matches(values[:, 0], values[:, 1], values[:, 2:])
        return matches, float(np.frombuffer(payload, '<f8', 1)[0])

    def write(self, name: str, matches: Matches, seconds: float) -> None:
        """Write a chunk; once this returns, not even a power failure loses it."""
        values = np.column_stack(matches).astype('<f4')
        self._write(name, np.array(seconds, '<f8').tobytes() + values.tobytes())

    def read_array(self, name: str, shape: tuple[int, ...]) -> np.ndarray | None:
        """Read a float32 array of this shape; None if it is missing, damaged or of another size."""
        payload = self._read(name)
        if payload is None or len(payload) != 4 * int(np.prod(shape)):
            return None
        return np.frombuffer(payload, '<f4').reshape(shape)

    def write_array(self, name: str, values: np.ndarray) -> None:
        """Write an array as float32, as safely as :meth:`write`."""
        self._write(name, values.astype('<f4').tobytes())

    def read_value(self, name: str) -> Any | None:
        """Read a JSON value by name; None if it is missing or damaged."""
        payload = self._read(name)
        return None if payload is None else json.loads(payload)

    def write_value(self, name: str, value: Any) -> None:
        """Write a JSON value under a name."""
        self._write(name, json.dumps(value).encode())

    def _read(self, name: str) -> bytes | None:
        path = self.folder / name
        if path.is_symlink() or not path.is_file():
            return None
        data = path.read_bytes()
        digest, payload = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        return payload if self._digest(name, payload) == digest else None

    def _write(self, name: str, payload: bytes) -> None:
        save_bytes(self.folder / name, self._digest(name, payload) + payload)

    def _digest(self, name: str, payload: bytes) -> bytes:
        return hashlib.sha256(self._key + name.encode() + b'\n' + payload).digest()


@contextlib.contextmanager
def alone_in(out: Path | None) -> Iterator[None]:
    """Keep other processes from working in a folder as well, until the context ends.

    A journal that has no result by then is deleted. The system releases the lock of a process that was
    killed.

    Args:
        out: An existing folder; None: nothing is locked.

    Raises:
        UserError: Another process works in it.
    """
    if out is None:
        yield
        return
    folder = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(folder)
        raise UserError(
            f'`out` {str(out)!r} is in use by another run: wait for it, or choose another folder'
        ) from error
    except OSError as error:  # some network file systems have no locks
        print_log(
            f'{str(out)!r} cannot be locked ({error.strerror}): start no second run in it',
            'current',
            logging.WARNING,
        )
    try:
        yield
    finally:
        _discard_unbegun(out)
        with contextlib.suppress(OSError):
            os.close(folder)


def _discard_unbegun(out: Path) -> None:
    """Delete a journal without results, so that the folder is free once a mistake is mended."""
    folder = out / FOLDER
    if not folder.is_symlink() and folder.is_dir() and os.listdir(folder) == [_FINGERPRINT]:
        discard(out)


def discard(out: Path) -> None:
    """Delete the journal of complete work. A link in its place is left alone."""
    folder = out / FOLDER
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)  # the result is complete without
