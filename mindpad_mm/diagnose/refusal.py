"""Inputs that a network refuses to run on, told in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from mindpad_mm.core.errors import UserError


class CannotRun(UserError):
    """The network does not run on inputs of this size."""


@contextlib.contextmanager
def refusals_told(name: str, size: tuple[int, int]) -> Iterator[None]:
    """What a network raises while it runs is about its input: patches, windows, or maps that must fit.

    Args:
        name: Of the network.
        size: (height, width) of the input, pixels.

    Raises:
        CannotRun: In place of whatever torch or the network raised.
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
