"""Write results into a marked section of a Markdown file."""

from __future__ import annotations

import re
from pathlib import Path

from mindpad_mm.core.errors import UserError


def put_section(path: Path, name: str, text: str) -> None:
    """Replace the text between ``<!-- name -->`` and ``<!-- /name -->`` in a file.

    Args:
        path: A Markdown file.
        name: Name of the section.
        text: The new text.

    Raises:
        UserError: The file or its markers are missing.
    """
    start, end = f'<!-- {name} -->', f'<!-- /{name} -->'
    try:
        old = path.read_text('utf-8')
    except OSError as error:
        raise UserError(f'{path} cannot be read: {error.strerror}') from error
    parts = re.split(f'({re.escape(start)}|{re.escape(end)})', old)
    if [part for part in parts if part in (start, end)] != [start, end]:
        raise UserError(f'{path} must hold the lines {start} and {end} once, in this order')
    parts[2] = f'\n{text.strip()}\n'
    path.write_text(''.join(parts), 'utf-8')
