"""The error for input that a user can fix."""

from __future__ import annotations


class UserError(ValueError):
    """Bad input. The message is one line: what is wrong, the value, and how to fix it.

    Messages name parameters of the Python function in backticks, e.g. ``'`photo_root`: ...'``; the
    command line replaces them by its options (:mod:`mindpad_mm.cli.errors`).
    """
