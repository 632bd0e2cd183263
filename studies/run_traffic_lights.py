#!/usr/bin/env python
"""Train a small SSD for traffic lights in every padding mode, with several seeds, and compare them."""

from __future__ import annotations

import argparse
from pathlib import Path

from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.core.files import save_json
from studies.document import put_section
from studies.swap_matrix import RECALIBRATED, swap_matrix
from studies.traffic_light_tables import swap_markdown, traffic_lights_markdown
from studies.traffic_lights import Study, collect, run_study

ROOT = Path(__file__).resolve().parents[1]

EXAMPLE = """\
examples (from the project's folder; the set is made by `make data/traffic_lights_study/meta.json`):
  python -m studies.run_traffic_lights --photos coco/images --lights crops --jobs 2

  # tables of the trainings finished so far
  python -m studies.run_traffic_lights --photos coco/images --lights crops --no-train

  # test every training in every mode
  python -m studies.run_traffic_lights --photos coco/images --lights crops --swap

results in the work dir are reused, so the same command continues an interrupted study. Writes
OUT/traffic_lights.json (OUT/swap.json with --swap), and the tables into --document.
"""


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--photos', type=Path, required=True, help="folder of the set's photos")
    add('--lights', type=Path, required=True, help="folder of the set's crops of lights")
    add('--data', type=Path, default=Path('data/traffic_lights_study'),
        help='folder of the set (%(default)s)')  # fmt: skip
    add('--seeds', type=int, nargs='+', default=[0, 1, 2], help='seeds of the trainings (0 1 2)')
    add('--jobs', type=int, default=1, help='parallel trainings, one thread each (%(default)s)')
    add('--no-train', action='store_true', help='only evaluate the finished trainings')
    add('--swap', action='store_true', help='only test the finished trainings in every mode')
    add(
        '--recalibrate',
        type=int,
        default=RECALIBRATED,
        metavar='N',
        help='with --swap, also test with batch-norm statistics of N training images; 0: do not '
        '(%(default)s)',
    )
    add('--work-dir', type=Path, default=Path('work_dirs/study/traffic_lights'),
        help='folder of the trainings (%(default)s)')  # fmt: skip
    add('--out', type=Path, default=Path('docs/results'), help='output folder (%(default)s)')
    add('--document', type=Path, metavar='FILE', help='Markdown file to write the tables into')
    return parser


def main() -> None:
    parser = make_parser()
    with one_line_errors(parser):
        run(parser.parse_args())


def run(args: argparse.Namespace) -> None:
    study = Study(
        ROOT / 'configs' / 'study', args.work_dir, args.data, args.photos, args.lights, args.seeds
    )
    if args.swap:
        name, results = 'swap', swap_matrix(study, args.recalibrate)
        text = swap_markdown(results)
    else:
        name = 'traffic_lights'
        results = collect(study) if args.no_train else run_study(study, args.jobs)
        text = traffic_lights_markdown(results)
    save_json(args.out / f'{name}.json', results)
    if args.document:
        put_section(args.document, name, text)
    print(text)


if __name__ == '__main__':
    main()
