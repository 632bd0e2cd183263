#!/usr/bin/env python
"""Try every config folder of MMDetection, and write docs/SUPPORT.md."""

from __future__ import annotations

import argparse
import json
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from breadth.configs import chosen_config, folders
from breadth.document import document
from breadth.isolated import isolated
from breadth.probe import STEPS, run
from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.core.detector import versions
from mindpad_mm.core.files import save_json, save_text

EXAMPLE = """\
examples:
  python -m breadth                              # all folders; an interrupted run continues
  python -m breadth --only atss yolox --again    # two folders, measured anew

One config of each folder is built with random weights, on inputs of 128 x 128 pixels, in a process of
its own. Nothing is downloaded.
"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--only', nargs='+', default=folders(), choices=folders(), metavar='FOLDER',
        help='folders to try (all)')  # fmt: skip
    add('--again', action='store_true', help='also try those that are in the results')
    add('--seconds', type=float, default=300, help='time limit of a config (%(default)s)')
    add('--gigabytes', type=float, default=10, help='memory limit of a config (%(default)s)')
    add('--json', type=Path, default=Path('docs/results/support.json'), metavar='FILE',
        help='results, written after every folder (%(default)s)')  # fmt: skip
    add('--document', type=Path, default=Path('docs/SUPPORT.md'), metavar='FILE',
        help='table to write at the end (%(default)s)')  # fmt: skip
    return parser.parse_args()


@one_line_errors()
def main() -> None:
    args = parse_args()
    torch.set_num_threads(1)
    rows: dict[str, Any] = {}
    if args.json.is_file():
        rows = json.loads(args.json.read_text('utf-8'))['folders']
    for folder in args.only:
        if folder in rows and not args.again:
            continue
        rows[folder] = measured(folder, args.seconds, args.gigabytes)
        found = {name: rows[name] for name in sorted(rows)}
        save_json(args.json, {'versions': versions(), 'build': _build(), 'folders': found})
        steps = rows[folder]['steps']
        print(folder, *(f'{s}: {"yes" if "found" in steps.get(s, ()) else "no"}' for s in STEPS))
    save_text(args.document, document(json.loads(args.json.read_text('utf-8'))))
    print(f'written: {args.json}, {args.document}')


def _build() -> str:
    """Which of mmcv's two packages is installed."""
    try:
        metadata.version('mmcv-lite')
        return 'mmcv-lite'
    except metadata.PackageNotFoundError:
        return 'full'


def measured(folder: str, seconds: float, gigabytes: float) -> dict[str, Any]:
    """The config of a folder, and what each step found or why not, by step."""
    path = chosen_config(folder)
    results, ended = isolated(run, path, seconds=seconds, gigabytes=gigabytes)
    steps = {result.pop('step'): result for result in results}
    if ended is not None:
        steps[STEPS[len(steps)]] = {'failed': ended}
    return {'config': path.name, 'steps': steps}


if __name__ == '__main__':
    main()
