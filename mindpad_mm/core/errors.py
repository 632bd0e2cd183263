"""Errors a user can mend, and how the tools show them: one line, no traceback."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable


class UserError(ValueError):
    """Bad input. The message is one line: what is wrong, the value, what to do about it."""


def one_line_errors(main: Callable[[], None]) -> Callable[[], None]:
    """Make a tool's ``main`` print a :class:`UserError` as one line on stderr and exit with 2.

    Ctrl-C is one line, too, and 130, as shells have it: what long work has finished is kept by then.
    Anything else keeps its traceback: it is a fault of ours, and hiding it would help nobody.
    """

    @functools.wraps(main)
    def run() -> None:
        try:
            main()
        except UserError as error:
            message = ' '.join(str(error).split())
            print(f'error: {message}', file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt:
            print('interrupted', file=sys.stderr)
            sys.exit(130)

    return run
