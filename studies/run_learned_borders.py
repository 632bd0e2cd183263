#!/usr/bin/env python
"""Let a detector's borders learn from its own outputs on larger photos, and measure its border loss."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.logging import print_log

from mindpad_mm.border import BorderResult, border_loss, with_interval
from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.core.files import save_json
from mindpad_mm.core.images import list_images, read_image
from mindpad_mm.core.tables import Table
from mindpad_mm.diagnose import Subject
from studies.document import put_section
from studies.evaluation import cut_objects
from studies.learned_borders import Adaptation

LEARNED = 'learned borders'
RIVALS = ('reflect', 'replicate', 'circular')
_TOLD_EVERY = 50


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
    add('--minutes', type=float, default=5, help='of the measurement (%(default)s)')
    add('--seed', type=int, default=0, help='seed of the learning (%(default)s)')
    add('--work-dir', type=Path, default=Path('work_dirs/study/learned_borders'),
        help='folder of the measurements (%(default)s)')  # fmt: skip
    add('--out', type=Path, default=Path('docs/results/learned_borders.json'),
        help='results (%(default)s)')  # fmt: skip
    add('--document', type=Path, metavar='FILE', help='Markdown file to write the table into')
    return parser


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Adapt one detector and measure it: border loss as trained, adapted, and swapped."""
    subject = Subject.load(args.config, args.checkpoint)
    files = list_images([args.photos])
    held_out = [file for file in files if Path(file).name in args.held_out] or files[::4]
    crops = sorted(args.lights.rglob('*.jpg')) if args.lights else []
    learn_from, measure_with = crops[::8], crops[4::80]
    pixels = [cut for crop in cut_objects(learn_from, args.work_dir / 'objects')
              if (cut := cv2.imread(crop, cv2.IMREAD_UNCHANGED)) is not None]  # fmt: skip
    plan = Adaptation(steps=args.steps, offset=64, seed=args.seed)
    least = [side + 2 * plan.offset for side in subject.input_size]
    photos = [_with_room(read_image(file), least) for file in files if file not in held_out]
    rng = np.random.default_rng(args.seed)
    objects = [
        _resized(each, int(rng.integers(min(args.size), max(args.size) + 1))) for each in pixels
    ]
    losses: list[float] = []

    def told(step: int, loss: float) -> None:
        losses.append(loss)
        if step % _TOLD_EVERY == 0:
            print_log(f'{args.name}: step {step}, loss {loss:.3f}', 'current')

    start = time.process_time()
    model = plan.learn(subject, photos, objects, told)
    seconds = time.process_time() - start
    result = border_loss(
        subject.model,
        held_out,
        object=cut_objects(measure_with, args.work_dir / 'objects') if crops else (),
        checkpoints={LEARNED: model},
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
        'numbers': sum(p.numel() for p in model.parameters() if p.requires_grad),
        'photos': [len(photos), len(held_out)],
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


def _with_room(photo: np.ndarray, least: list[int]) -> np.ndarray:
    """A photo scaled so that a window and its surroundings fit."""
    scale = max(need / side for need, side in zip(least, photo.shape))
    size = [max(need, round(side * scale)) for need, side in zip(least, photo.shape)]
    return cv2.resize(photo, size[::-1], interpolation=cv2.INTER_AREA)


def _resized(pixels: np.ndarray, longer: int) -> np.ndarray:
    scale = longer / max(pixels.shape[:2])
    size = [max(1, round(side * scale)) for side in pixels.shape[1::-1]]
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


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
            put_section(args.document, 'learned_borders', text)
        print(text)


if __name__ == '__main__':
    main()
