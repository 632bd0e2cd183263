#!/usr/bin/env python
"""Where the time of a window of border loss goes: photos, windows, pipeline, network, and the rest."""

from __future__ import annotations

import mindpad_mm  # noqa: F401  # isort: skip  # first, so that MMDetection imports on mmcv-lite

import argparse
import contextlib
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks.timing import Stopwatch
from mindpad_mm import border_loss
from mindpad_mm.border import measure
from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.core.detector import DetectorFiles
from mindpad_mm.core.opened import opened
from mindpad_mm.core.scenes import Scene
from mindpad_mm.core.tables import Table

EXAMPLE = """\
example:
  OMP_NUM_THREADS=1 python -m benchmarks.profile_border yolox_nano_coco.py yolox_nano_coco.pth \\
      --photos coco96/images --ann coco96/annotations/instances.json

One thread. Times are CPU time per window, without the time of other parts within a part.
"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('config', help='MMDetection config of a single-stage detector')
    add('checkpoint', help='its weights')
    add('--photos', type=Path, required=True, help='folder of photos')
    add('--ann', type=Path, required=True, help='their COCO annotations')
    add('--count', type=int, default=12, help='photos to use (%(default)s)')
    return parser.parse_args()


@one_line_errors()
def main() -> None:
    args = parse_args()
    torch.set_num_threads(1)
    files = DetectorFiles(args.config, args.checkpoint)
    with opened(files, 'cpu') as subject:
        model: Any = subject.model
        detector, head = type(model), type(model.bbox_head)
    watch, windows = Stopwatch(), [0]
    own_image = measure.Scorer._image

    def image(*each: Any) -> Any:
        made = own_image(*each)
        windows[0] += made is not None
        return made

    watched = [
        (measure.Scorer, 'score', 'the rest'),
        (measure.Scorer, '_pixels', 'photo read, object drawn'),
        (measure.Scorer, '_image', 'windows cut'),
        (measure.Scorer, '_match', 'matching'),
        (Scene, 'pack', 'test pipeline'),
        (detector, 'predict', 'post-processing'),
        (detector, 'extract_feat', 'network'),
        (head, 'forward', 'network'),
    ]
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(measure.Scorer, '_image', image))
        for owner, name, part in watched:
            stack.enter_context(watch.watching(owner, name, part))
        photos = sorted(args.photos.iterdir())[: args.count]
        border_loss(files, photos, ann=args.ann, minutes=0)
    total = sum(watch.seconds.values())
    rows = [
        [part, f'{1e3 * seconds / windows[0]:.2f}', f'{seconds / total:.0%}']
        for part, seconds in sorted(watch.seconds.items(), key=lambda each: -each[1])
    ]
    rows.append(['all', f'{1e3 * total / windows[0]:.2f}', '100%'])
    print(Table(('part', 'ms', 'share'), rows, f'{args.config}, {windows[0]} windows'))


if __name__ == '__main__':
    main()
