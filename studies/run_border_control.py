#!/usr/bin/env python
"""Train a detector with and without lights near borders, and measure the border loss of both."""

from __future__ import annotations

import argparse
from pathlib import Path

from mindpad_mm.cli.errors import one_line_errors
from studies.border_control import ControlStudy, control_markdown
from studies.document import put_section

ROOT = Path(__file__).resolve().parents[1]


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add('--photos', type=Path, required=True, help='folder of photos')
    add('--lights', type=Path, required=True, help='folder of crops of lights')
    add('--val-photos', nargs='*', default=[], help='photos that are not trained on')
    add('--data', type=Path, default=Path('data/border_control'), help='sets (%(default)s)')
    add('--work-dir', type=Path, default=Path('work_dirs/study/border_control'),
        help='folder of the trainings (%(default)s)')  # fmt: skip
    add('--minutes', type=float, default=3, help='of each measurement (%(default)s)')
    add('--jobs', type=int, default=1, help='parallel trainings, one thread each (%(default)s)')
    add('--document', type=Path, metavar='FILE', help='Markdown file to write the tables into')
    return parser


def main() -> None:
    parser = make_parser()
    with one_line_errors(parser):
        args = parser.parse_args()
        config = ROOT / 'configs' / 'study' / 'ssd128_zeros_traffic-light.py'
        study = ControlStudy(
            config,
            args.photos,
            args.lights,
            args.data,
            args.work_dir,
            args.val_photos,
            args.minutes,
        )
        text = control_markdown(study.run(args.jobs))
        if args.document:
            put_section(args.document, 'border_control', text)
        print(text)


if __name__ == '__main__':
    main()
