"""The error for input that a user can fix, and errors of others in one line."""

from __future__ import annotations


class UserError(ValueError):
    """Bad input. The message is one line: what is wrong, the value, and how to fix it.

    Messages name parameters of the Python function in backticks, e.g. ``'`photo_root`: ...'``; the
    command line replaces them by its options (:mod:`mindpad_mm.cli.errors`).
    """


def one_line(error: BaseException) -> str:
    """Type and text of an error without line breaks, e.g. ``'ValueError: unknown mode'``."""
    text = ' '.join(str(error).split())
    return f'{type(error).__name__}: {text}' if text else type(error).__name__
