"""Runs a command in this process, and tells how it ended."""

from __future__ import annotations

import sys
from typing import Any

import mindpad


def ending(capsys: Any, command: str, *argv: Any) -> tuple[int, str]:
    """Run a command of ``mindpad``.

    Returns:
        The exit status, and what was printed on stderr after ``error:``; an exception that leaves the
        command leaves this function as well.
    """
    status = 0
    capsys.readouterr()
    try:
        mindpad.run(command, [str(each) for each in argv])
    except SystemExit as end:
        status = end.code
    lines = capsys.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith('error: ')]
    assert len(errors) <= 1, 'one fault is one line'
    print(*lines, sep='\n', file=sys.stderr)
    return status, errors[0] if errors else ''
