#!/usr/bin/env python
"""Give mutated inputs to the project, and count what becomes of them."""

from __future__ import annotations

import argparse
import itertools
import logging
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import MMLogger

from fuzz.kinds.base import Kind
from fuzz.kinds.registry import KINDS
from fuzz.outcome import CLEAR, FAULTS, RIGHT, SILENT, TRACEBACK, Outcome
from fuzz.pool import outcomes
from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.core.detector import versions
from mindpad_mm.core.files import save_json
from mindpad_mm.core.tables import Table

EXAMPLE = """\
examples:
  python -m fuzz                                   # ten minutes of everything
  python -m fuzz --kinds images --minutes 1        # one kind
  python -m fuzz --kinds images --case 63          # one case again, with its traceback's place

A case is decided by its kind, the seed and its number alone. An input ends in one of four ways: a clear
error in one line, accepted with the right result (that of the intact input, of Pillow, pycocotools or
MMDetection), a traceback (also a crash or a hang), or a wrong result in silence. The exit status is 1
after a traceback or a wrong result.
"""
Case = tuple[str, int]
"""Name of the kind, and the case's number."""


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--minutes', type=float, default=10, help='time for all kinds together (%(default)s)')
    add(
        '--rounds',
        type=int,
        help='end after so many rounds (only the time ends it)',
    )
    add('--kinds', nargs='+', default=list(KINDS), choices=list(KINDS), metavar='KIND',
        help=f'{", ".join(KINDS)} (all)')  # fmt: skip
    add('--seed', type=int, default=0, help='seed of the mutations (%(default)s)')
    add('--case', type=int, help='only the case of this number')
    add('--jobs', type=int, default=1, help='worker processes (%(default)s)')
    add('--seconds', type=float, default=60, help='time limit of a case (%(default)s)')
    add('--gigabytes', type=float, default=4, help='memory limit of a worker (%(default)s)')
    add('--json', type=Path, default=Path('outputs/fuzz.json'), metavar='FILE',
        help='counts and faults (%(default)s)')  # fmt: skip
    return parser.parse_args(argv)


@one_line_errors()
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    torch.set_num_threads(1)
    MMLogger.get_current_instance().setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        kinds = {name: _made(name, Path(folder)) for name in args.kinds}

        def judge(case: Case) -> tuple[str, Outcome]:
            name, number = case
            return kinds[name].run(random.Random(f'{args.seed} {name} {number}'))

        counts: dict[str, Counter[str]] = {name: Counter() for name in kinds}
        faults = []
        deadline = time.monotonic() + 60 * args.minutes
        cases = cases_until(deadline, kinds, args.rounds)
        if args.case is not None:
            cases = ((name, args.case) for name in kinds)
        for (name, number), (mutation, outcome) in outcomes(
            cases, judge, args.jobs, args.seconds, args.gigabytes
        ):
            counts[name][outcome.verdict] += 1
            if outcome.verdict in FAULTS:
                print(
                    f'{name} {number}: {outcome.verdict}: {mutation}: {outcome.detail}', flush=True
                )
                faults.append({
                    'kind': name, 'case': number, 'seed': args.seed, 'mutation': mutation,
                    'verdict': outcome.verdict, 'detail': outcome.detail,
                })  # fmt: skip
            elif args.case is not None:
                print(f'{name} {number}: {outcome.verdict}: {mutation}: {outcome.detail}')
    found = {
        'versions': versions(),
        'seed': args.seed,
        'counts': {name: dict(count) for name, count in counts.items()},
        'faults': faults,
    }
    save_json(args.json, found)
    print(table_of(counts))
    if faults:
        sys.exit(1)


def _made(name: str, folder: Path) -> Kind:
    own = folder / name
    own.mkdir()
    return KINDS[name](own)


def cases_until(
    deadline: float, kinds: Mapping[str, Kind], rounds: int | None = None
) -> Iterator[Case]:
    """Cases of all kinds in turn, by their weights, until a time of ``time.monotonic``.

    Args:
        deadline: The time.
        kinds: Kinds by name.
        rounds: Most turns of each kind. Default: as many as there is time for.
    """
    for turn in itertools.count() if rounds is None else range(rounds):
        for name, kind in kinds.items():
            for number in range(turn * kind.weight, (turn + 1) * kind.weight):
                if time.monotonic() > deadline:
                    return
                yield name, number


def table_of(counts: Mapping[str, Mapping[str, int]]) -> Table:
    """One row a kind, and their sum."""
    verdicts = (CLEAR, RIGHT, TRACEBACK, SILENT)
    rows: list[list[str]] = []
    total: Counter[str] = Counter()
    for name, count in counts.items():
        total.update(count)
        rows.append(_row(KINDS[name].title, count, verdicts))
    rows.append(_row('together', total, verdicts))
    columns = ('inputs', 'tried', 'clear error', 'accepted and right', 'traceback', 'silent')
    return Table(columns, rows)


def _row(title: str, count: Mapping[str, int], verdicts: Sequence[Any]) -> list[str]:
    return [title, *(str(n) for n in (sum(count.values()), *(count.get(v, 0) for v in verdicts)))]


if __name__ == '__main__':
    main()
