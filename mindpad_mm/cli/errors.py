"""Print errors that a user can fix as one line, without a traceback."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections.abc import Iterator, Mapping

from mindpad_mm.core.errors import UserError

# `name`, or `name=value`, as the library's messages refer to parameters.
_PARAMETER = re.compile(r'`([A-Za-z_]\w*)(?:=([^`]+))?`')
_QUOTES = '"\''


@contextlib.contextmanager
def one_line_errors(
    options: argparse.ArgumentParser | Mapping[str, str] | None = None,
) -> Iterator[None]:
    """Print a :class:`UserError` as one line on stderr and exit with status 2.

    Ctrl-C also prints one line, and exits with status 130, as is usual in shells. Any other exception
    is a bug and keeps its traceback. Can also decorate a function: ``@one_line_errors()``.

    Args:
        options: The parser whose options replace the parameters named in messages, or a mapping of
            parameter names to options. Default: messages are printed as they are.
    """
    try:
        yield
    except UserError as error:
        names = option_names(options) if isinstance(options, argparse.ArgumentParser) else options
        message = name_options(str(error), names or {})
        print(f'error: {" ".join(message.split())}', file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        sys.exit(130)


def option_names(parser: argparse.ArgumentParser) -> dict[str, str]:
    """Destination of each argument -> its long option, or its name in the usage if positional."""
    names = {}
    for action in parser._actions:
        if action.option_strings:
            names[action.dest] = max(action.option_strings, key=len)
        else:
            names[action.dest] = action.metavar if isinstance(action.metavar, str) else action.dest
    return names


def name_options(message: str, names: Mapping[str, str]) -> str:
    """Replace the parameters of a message by options of the command line.

    `` `photo_root` `` becomes ``--photo-root``, `` `resume=True` `` becomes ``--resume``, and
    `` `engine='full'` `` becomes ``--engine full``.

    Args:
        message: A message of the library, with its parameters in backticks.
        names: Parameter -> option. Parameters that are not in it stay as they are.
    """

    def replace(match: re.Match[str]) -> str:
        name, value = match.groups()
        if name not in names:
            return match.group()
        if value is None or value == 'True':
            return names[name]
        return f'{names[name]} {value.strip(_QUOTES)}'

    return _PARAMETER.sub(replace, message)
