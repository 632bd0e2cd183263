"""A one-line error when a network cannot run on an input of some size."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from mindpad_mm.core.errors import UserError


class CannotRun(UserError):
    """The network cannot run on inputs of this size."""


@contextlib.contextmanager
def cannot_run_errors(name: str, size: tuple[int, int]) -> Iterator[None]:
    """Turn errors of torch or the network into :class:`CannotRun`.

    Errors while a network runs are assumed to concern the input size (windows, patches or maps that
    do not fit).

    Args:
        name: Name of the network.
        size: (height, width) of the input, pixels.

    Raises:
        CannotRun: In place of the original error.
    """
    try:
        yield
    except UserError:
        raise
    except (AssertionError, RuntimeError, ValueError, ZeroDivisionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CannotRun(
            f'{name} cannot run on an input of {size[0]} x {size[1]} pixels (h x w): {reason}'
        ) from error
