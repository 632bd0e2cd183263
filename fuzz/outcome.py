"""What becomes of a mutated input: a clear error, the right result, or a fault."""

from __future__ import annotations

import contextlib
import io
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mindpad_mm.core.errors import UserError

CLEAR, RIGHT, TRACEBACK, SILENT = 'clear', 'right', 'traceback', 'silent'
FAULTS = (TRACEBACK, SILENT)
_LONGEST = 300


@dataclass(frozen=True)
class Outcome:
    """What became of one input.

    Attributes:
        verdict: ``'clear'``: an error in one line; ``'right'``: accepted, and the result is that of the
            oracle; ``'traceback'``: another exception, a crash or a hang; ``'silent'``: accepted, and
            the result is another.
        detail: The error, or how the result differs.
    """

    verdict: str
    detail: str = ''


def outcome_of(use: Callable[[], Any], fault: Callable[[Any], str | None]) -> Outcome:
    """Use an input, and judge what comes of it.

    Args:
        use: Uses the input: a function of the library, or the ``main`` of a command.
        fault: The oracle: of what ``use`` returns, how it differs from what is right; None if it does
            not. An exception of it is a difference, too.
    """
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(io.StringIO()):
            result = use()
    except UserError as error:
        return _clear(str(error))
    except SystemExit as left:
        if left.code not in (None, 0):
            return _told(left.code, printed.getvalue())
        result = None
    except BaseException as error:  # everything else is a fault, whatever it is
        return Outcome(TRACEBACK, _place(error))
    try:
        wrong = fault(result)
    except BaseException as error:  # what the oracle cannot read should not have been accepted
        wrong = f'accepted, but the oracle fails: {type(error).__name__}: {error}'
    return Outcome(SILENT, wrong[:_LONGEST]) if wrong else Outcome(RIGHT)


def _clear(message: str) -> Outcome:
    if not message.strip():
        return Outcome(TRACEBACK, 'an error without a text')
    return Outcome(CLEAR, message[:_LONGEST])


def _told(status: Any, printed: str) -> Outcome:
    """A command that left: the last thing printed says why, after the usage if argparse refused."""
    _, separator, message = printed.rpartition('error: ')
    if status == 2 and separator and 'Traceback' not in printed:
        return _clear(message)
    return Outcome(TRACEBACK, f'status {status}: {printed[-_LONGEST:]}')


def _place(error: BaseException) -> str:
    """Type, text and place of an exception: the last line of ours that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if '/mindpad_mm/' in frame.filename] or frames[-1:]
    at = ours[-1]
    file = at.filename.rpartition('/mindpad_mm/')[2]
    text = ' '.join(str(error).split())[:_LONGEST]
    return f'{file}:{at.lineno} {at.name}: {type(error).__name__}: {text}'
