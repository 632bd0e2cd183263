#!/usr/bin/env python
"""Where the time of a position goes: the network, post-processing, and the rest, for each engine."""

from __future__ import annotations

import mindpad_mm  # noqa: F401  # isort: skip  # first, so that MMDetection imports on mmcv-lite

import argparse
import copy
import time
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from benchmarks.engines import best_batch_size
from benchmarks.timing import Stopwatch
from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.core.detector import DetectorFiles, detector_classes, find_label
from mindpad_mm.core.objects import ScanObject
from mindpad_mm.core.opened import opened
from mindpad_mm.core.scenes import Background
from mindpad_mm.core.tables import Table
from mindpad_mm.scan.engines import ENGINES, Engine
from mindpad_mm.scan.engines.full import AUTO_BATCH_SIZES
from mindpad_mm.scan.positions import scene_positions

EXAMPLE = """\
example:
  OMP_NUM_THREADS=1 python -m benchmarks.profile_engines yolox_nano_coco.py yolox_nano_coco.pth

One thread, a drawn light in a drawn street. Times are CPU time per position, the least of several turns;
the engines take turns, each at its fastest batch size (focused: the largest). "fixed" is
the part of a batch's time that does not
grow with the batch, shared by its positions: mostly Python, and the dispatch of operations. "operators"
is the share of the time inside torch's operators, by torch.profiler.
"""
# Positions per turn. The checks of the focused engine are a share of its chunk.
_LENGTHS = {'full': 16, 'incremental': 64, 'focused': 256}


class Parts(NamedTuple):
    """Seconds per position."""

    total: float
    network: float
    post: float


class Subject:
    """An engine with a stopwatch in it."""

    def __init__(self, engine: Engine, positions: np.ndarray) -> None:
        self.engine, self.positions = engine, positions
        self.watch = Stopwatch()
        model: Any = engine.model
        watched = [
            (model, 'extract_feat', 'network'),
            (model.bbox_head, 'forward', 'network'),
            (model, 'predict', 'post-processing'),
        ]
        if engine.name == 'focused':
            focused: Any = engine
            watched.append((focused._detector, 'detect_focused', 'post-processing'))
        for owner, name, part in watched:
            self.watch.watching(owner, name, part).start()

    def run(self) -> Parts:
        """One turn."""
        self.watch.seconds.clear()
        begin = time.process_time()
        self.engine.detect(self.positions)
        seconds = time.process_time() - begin
        count, parts = len(self.positions), self.watch.seconds
        network, post = parts['network'], parts.get('post-processing', 0.0)
        return Parts(seconds / count, network / count, post / count)

    def fixed(self, turns: int) -> float:
        """Seconds per position that do not depend on the size of a batch, from two sizes."""
        size = self.engine.batch_size
        if size < 2:
            return 0.0
        taken = {}
        for each in (size, size // 2):
            self.engine.batch_size = each
            taken[each] = min(self.run().total for _ in range(turns)) * each
        self.engine.batch_size = size
        return max(2 * taken[size // 2] - taken[size], 0.0) / size

    def in_operators(self) -> float:
        """Share of the time in torch's operators."""
        with profile(activities=[ProfilerActivity.CPU]) as run:
            begin = time.process_time()
            self.engine.detect(self.positions)
            seconds = time.process_time() - begin
        inside = sum(event.self_cpu_time_total for event in run.key_averages())
        return min(inside / 1e6 / seconds, 1.0)


def subjects_of(model: nn.Module, scene: Any, label: int, size: int, stride: int) -> list[Subject]:
    """The engines, warm and at their fastest batch sizes, each with its own copy of the model."""
    pixels = ScanObject.drawn(0).resized(size)
    positions = scene_positions(scene.photo, pixels.shape[:2], stride=stride)
    middle = len(positions) // 2
    subjects = []
    for name in ('full', 'incremental', 'focused'):
        engine = ENGINES.get(name)(copy.deepcopy(model), scene, pixels, label=label)
        if name == 'focused':
            engine.batch_size = AUTO_BATCH_SIZES[-1]
        else:
            best_batch_size(engine, positions[middle:])
        subject = Subject(engine, positions[middle:][: _LENGTHS[name]])
        subject.run()
        subjects.append(subject)
    return subjects


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('config', help='MMDetection config of a single-stage detector')
    add('checkpoint', help='its weights')
    add('--label', help="class of the object (traffic light, or the detector's only class)")
    add('--size', type=int, default=32, help='longer side of the object, pixels (%(default)s)')
    add('--stride', type=int, default=4, help='pixels between positions (%(default)s)')
    add('--turns', type=int, default=5, help='turns of each engine (%(default)s)')
    return parser.parse_args()


@one_line_errors()
def main() -> None:
    args = parse_args()
    torch.set_num_threads(1)
    with opened(DetectorFiles(args.config, args.checkpoint), 'cpu') as subject:
        scene = subject.make_scene(Background.drawn(0), 'input')
        label = find_label(args.label, detector_classes(subject.model))
        subjects = subjects_of(subject.model, scene, label, args.size, args.stride)
    turns = [[each.run() for each in subjects] for _ in range(args.turns)]
    columns = (
        'engine',
        'batch',
        'ms',
        'network',
        'post-processing',
        'rest',
        'fixed',
        'operators',
        'x',
    )
    rows, full = [], min(turn[0].total for turn in turns)
    for index, each in enumerate(subjects):
        best = min((turn[index] for turn in turns), key=lambda parts: parts.total)
        rest = best.total - best.network - best.post
        shown = [best.total, best.network, best.post, rest, each.fixed(1 + args.turns // 3)]
        rows.append(
            [
                each.engine.name,
                str(each.engine.batch_size),
                *(f'{1e3 * value:.2f}' for value in shown),
                f'{each.in_operators():.0%}',
                f'{full / best.total:.2f}',
            ]
        )
    print(Table(columns, rows, f'{args.config}, {args.size} px'))
    for each in subjects:
        print(each.engine.name, each.engine.notes())


if __name__ == '__main__':
    main()
