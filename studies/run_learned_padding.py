#!/usr/bin/env python
"""Let a detector's padding learn from its own outputs on larger photos, and measure its border loss."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mindpad_mm.adapt.learn import learn, learned_values, with_learned_padding
from mindpad_mm.adapt.windows import Windows
from mindpad_mm.border import BorderResult, border_loss, with_interval
from mindpad_mm.border.objects import objects_to_paste
from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.core.files import save_json
from mindpad_mm.core.images import list_images
from mindpad_mm.core.tables import Table
from mindpad_mm.diagnose import Subject
from mindpad_mm.settings.adapt import AdaptSettings
from studies.document import put_section
from studies.evaluation import cut_objects

LEARNED = 'learned padding'
RIVALS = ('reflect', 'replicate', 'circular')


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add('--name', help='name of the detector in the results; without, only the tables are written')
    add('--config', help='config of the detector')
    add('--checkpoint', help='its checkpoint')
    add('--photos', type=Path, help='folder of photos')
    add('--held-out', nargs='+', default=[], metavar='FILE',
        help='names of photos to measure on (every fourth)')  # fmt: skip
    add('--lights', type=Path, help='folder of crops of lights to paste (none: found objects)')
    add('--size', nargs='+', type=int, default=[24, 36], metavar='PX',
        help='longer sides of the pasted lights (24 36)')  # fmt: skip
    add('--steps', type=int, default=400, help='steps of learning (%(default)s)')
    add('--batch', type=int, default=4, help='windows a step (%(default)s)')
    add('--minutes', type=float, default=5, help='of the measurement (%(default)s)')
    add('--seed', type=int, default=0, help='seed of the learning (%(default)s)')
    add('--work-dir', type=Path, default=Path('work_dirs/study/learned_padding'),
        help='folder of the measurements (%(default)s)')  # fmt: skip
    add('--out', type=Path, default=Path('docs/results/learned_padding.json'),
        help='results (%(default)s)')  # fmt: skip
    add('--document', type=Path, metavar='FILE', help='Markdown file to write the table into')
    return parser


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Adapt one detector and measure it: border loss as trained, adapted, and swapped."""
    files = list_images([args.photos])
    held_out = [file for file in files if Path(file).name in args.held_out] or files[::4]
    crops = sorted(args.lights.rglob('*.jpg')) if args.lights else []
    learn_from, measure_with = (
        cut_objects(part, args.work_dir / 'objects') for part in (crops[::8], crops[4::80])
    )
    settings = AdaptSettings(
        steps=args.steps, batch=args.batch, sizes=tuple(args.size), seed=args.seed
    )
    subject = Subject.load(args.config, args.checkpoint)
    student, _ = with_learned_padding(subject.model)
    windows = Windows(
        [file for file in files if file not in held_out],
        objects_to_paste(learn_from),
        subject.input_size,
        settings.surroundings,
        settings.near,
        settings.sizes,
        settings.seed,
    )
    start = time.process_time()
    losses = learn(subject, student, windows, settings)
    seconds = time.process_time() - start
    result = border_loss(
        subject.model,
        held_out,
        object=measure_with,
        checkpoints={LEARNED: student},
        padding=RIVALS,
        sizes=args.size,
        max_objects=2 if crops else 8,
        minutes=args.minutes,
        seed=args.seed,
    )
    assert isinstance(result, BorderResult)
    part = max(1, len(losses) // 10)
    return {
        'steps': args.steps,
        'cpu_seconds': round(seconds, 1),
        'loss': [round(float(np.mean(each)), 4) for each in (losses[:part], losses[-part:])],
        'numbers': sum(value.numel() for value in learned_values(student)),
        'photos': [len(windows.photos), len(held_out)],
        'facts': result.facts(),
        'variants': {
            name: {
                'near': kept['by_side']['all']['near'],
                'change': kept['differences'].get('near', {}).get('cut'),
                'open_change': kept['differences'].get('near', {}).get('open'),
            }
            for name, kept in result.statistics.items()
        },
    }


def learned_markdown(results: Mapping[str, Any]) -> str:
    """A table with a row for each detector and variant."""
    rows = []
    for name, found in results.items():
        for variant, figures in found['variants'].items():
            near = figures['near']
            changes = [figures[key] for key in ('change', 'open_change')]
            rows.append(
                [
                    name,
                    variant,
                    with_interval(near['open']),
                    with_interval(near['padding_loss']),
                    *(with_interval(change) if change else '' for change in changes),
                ]
            )
    columns = [
        'detector',
        'within 16 px',
        'open',
        'padding loss',
        'near score, change',
        'open score, change',
    ]
    return Table(columns, rows).markdown()


def main() -> None:
    parser = make_parser()
    with one_line_errors(parser):
        args = parser.parse_args()
        results = json.loads(args.out.read_text('utf-8')) if args.out.is_file() else {}
        if args.name and args.name not in results:
            if not (args.config and args.checkpoint and args.photos):
                parser.error('a detector needs --config, --checkpoint and --photos')
            results[args.name] = measure(args)
            save_json(args.out, results)
        text = learned_markdown(results)
        if args.document:
            put_section(args.document, 'learned_padding', text)
        print(text)


if __name__ == '__main__':
    main()
