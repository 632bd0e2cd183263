#!/usr/bin/env python
"""Measure what swaps, padded inputs and overlapping tiles do to a finished detector near borders."""

from __future__ import annotations

import argparse
from pathlib import Path

from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.core.detector import DetectorFiles
from mindpad_mm.core.errors import UserError
from studies.document import put_section
from studies.real_detectors import HOW, WIDTHS, Case, collect, real_markdown
from studies.traffic_lights import MODES


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add('--name', help='name of the case in the results; without, only the tables are written')
    add('--config', help='config of the detector')
    add('--checkpoint', help='its checkpoint')
    add('--photos', type=Path, help='folder of photos')
    add(
        '--lights',
        type=Path,
        help='folder of crops of traffic lights to paste (none: found objects)',
    )
    add('--count', type=int, default=24, help='use this many of the crops (%(default)s)')
    add('--size', nargs='+', type=int, default=[32], metavar='PX',
        help='longer sides of the pasted lights (32)')  # fmt: skip
    add('--minutes', type=float, default=18,
        help='of all measurements: half for the swaps, half for padded inputs (%(default)s)')  # fmt: skip
    add('--padding', nargs='*', default=MODES[1:], metavar='MODE', help='swaps to try (all modes)')
    add('--input-padding', nargs='*', default=HOW, metavar='HOW', help='inputs to try (all)')
    add('--widths', nargs='+', type=int, default=WIDTHS, metavar='PX',
        help='widths of the padded inputs (16 32 64)')  # fmt: skip
    add('--work-dir', type=Path, default=Path('work_dirs/study/real_detectors'),
        help='folder of the measurements (%(default)s)')  # fmt: skip
    add('--out', type=Path, default=Path('docs/results/real_detectors.json'),
        help='results (%(default)s)')  # fmt: skip
    add('--document', type=Path, metavar='FILE', help='Markdown file to write the tables into')
    return parser


def main() -> None:
    parser = make_parser()
    with one_line_errors(parser):
        args = parser.parse_args()
        cases = []
        if args.name:
            if not (args.config and args.checkpoint and args.photos):
                raise UserError('a case needs --config, --checkpoint and --photos')
            crops = sorted(args.lights.rglob('*.jpg')) if args.lights else []
            crops = crops[:: max(1, len(crops) // args.count)]
            files = DetectorFiles(args.config, args.checkpoint)
            cases = [
                Case(
                    args.name,
                    files,
                    args.photos,
                    crops,
                    args.minutes,
                    args.padding,
                    args.widths,
                    args.input_padding,
                    args.size,
                )
            ]
        text = real_markdown(collect(cases, args.work_dir, args.out))
        if args.document:
            put_section(args.document, 'real_detectors', text)
        print(text)


if __name__ == '__main__':
    main()
