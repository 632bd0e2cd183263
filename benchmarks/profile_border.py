#!/usr/bin/env python
"""Where the time of a window of border loss goes: photos, windows, pipeline, network, and the rest."""

from __future__ import annotations

import mindpad_mm  # noqa: F401  # isort: skip  # first, so that MMDetection imports on mmcv-lite

import argparse
import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch

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


class Parts:
    """CPU time by part; time in a part within another counts for the inner one alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stack: list[str] = []
        self._since = 0.0

    def _stop(self) -> None:
        now = time.process_time()
        if self._stack:
            part = self._stack[-1]
            self.seconds[part] = self.seconds.get(part, 0.0) + now - self._since
        self._since = now

    @contextlib.contextmanager
    def inside(self, part: str) -> Iterator[None]:
        """Count the time in the context for a part."""
        self._stop()
        self._stack.append(part)
        try:
            yield
        finally:
            self._stop()
            self._stack.pop()

    def watching(self, owner: Any, name: str, part: str) -> Any:
        """A context in which calls of a method count for a part."""
        own: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(own)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.inside(part):
                return own(*args, **kwargs)

        return mock.patch.object(owner, name, timed)


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
    parts, windows = Parts(), [0]
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
            stack.enter_context(parts.watching(owner, name, part))
        photos = sorted(args.photos.iterdir())[: args.count]
        border_loss(files, photos, ann=args.ann, minutes=0)
    total = sum(parts.seconds.values())
    rows = [
        [part, f'{1e3 * seconds / windows[0]:.2f}', f'{seconds / total:.0%}']
        for part, seconds in sorted(parts.seconds.items(), key=lambda each: -each[1])
    ]
    rows.append(['all', f'{1e3 * total / windows[0]:.2f}', '100%'])
    print(Table(('part', 'ms', 'share'), rows, f'{args.config}, {windows[0]} windows'))


if __name__ == '__main__':
    main()
