#!/usr/bin/env python
"""Train 48 small classifiers of letters: four padding modes, two sizes, with and without batch norm."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.core.files import save_json
from studies.document import put_section
from studies.letters import run_letters
from studies.letters_data import emnist_letters, font_letters
from studies.letters_tables import draw_shifts, letters_markdown

EXAMPLE = """\
examples:
  # letters rendered from the fonts of this computer
  python -m studies.run_letters --jobs 2

  # EMNIST, downloaded by torchvision
  python -m studies.run_letters --emnist data/emnist --work-dir work_dirs/study/emnist

models in the work dir are not trained again, so the same command continues an interrupted study. Writes
OUT/letters.json and OUT/letters_shift.png, and the tables into --document.
"""


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--emnist', type=Path, metavar='DIR', help="root of torchvision's EMNIST")
    add(
        '--fonts',
        type=Path,
        nargs='+',
        default=[],
        metavar='DIR',
        help='folders of fonts (default: those of the system and of matplotlib)',
    )
    add('--seeds', type=int, nargs='+', default=[0, 1, 2], help='seeds of the trainings (0 1 2)')
    add('--jobs', type=int, default=1, help='parallel trainings, one thread each (%(default)s)')
    add('--work-dir', type=Path, default=Path('work_dirs/study/letters'),
        help='folder of the models (%(default)s)')  # fmt: skip
    add('--out', type=Path, default=Path('docs/results'), help='output folder (%(default)s)')
    add('--document', type=Path, metavar='FILE', help='Markdown file to write the tables into')
    return parser


def main() -> None:
    parser = make_parser()
    with one_line_errors(parser):
        run(parser.parse_args())


def run(args: argparse.Namespace) -> None:
    emnist = args.emnist
    letters = emnist_letters(emnist) if emnist else font_letters(args.fonts, args.work_dir)
    results = run_letters(letters, args.work_dir / 'models', args.seeds, args.jobs)
    save_json(args.out / 'letters.json', results)
    draw_shifts(results['models'], args.out / 'letters_shift.png')
    text = letters_markdown(results)
    if args.document:
        picture = os.path.relpath(args.out / 'letters_shift.png', args.document.parent)
        put_section(args.document, 'letters', f'{text}\n![Error of shifted letters]({picture})')
    print(text)


if __name__ == '__main__':
    main()
