"""The settings of a scan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.names import SCORE_THR, SPACES, PathLike
from mindpad_mm.core.settings import option

AUTO = 'auto'
DEFAULT_SIZE = 32
FAR = 64


def _batch_size(text: str) -> int | str:
    """Read a batch size from the command line. :class:`ScanSettings` checks it."""
    return int(text) if text.lstrip('-').isdecimal() else text


def _number(text: str) -> float | str:
    """Read a zoom from the command line. :class:`ScanSettings` checks it."""
    try:
        return float(text)
    except ValueError:
        return text


@dataclass(frozen=True)
class ScanSettings:
    """Settings of a scan.

    Attributes:
        from_coco: COCO annotation file; objects are cut out of its photos by their masks.
        ann_ids: Ids of the annotations to cut out.
        category: Instead of ``ann_ids``: annotations of this category, whole objects in random order.
        max_objects: Most objects of ``category``. Default: 1.
        photo_root: Folder of the photos of ``from_coco``. Default: see
            :func:`mindpad_mm.core.coco.find_photo`.
        sizes: Lengths of the objects' longer side, pixels of the scene. Default: for objects of
            ``from_coco`` the size that they have in their photo, for others 32.
        stride: Pixels between positions. Default: 4.
        quick: A first map in about a minute: at most three of the photos, evenly spread, and positions
            every second stride within 32 px of a border and every eighth inside. Default: False.
        window: Cut the scenes out of the middle of larger photos, and score each position a second time
            in a shifted window where its place is far from every side, see
            :mod:`mindpad_mm.scan.cutouts`. (height, width) of the windows in pixels; ``()``: the size of
            the network's input. Default: no windows.
        zoom: Scale of the photos that windows are cut out of. ``'auto'`` (default): 1, or what a smaller
            photo needs.
        far: Windows are shifted by this many pixels, and places in shifted windows are at least this far
            from every side. Take a multiple of the detector's stride. Default: 64.
        space: ``'input'`` (default) pastes into the network's input, ``'image'`` into the photo.
        label: Class of the objects. Default: the category of the objects of ``from_coco``; for others
            ``traffic light`` if the detector has this class, else its only class.
        iou_thr: Smallest IoU of a matching detection with the pasted box, in (0, 1]. Default: 0.5.
        clean_thr: Positions are flagged if the clean scene has a matching detection with at least this
            score. Default: 0.001.
        engine: Name of a registered engine. ``'auto'`` (default): the fastest exact one, by measurement,
            so the last bits of scores can differ between runs.
        batch_size: Positions per forward pass. Default: 8. ``'auto'``: the fastest is measured, so the
            last bits of scores can differ between runs.
        tolerance: Largest difference in score that an approximate engine may have at its checks.
            Default: 0.001.
        checking: Time that an approximate engine spends on checks, as a share of its time without them.
            Each chunk of 512 positions has at least one. Default: 0.08.
        periods: Candidate periods of the pattern of the detector's grid, pixels of the scene, the same
            along rows and columns. Default: the strides of the detector's priors, of each axis its own.
        causes: Look for the cause at every blind place, see :mod:`mindpad_mm.scan.causes`. Each blind
            place is run twice more, so it takes longer where much is blind. Default: False.
        bystanders: Watch the other boxes of the clean scene, see :mod:`mindpad_mm.scan.bystanders`. Not
            with the focused engine. Default: False.
        seed: Seed of the drawn object, the drawn street, and torch. Default: 0.

    Raises:
        UserError: A value is not valid.
    """

    from_coco: PathLike | None = option(
        None, 'COCO annotation file to cut objects out of, by their masks', metavar='JSON'
    )
    ann_ids: Sequence[int] = option((), 'annotations to cut out', flag='--ann-id', metavar='ID')
    category: str | None = option(
        None, 'cut out objects of this category, in random order', metavar='NAME'
    )
    max_objects: int = option(1, 'most objects of --category', metavar='N')
    photo_root: PathLike | None = option(None, 'folder of the photos of --from-coco', metavar='DIR')
    sizes: Sequence[int] | None = option(
        None,
        f"length of the object's longer side, pixels (annotated objects: as in their photo; others: "
        f'{DEFAULT_SIZE})',
        flag='--size',
        metavar='PX',
    )
    stride: int = option(4, 'pixels between positions', metavar='PX')
    quick: bool = option(
        False,
        'a first, coarse map: at most 3 of the photos, every second position within 32 px of a '
        'border, every eighth inside',
    )
    window: Sequence[int] | None = option(
        None,
        'cut the scenes out of larger photos, and score each position also in a shifted window where '
        "its place is far from every side; height and width, pixels (the network's input)",
        nargs='*',
        metavar='PX',
    )
    zoom: float | str = option(
        AUTO, 'scale of the photos that windows are cut out of', type=_number, metavar='SCALE'
    )
    far: int = option(
        FAR, "shift of the windows, pixels; take a multiple of the detector's stride", metavar='PX'
    )
    space: str = option('input', "paste into the network's 'input' or into the original 'image'")
    label: str | None = option(
        None,
        "class of the object (that of its annotation; or 'traffic light' if there is one, else the "
        'only class)',
    )
    iou_thr: float = option(0.5, 'smallest IoU of a matching detection with the pasted box')
    clean_thr: float = option(
        SCORE_THR, 'leave out positions where the clean scene has a match with at least this score'
    )
    engine: str = option(AUTO, 'auto, full, incremental (exact) or focused (approximate, checked)')
    batch_size: int | str = option(
        8,
        "positions per forward pass; with 'auto', which measures, last bits may differ between runs",
        type=_batch_size,
        metavar='N',
    )
    tolerance: float = option(1e-3, 'focused engine: largest difference in score at checks')
    checking: float = option(
        0.08, 'focused engine: time for checks, as a share of its time without', metavar='SHARE'
    )
    periods: Sequence[float] | None = option(
        None,
        "candidate periods of the grid's pattern, pixels (the strides of the detector's priors)",
        flag='--period',
        metavar='PX',
    )
    causes: bool = option(
        False,
        'find the cause at every blind place: no box, low score, imprecise, wrong class or suppressed; '
        'each is run twice more',
    )
    bystanders: bool = option(
        False,
        'watch the other boxes of the clean scene: which vanish, appear or change class by the '
        "object's position",
    )
    seed: int = option(0, 'seed of drawn objects and streets')

    def __post_init__(self) -> None:
        for name in ('sizes', 'ann_ids', 'periods'):
            value: Any = getattr(self, name)
            if value is not None:
                value = (value,) if isinstance(value, (int, float)) else value
                object.__setattr__(self, name, tuple(dict.fromkeys(value)))
        if self.window is not None:
            object.__setattr__(self, 'window', tuple(self.window))
        batch_size = self.batch_size
        rules = {
            'stride': (self.stride >= 1, 'it must be at least 1 pixel'),
            'iou_thr': (0 < self.iou_thr <= 1, 'it must be above 0 and at most 1'),
            'clean_thr': (0 < self.clean_thr < math.inf, 'it must be above 0'),
            'checking': (0 <= self.checking < math.inf, 'it must be at least 0'),
            'tolerance': (0 <= self.tolerance < math.inf, 'it must be at least 0'),
            'seed': (0 <= self.seed < 1 << 32, 'it must be from 0 to 2**32 - 1'),
            'periods': (all(p >= 2 for p in self.periods or ()), 'each must be at least 2 pixels'),
            'max_objects': (self.max_objects >= 1, 'it must be at least 1'),
            'sizes': (
                self.sizes is None or (bool(self.sizes) and all(size >= 1 for size in self.sizes)),
                'each must be at least 1 pixel',
            ),
            'window': (
                not self.window or (len(self.window) == 2 and min(self.window) >= 1),
                'give height and width, each at least 1 pixel',
            ),
            'zoom': (
                self.zoom == AUTO
                or (isinstance(self.zoom, (int, float)) and 0 < self.zoom < math.inf),
                'give a number above 0, or auto',
            ),
            'far': (self.far >= 1, 'it must be at least 1 pixel'),
            'batch_size': (
                batch_size == AUTO or (isinstance(batch_size, int) and batch_size >= 1),
                'give 1 or more, or auto',
            ),
            'space': (self.space in SPACES, f'choose one of: {", ".join(SPACES)}'),
        }  # fmt: skip
        for name, (possible, rule) in rules.items():
            if not possible:
                self._refuse(name, rule)
        if self.window is None and (self.zoom, self.far) != (AUTO, FAR):
            raise UserError('`zoom` and `far` are about windows of photos: give `window` as well')
        if self.from_coco is None:
            for name in ('ann_ids', 'category', 'photo_root'):
                if getattr(self, name):
                    raise UserError(f'`{name}` needs an annotation file: give `from_coco` as well')
        elif bool(self.ann_ids) == (self.category is not None):
            raise UserError(
                '`from_coco` needs the annotations to cut out: give either `ann_ids` or `category`'
            )

    def _refuse(self, name: str, rule: str) -> None:
        value = getattr(self, name)
        shown = ' '.join(map(str, value)) if isinstance(value, tuple) else repr(value)
        raise UserError(f'`{name}` {shown} is not valid: {rule}')
