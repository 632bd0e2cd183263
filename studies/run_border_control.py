#!/usr/bin/env python
"""Train detectors with and without lights near borders, in every mode, and measure their border loss."""

from __future__ import annotations

import argparse
from pathlib import Path

from mindpad_mm.cli.errors import one_line_errors
from studies.border_control import ControlStudy
from studies.border_grid import grid
from studies.border_tables import border_markdown
from studies.document import put_section

ROOT = Path(__file__).resolve().parents[1]

EXAMPLE = """\
examples (from the project's folder):
  python -m studies.run_border_control --photos coco/images --lights crops --minutes 60

  # the tables of what is measured so far
  python -m studies.run_border_control --no-train --document docs/RESULTS.md

  # some of the trainings only
  python -m studies.run_border_control --photos coco/images --lights crops --only centre24_zeros

the same command continues an interrupted study: trainings that are in --out are not repeated, and their
checkpoints are not needed.
"""


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--photos', type=Path, help='folder of photos')
    add('--lights', type=Path, help='folder of crops of lights')
    add('--val-photos', nargs='*', default=[], help='photos that are not trained on')
    add('--data', type=Path, default=Path('data/border_control'), help='sets (%(default)s)')
    add('--work-dir', type=Path, default=Path('work_dirs/study/border_control'),
        help='folder of the trainings (%(default)s)')  # fmt: skip
    add('--only', nargs='+', default=[''], metavar='TEXT',
        help='only trainings whose name starts with one of these (all)')  # fmt: skip
    add('--minutes', type=float, default=float('inf'), help='start no training after this time')
    add('--no-train', action='store_true', help='only write the tables')
    add('--out', type=Path, default=Path('docs/results/border_control.json'),
        help='results (%(default)s)')  # fmt: skip
    add('--document', type=Path, metavar='FILE', help='Markdown file to write the tables into')
    return parser


def main() -> None:
    parser = make_parser()
    with one_line_errors(parser):
        args = parser.parse_args()
        if not args.no_train and (args.photos is None or args.lights is None):
            parser.error('--photos and --lights are needed to train')
        study = ControlStudy(
            ROOT / 'configs' / 'study' / 'ssd128_border-study.py',
            args.photos,
            args.lights,
            args.data,
            args.work_dir,
            args.val_photos,
            args.out,
        )
        chosen = [cell for cell in grid() if cell.key.startswith(tuple(args.only))]
        results = study.results() if args.no_train else study.run(chosen, args.minutes)
        text = border_markdown(results)
        if args.document:
            put_section(args.document, 'border_control', text)
        print(text)


if __name__ == '__main__':
    main()
