"""The command line: one module per command, which parses arguments and calls the library."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence

# Command of ``mindpad`` -> its line in the help. Each is a module of this package with a `main`.
COMMANDS = {
    'scan': 'map where a detector misses an object, at every position of a scene',
    'border': "measure what image borders cost a detector, and padding's share of it",
    'diagnose': "check what a network's padding does to its features and scores",
    'compare': 'compare detectors on one test set, with confidence intervals',
    'report': 'write the HTML page of a finished scan, or of several side by side',
    'lights': 'make a traffic-light detection set in COCO format',
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
    module = importlib.import_module(f'{__name__}.{args.command}')
    module.main(args.arguments, prog=f'mindpad {args.command}')
