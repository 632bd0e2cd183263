#!/usr/bin/env python
"""Train a small SSD for traffic lights in every padding mode, several seeds each, and compare them."""

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

  # tables of what is trained so far
  python -m studies.run_traffic_lights --photos coco/images --lights crops --no-train

  # every training tested in every mode
  python -m studies.run_traffic_lights --photos coco/images --lights crops --swap

trainings and evaluations that are in the work dir are not done again: an interrupted study goes on.
Writes OUT/traffic_lights.json (OUT/swap.json with --swap), and the tables into --document.
"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--photos', type=Path, required=True, help='folder of the photos of the set')
    add('--lights', type=Path, required=True, help='folder of the crops of lights of the set')
    add(
        '--data', type=Path, default=Path('data/traffic_lights_study'), help='the set (%(default)s)'
    )
    add('--seeds', type=int, nargs='+', default=[0, 1, 2], help='of the trainings (0 1 2)')
    add('--jobs', type=int, default=1, help='trainings at once, one thread each (%(default)s)')
    add('--no-train', action='store_true', help='evaluate what is trained, and nothing more')
    add('--swap', action='store_true', help='test every training in every mode; trains nothing')
    add(
        '--recalibrate',
        type=int,
        default=RECALIBRATED,
        metavar='N',
        help='with --swap, also estimate batch norms anew on N training images (%(default)s)',
    )
    add('--work-dir', type=Path, default=Path('work_dirs/study/traffic_lights'), help='%(default)s')
    add('--out', type=Path, default=Path('docs/results'), help='folder (%(default)s)')
    add('--document', type=Path, metavar='FILE', help='Markdown file to put the tables into')
    return parser.parse_args()


@one_line_errors()
def main() -> None:
    args = parse_args()
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
