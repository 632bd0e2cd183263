"""File names as a page may show them: pages are passed on, the reader's disk is not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

# An absolute path inside a text: after its beginning, a space, a quote or a bracket.
_INSIDE = re.compile(
    r"""(?:(?<=^)|(?<=[\s'"(\[=:,]))(?:~?/(?!/)|[A-Za-z]:[\\/])[^\s'"()\[\],;:]+"""
)


def shown_path(path: str) -> str:
    """A path without the folders of this machine.

    Args:
        path: A path. Relative ones are returned as they are.

    Returns:
        Absolute paths: relative to the working directory if they lie in it, else their last part.
    """
    if path.startswith('~'):
        return Path(path).name
    if PureWindowsPath(path).drive:
        return PureWindowsPath(path).name
    if not path.startswith('/'):
        return path
    here = Path.cwd()
    found = Path(path)
    if here != Path(here.anchor) and found.is_relative_to(here) and found != here:
        return found.relative_to(here).as_posix()
    return found.name or path


def without_folders(value: Any) -> Any:
    """A value with :func:`shown_path` for all absolute paths in its texts, also in lists and mappings."""
    if isinstance(value, Path):
        return shown_path(str(value))
    if isinstance(value, str):
        # A whole path may contain spaces and commas; one inside a sentence ends there.
        if value.startswith(('/', '~')) and Path(value).expanduser().exists():
            return shown_path(value)
        return _INSIDE.sub(lambda found: shown_path(found.group()), value)
    if isinstance(value, Mapping):
        return {name: without_folders(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_folders(each) for each in value]
    return value
