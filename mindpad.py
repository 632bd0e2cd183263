"""The console command ``mindpad``, and the start of the scripts in ``tools/``.

It is not part of the package :mod:`mindpad_mm`, whose import loads torch: commands read their arguments
first, so that ``--help`` and mistakes are answered at once. An installation that cannot be imported ends
in one line.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Any

reading_arguments = False
"""Whether a command is reading its arguments: then mindpad_mm puts off what needs torch."""

# Command -> its line in the help. Each is a module of `mindpad_mm.cli` with a `main`.
COMMANDS = {
    'scan': 'map where a detector misses an object, at every position of a scene',
    'border': "measure what image borders cost a detector, and padding's share of it",
    'diagnose': "check what a network's padding does to its features and scores",
    'adapt': "let a detector's padding learn from its own outputs on larger photos",
    'compare': 'compare detectors on one test set, with confidence intervals',
    'report': 'write the HTML page of a finished scan, or of several side by side',
    'lights': 'make a traffic-light detection set in COCO format',
    'demo': 'scan and test the shipped detectors: what a map looks like',
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command of ``mindpad``; only that command's module is imported.

    Args:
        argv: The command and its arguments. Default: those of this process.
    """
    width = max(map(len, COMMANDS))
    lines = [f'  {name:{width}}  {summary}' for name, summary in COMMANDS.items()]
    parser = argparse.ArgumentParser(
        prog='mindpad',
        usage='mindpad [-h] COMMAND ...',
        description='Padding modes for MMDetection, and maps of where a detector goes blind.',
        epilog='\n'.join(['commands:', *lines, '', '`mindpad COMMAND --help` lists its options.']),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('command', choices=COMMANDS, metavar='COMMAND', help='one of those below')
    parser.add_argument('arguments', nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    run(args.command, args.arguments, prog=f'mindpad {args.command}')


def run(command: str, *args: Any, **kwargs: Any) -> None:
    """Import a module of :mod:`mindpad_mm.cli` and call its ``main``.

    If a package is missing, or mmcv was built for another torch, one line is printed and the exit status
    is 2. Ctrl-C while packages are imported is one line, too, with status 130.

    Args:
        command: Name of the module.
        args, kwargs: Arguments of its ``main``.
    """
    global reading_arguments
    reading_arguments = True
    try:
        module = importlib.import_module(f'mindpad_mm.cli.{command}')
        module.main(*args, **kwargs)
    except ModuleNotFoundError as error:
        if (error.name or 'mindpad_mm').split('.')[0] == 'mindpad_mm':
            raise
        _fail(f'{error.name} is not installed: pip install "mindpad-mm[lite]"')
    except ValueError as error:
        # By name, since UserError cannot be imported from a package that cannot.
        if type(error).__name__ != 'UserError':
            raise
        _fail(str(error))
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        sys.exit(130)
    finally:
        reading_arguments = False


def _fail(message: str) -> None:
    print(f'error: {message}', file=sys.stderr)
    sys.exit(2)


if __name__ == '__main__':
    importlib.import_module('mindpad').main()  # under this name mindpad_mm finds it
