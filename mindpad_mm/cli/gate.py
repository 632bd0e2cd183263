"""``--fail-if``: a command that fails where a measured value crosses a limit, for a user's CI."""

from __future__ import annotations

import argparse
import difflib
import operator
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.files import save_bytes

EXIT_STATUS = 3
_COMPARISONS = {'>': operator.gt, '>=': operator.ge, '<': operator.lt, '<=': operator.le}
_CONDITION = re.compile(r'\s*([^\s<>]+?)(\.low|\.high)?\s*(>=|<=|>|<)\s*([^\s<>=]+)\s*')

Measured = tuple[float | None, Sequence[float] | None]
"""A value and its 95 % interval; None where undefined."""


@dataclass(frozen=True)
class Condition:
    """A condition to fail on, such as ``padding_loss@16 > 0.05``.

    Attributes:
        text: The condition as it was given.
        name: Name of the measured value, with its place: ``'padding_loss@16'``.
        end: ``'.low'`` or ``'.high'``, the end of its interval; ``''`` is the value itself.
        comparison: ``'>'``, ``'>='``, ``'<'`` or ``'<='``.
        limit: The number to compare with.
    """

    text: str
    name: str
    end: str
    comparison: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read a condition.

        Raises:
            ArgumentTypeError: It is not ``NAME > NUMBER`` or the like.
        """
        found = _CONDITION.fullmatch(text)
        try:
            limit = float(found.group(4)) if found else None
        except ValueError:
            limit = None
        if found is None or limit is None or limit != limit:
            # Other errors lose their message in argparse.
            raise argparse.ArgumentTypeError(f'{text!r} is no condition such as "mean@32 < 0.5"')
        return cls(text, found.group(1), found.group(2) or '', found.group(3), limit)

    def value(self, measured: Mapping[str, Measured]) -> float:
        """The value that is compared.

        Raises:
            UserError: It was not measured, or has no interval.
        """
        if self.name not in measured:
            close = difflib.get_close_matches(self.name, measured, n=3) or list(measured)[:12]
            raise UserError(
                f'`fail_if`: no {self.name!r} was measured; there is {", ".join(close)}'
            )
        value, interval = measured[self.name]
        if self.end and interval is None:
            raise UserError(f'`fail_if`: {self.name} has no interval, measure more photos')
        if self.end and interval is not None:
            value = interval[0] if self.end == '.low' else interval[1]
        if value is None:
            raise UserError(
                f'`fail_if`: {self.name} is undefined, nothing to measure it on was found'
            )
        return value


def add_gate(parser: argparse.ArgumentParser, example: str) -> None:
    """Add ``--fail-if`` and ``--junit``.

    Args:
        parser: The command's.
        example: A condition, for the help.
    """
    group = parser.add_argument_group('for continuous integration')
    group.add_argument(
        '--fail-if',
        action='append',
        default=[],
        type=Condition.parse,
        metavar='CONDITION',
        help=f'exit with status {EXIT_STATUS} if it holds, e.g. "{example}"; NAME.low and NAME.high '
        'are the ends of the 95 %% interval; can be repeated',
    )
    group.add_argument(
        '--junit', type=Path, metavar='FILE', help='write the conditions as JUnit XML'
    )


def check_gate(args: argparse.Namespace, measured: Mapping[str, Measured], suite: str) -> None:
    """Print the conditions that hold, write the JUnit file, and exit if one holds.

    Args:
        args: Parsed arguments of :func:`add_gate`.
        measured: The values by name.
        suite: Name of the test suite in the JUnit file.

    Raises:
        UserError: A condition's value was not measured.
        SystemExit: A condition holds; the status is 3.
    """
    values = [(condition, condition.value(measured)) for condition in args.fail_if]
    failed = [
        (condition, value)
        for condition, value in values
        if _COMPARISONS[condition.comparison](value, condition.limit)
    ]
    if args.junit is not None:
        save_bytes(args.junit, _junit(values, failed, suite))
    for condition, value in failed:
        print(f'failed: {condition.text} ({value:.4g})', file=sys.stderr)
    if failed:
        sys.exit(EXIT_STATUS)


def _junit(
    values: Sequence[tuple[Condition, float]],
    failed: Sequence[tuple[Condition, float]],
    suite: str,
) -> bytes:
    counts = {'tests': str(len(values)), 'failures': str(len(failed))}
    root = ElementTree.Element('testsuite', {'name': suite, **counts})
    for condition, value in values:
        case = ElementTree.SubElement(
            root, 'testcase', name=f'not {condition.text}', classname=suite
        )
        if (condition, value) in failed:
            message = f'{condition.text}: measured {value:.6g}'
            ElementTree.SubElement(case, 'failure', message=message)
    return ElementTree.tostring(root, encoding='utf-8', xml_declaration=True)
