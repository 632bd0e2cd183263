"""Print errors that a user can fix as one line, without a traceback."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Iterator, Mapping

from mindpad_mm.core.errors import UserError, one_line

# `name`, or `name=value`, as the library's messages refer to parameters.
_PARAMETER = re.compile(r'`([A-Za-z_]\w*)(?:=([^`]+))?`')
_QUOTES = '"\''


@contextlib.contextmanager
def one_line_errors(
    options: argparse.ArgumentParser | Mapping[str, str] | None = None,
) -> Iterator[None]:
    """Print a :class:`UserError` as one line on stderr and exit with status 2.

    So is an ``OSError``: a full disk, a folder that is gone, a pipe whose reader has closed it. Ctrl-C
    also prints one line, which names ``--resume`` if the command has it, and exits with status 130, as
    is usual in shells. Any other exception is a bug and keeps its traceback. Can also decorate a
    function: ``@one_line_errors()``.

    Args:
        options: The parser whose options replace the parameters named in messages, or a mapping of
            parameter names to options. Default: messages are printed as they are.
    """
    if hasattr(sys.stdout, 'reconfigure'):
        # A file name need not be text, and a terminal need not know all letters.
        sys.stdout.reconfigure(errors='backslashreplace')
    try:
        yield
        sys.stdout.flush()
    except UserError as error:
        names = option_names(options) if isinstance(options, argparse.ArgumentParser) else options
        _fail(name_options(str(error), names or {}))
    except KeyboardInterrupt:
        continues = isinstance(options, argparse.ArgumentParser) and 'resume' in option_names(
            options
        )
        how = ': the same command with --resume continues' if continues else ''
        print(f'interrupted{how}', file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # Python flushes stdout once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        _fail('the output was closed by what read it')
    except OSError as error:
        place = f'{error.filename}: ' if error.filename else ''
        _fail(f'{place}{error.strerror or one_line(error)}')


def _fail(message: str) -> None:
    line = ' '.join(message.split())
    # Control characters of a name would change the terminal.
    shown = ''.join(char if char.isprintable() else repr(char)[1:-1] for char in line)
    print(f'error: {shown}', file=sys.stderr)
    sys.exit(2)


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
