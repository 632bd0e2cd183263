"""The settings of a scan: validated once, and the same for Python, the command line and ``scan.json``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mindpad_mm.core.detector import SCORE_THR
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.images import PathLike
from mindpad_mm.core.scenes import SPACES
from mindpad_mm.core.settings import option
from mindpad_mm.scan.engines import find_engine

AUTO = 'auto'


def _batch_size(text: str) -> int | str:
    """Read a batch size from the command line; what is no number is refused by the settings."""
    return int(text) if text.lstrip('-').isdecimal() else text


@dataclass(frozen=True)
class ScanSettings:
    """What is pasted where, what counts as found, and how the scan runs.

    Attributes:
        from_coco: COCO annotation file to cut objects out of, by their masks.
        ann_ids: Ids of the annotations to cut out.
        photo_root: Folder of the photos of ``from_coco``. Default: where COCO keeps them.
        sizes: Longer sides of the objects, pixels of the scene.
        stride: Pixels between two positions.
        space: ``'input'`` pastes in the network's input, ``'image'`` in the photo.
        label: Class to look for. Default: ``traffic light`` if the detector has it, else its only
            class.
        iou_thr: A detection counts if its IoU with the pasted box is at least this, in (0, 1].
        clean_thr: Positions are flagged where the clean scene has such a detection of at least this
            score.
        engine: Name of a registered engine; ``'auto'`` takes the fastest exact one.
        batch_size: Positions a forward pass. ``'auto'`` measures it, so the scores' last bits can
            differ from run to run.
        tolerance: Largest difference in score that an approximate engine may show at its checks.
        periods: Candidate periods of the detector's grid, pixels of the scene. Default: its strides.
        seed: Of the drawn object, the drawn street, and torch.

    Raises:
        UserError: A value is not possible.
    """

    from_coco: PathLike | None = option(
        None, 'cut the object out of a COCO photo by its mask', metavar='JSON'
    )
    ann_ids: Sequence[int] = option((), 'annotations to cut out', flag='--ann-id', metavar='ID')
    photo_root: PathLike | None = option(None, 'folder of the photos of --from-coco', metavar='DIR')
    sizes: Sequence[int] = option(
        (32,), "object's longer side, pixels", flag='--size', metavar='PX'
    )
    stride: int = option(4, 'pixels between positions', metavar='PX')
    space: str = option('input', "paste in the network's 'input' or in the original 'image'")
    label: str | None = option(
        None, "class to look for ('traffic light' if there is one, else the only class)"
    )
    iou_thr: float = option(0.5, 'least IoU with the pasted box')
    clean_thr: float = option(
        SCORE_THR, 'leave out positions where the clean scene alone scores this much'
    )
    engine: str = option(AUTO, 'auto, full, incremental (exact) or focused (approximate, checked)')
    batch_size: int | str = option(
        8,
        "positions a forward pass; 'auto' measures, and the last bits may differ from run to run",
        type=_batch_size,
        metavar='N',
    )
    tolerance: float = option(1e-3, 'focused engine: largest difference in score at its checks')
    periods: Sequence[int] | None = option(
        None,
        "candidate periods of the detector's grid (its strides)",
        flag='--period',
        metavar='PX',
    )
    seed: int = option(0, 'seed of what is drawn')

    def __post_init__(self) -> None:
        for name in ('sizes', 'ann_ids', 'periods'):
            value: Any = getattr(self, name)
            if value is not None:
                value = (value,) if isinstance(value, int) else value
                object.__setattr__(self, name, tuple(dict.fromkeys(value)))
        batch_size = self.batch_size
        rules = {
            'stride': (self.stride >= 1, 'it must be at least 1 pixel'),
            'iou_thr': (0 < self.iou_thr <= 1, 'it must be above 0 and at most 1'),
            'clean_thr': (0 < self.clean_thr < math.inf, 'it must be above 0'),
            'tolerance': (0 <= self.tolerance < math.inf, 'it must be at least 0'),
            'seed': (0 <= self.seed < 1 << 32, 'it must be from 0 to 2**32 - 1'),
            'periods': (all(p >= 2 for p in self.periods or ()), 'each must be at least 2 pixels'),
            'sizes': (
                bool(self.sizes) and all(size >= 1 for size in self.sizes),
                'each must be at least 1 pixel',
            ),
            'batch_size': (
                batch_size == AUTO or (isinstance(batch_size, int) and batch_size >= 1),
                'give 1 or more, or auto',
            ),
            'space': (self.space in SPACES, f'choose one of: {", ".join(SPACES)}'),
        }  # fmt: skip
        for name, (possible, rule) in rules.items():
            if not possible:
                self._refuse(name, rule)
        find_engine(self.engine, self.space)
        if self.from_coco is None and self.ann_ids:
            raise UserError('`ann_ids` needs the annotation file that it is from: give `from_coco`')
        if self.from_coco is None and self.photo_root is not None:
            raise UserError('`photo_root` is the folder of `from_coco`: give that, too')
        if self.from_coco is not None and not self.ann_ids:
            raise UserError('`from_coco` needs the annotation to cut out: give `ann_ids`')

    def _refuse(self, name: str, rule: str) -> None:
        value = getattr(self, name)
        shown = ' '.join(map(str, value)) if isinstance(value, tuple) else repr(value)
        raise UserError(f'`{name}` {shown} is not possible: {rule}')
