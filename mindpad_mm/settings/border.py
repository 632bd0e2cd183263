"""Settings of a border-loss measurement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.names import ModeSpec, PathLike, parse_modes
from mindpad_mm.core.settings import option

AUTO = 'auto'
SIDES = ('top', 'bottom', 'left', 'right')
INPUT_PADDING = {'reflect': 'reflect', 'replicate': 'edge', 'constant': 'constant'}
"""Ways to pad the input image -> the mode of :func:`numpy.pad`."""


def parse_zoom(text: str) -> float | str:
    """Read a zoom from the command line; what is no number is refused by the settings."""
    try:
        return float(text)
    except ValueError:
        return text


@dataclass(frozen=True)
class BorderSettings:
    """What is scored, at which distances, and for how long.

    Attributes:
        padding: Modes that the detector is also scored under, swapped without training.
        input_padding: Ways to pad the input image, as rivals of a swap: ``'reflect'``, ``'replicate'``,
            ``'constant'`` (with the fill).
        input_padding_px: Width of that padding in pixels of the network's input.
        ann: COCO annotation file of the objects. Default: the detector's own detections.
        labels: Names of the classes to use. Default: all that the detector has.
        label: Name of the class of the pasted objects. Default: ``traffic light`` if the detector has
            it, else its only class.
        sizes: Longer sides of the pasted objects in pixels of the network's input.
        distances: Distances between the object and the cut, pixels of the network's input.
        sides: Sides of the window that are cut.
        near: The verdict is about distances of at most this, pixels.
        far: The cut is moved away by this many pixels, and an object in an open window is at least this
            far from every side. A multiple of the detector's stride keeps the object's place on the
            grid. ``'auto'``: 64, or less for inputs below 192 pixels.
        fill: What stands beyond the cut in the control: ``'pad'``, the value that the test pipeline
            pads with, ``'mean'``, the mean of the data preprocessor, ``'auto'``, the first of these
            that the detector has (else 114), or a number 0..255. Several give several controls.
        window: (height, width) of the windows, pixels. Default: the part of the network's input that the
            photo fills. The test pipeline must leave images of this size as they are.
        zoom: Photo pixels are scaled by this. ``'auto'``: the least scale at which each photo has room
            for windows, below 1 for large photos.
        found_thr: An object counts as found if its score is at least this, 0..1; also the least score
            of the detector's own detections to be taken as objects.
        iou_thr: A detection counts if its IoU with the object's box is at least this, in (0, 1].
        max_objects: Most objects taken from a photo, at random.
        placebo: Whether to score a second open window of each object: a difference between two open
            windows shows how much scores vary without any border.
        minutes: Time to spend; 0 takes all photos, objects, sides and distances. If padding is to blame,
            the swaps that were not asked for are tried as well, for up to as long again.
        draws: Bootstrap draws of the photos.
        batch_size: Images a forward pass.
        seed: Of the order in which photos, objects, sides and distances are taken, and of the draws.

    Raises:
        UserError: A value is not possible.
    """

    padding: tuple[ModeSpec, ...] = option(
        (),
        'also swap to these modes without training: names, or pairs such as reflect/circular',
        nargs='+',
        metavar='MODE',
        type=parse_modes,
    )
    input_padding: tuple[str, ...] = option(
        (),
        'also pad the input image: reflect, replicate, constant',
        nargs='+',
        metavar='HOW',
        type=str,
    )
    input_padding_px: int = option(32, 'width of that padding, pixels', metavar='PX')
    ann: PathLike | None = option(
        None, "COCO annotations of the photos (the detector's own detections)", metavar='JSON'
    )
    labels: tuple[str, ...] = option((), 'use objects of these classes only', metavar='NAME')
    label: str | None = option(
        None, "class of --object ('traffic light' if there is one, else the only class)"
    )
    sizes: tuple[int, ...] = option(
        (32,), 'longer sides of --object, pixels', flag='--size', metavar='PX'
    )
    distances: tuple[int, ...] = option(
        (0, 4, 8, 12, 16, 24, 32, 48), 'distances from the cut, pixels', metavar='PX'
    )
    sides: tuple[str, ...] = option(SIDES, 'sides to cut', nargs='+', metavar='SIDE', type=str)
    near: int = option(16, 'the verdict is about distances up to this, pixels', metavar='PX')
    far: int | Literal['auto'] = option(
        AUTO,
        'the cut is moved away by this, pixels; take a multiple of the stride',
        type=lambda text: int(text) if text.isdecimal() else text,
        metavar='PX',
    )
    fill: tuple[str, ...] = option(
        (AUTO,), 'what stands beyond the cut in the control: pad, mean, auto or 0..255'
    )
    window: tuple[int, int] | None = option(
        None,
        "height and width of the windows, pixels (the photo's part of the network's input)",
        metavar=('HEIGHT', 'WIDTH'),
    )
    zoom: float | str = option(AUTO, 'scale of the photos', type=parse_zoom)
    found_thr: float = option(0.3, 'least score of a found object')
    iou_thr: float = option(0.5, "least IoU with the object's box")
    max_objects: int = option(8, 'most objects of a photo', metavar='N')
    placebo: bool = option(False, 'also score a second open window, to see what chance does')
    minutes: float = option(
        5, 'time to spend, and up to as long again if swaps are tried; 0 takes everything'
    )
    draws: int = option(2000, 'bootstrap draws of the photos', metavar='N')
    batch_size: int = option(8, 'images a forward pass', metavar='N')
    seed: int = option(0, 'seed of the sampling')

    def __post_init__(self) -> None:
        for name in (
            'padding', 'input_padding', 'labels', 'sizes', 'distances', 'sides', 'fill'
        ):  # fmt: skip
            value: Any = getattr(self, name)
            if hasattr(value, 'tolist'):  # a numpy array
                value = value.tolist()
            single = isinstance(value, (str, int, float)) or not isinstance(value, Sequence)
            values = [value] if single else list(value)
            unique = [v for index, v in enumerate(values) if v not in values[:index]]
            object.__setattr__(self, name, tuple(unique))
        object.__setattr__(self, 'distances', tuple(sorted(self.distances)))
        if self.window is not None:
            object.__setattr__(self, 'window', tuple(self.window))
        object.__setattr__(self, 'fill', tuple(map(str, self.fill)))
        rules = {
            'input_padding': (
                all(how in INPUT_PADDING for how in self.input_padding),
                f'choose from: {", ".join(INPUT_PADDING)}',
            ),
            'input_padding_px': (self.input_padding_px >= 1, 'it must be at least 1 pixel'),
            'sizes': (
                bool(self.sizes) and all(size >= 1 for size in self.sizes),
                'each must be at least 1 pixel',
            ),
            'distances': (
                bool(self.distances) and self.distances[0] >= 0,
                'each must be at least 0 pixels',
            ),
            'sides': (
                bool(self.sides) and all(side in SIDES for side in self.sides),
                f'choose from: {", ".join(SIDES)}',
            ),
            'near': (
                bool(self.distances) and self.near >= self.distances[0],
                'it must be at least the smallest distance',
            ),
            'far': (
                self.far == AUTO or (isinstance(self.far, int) and self.far >= 1),
                'give pixels, 1 or more, or auto',
            ),
            'fill': (bool(self.fill) and all(map(_is_fill, self.fill)),
                'each must be pad, mean, auto or a number from 0 to 255'),
            'window': (
                self.window is None or (len(self.window) == 2 and min(self.window) >= 1),
                'give height and width, each at least 1 pixel',
            ),
            'zoom': (
                self.zoom == AUTO
                or (isinstance(self.zoom, (int, float)) and 0 < self.zoom < math.inf),
                'give a number above 0, or auto',
            ),
            'found_thr': (0 < self.found_thr <= 1, 'it must be above 0 and at most 1'),
            'iou_thr': (0 < self.iou_thr <= 1, 'it must be above 0 and at most 1'),
            'max_objects': (self.max_objects >= 1, 'it must be at least 1'),
            'minutes': (0 <= self.minutes < math.inf, 'it must be at least 0'),
            'draws': (self.draws >= 100, 'it must be at least 100'),
            'batch_size': (self.batch_size >= 1, 'it must be at least 1'),
            'seed': (0 <= self.seed < 1 << 32, 'it must be from 0 to 2**32 - 1'),
        }  # fmt: skip
        for name, (possible, rule) in rules.items():
            if not possible:
                value = getattr(self, name)
                shown = ' '.join(map(str, value)) if isinstance(value, tuple) else repr(value)
                raise UserError(f'`{name}` {shown} is not possible: {rule}')


def _is_fill(text: str) -> bool:
    return text in (AUTO, 'pad', 'mean') or (text.isdecimal() and int(text) <= 255)
