"""Digests of files that detections depend on."""

from __future__ import annotations

import hashlib
import os
import os.path as osp
from collections.abc import Iterable
from pathlib import Path

from mindpad_mm.core.errors import UserError


def file_digest(path: str) -> str:
    """SHA-256 of a checkpoint file; if it is a URL, of the URL.

    Raises:
        UserError: The file does not exist.
    """
    if path.startswith(('http:', 'https:')):
        return hashlib.sha256(path.encode()).hexdigest()
    if not osp.isfile(path):
        raise UserError(f'checkpoint {path} does not exist')
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def state_digest(paths: Iterable[str], what: str) -> str:
    """Digest of names, sizes and modification times of files.

    The content is not read, which would take as long as detecting.

    Args:
        paths: The files.
        what: Name of the set of files, for the error message.

    Raises:
        UserError: A file does not exist.
    """
    digest = hashlib.sha256()
    for path in paths:
        if not osp.isfile(path):
            raise UserError(f'the {what} is incomplete: {path} does not exist')
        status = os.stat(path)
        digest.update(f'{path} {status.st_size} {status.st_mtime_ns}\n'.encode())
    return digest.hexdigest()
