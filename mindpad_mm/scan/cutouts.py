"""Scenes that are windows of larger photos, and the shifted windows around them.

A *window* is as large as the network's input. Its twins are windows of the same photo, shifted by ``far``
pixels along one or both axes, in which a place near a side of the window is far from every side.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from mmengine.logging import print_log

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.images import scaled
from mindpad_mm.core.opened import OpenedDetector
from mindpad_mm.core.scenes import Background, Scene
from mindpad_mm.settings.scan import AUTO, ScanSettings

Size = tuple[int, int]
"""(height, width) in pixels."""


@dataclass(frozen=True)
class Cut:
    """A window of a photo.

    Attributes:
        photo: (H, W, 3) uint8 BGR, the photo, scaled by ``zoom``.
        source: Where it comes from.
        zoom: Pixels of the network's input per pixel of the original photo.
        corner: (row, column) of the window's top-left pixel in the scaled photo.
        size: Of the window.
    """

    photo: np.ndarray = field(repr=False)
    source: str
    zoom: float
    corner: Size
    size: Size

    def has_room(self, axis: int, shift: int) -> bool:
        """Whether the window lies inside the photo if it is shifted along an axis by some pixels."""
        start = self.corner[axis] + shift
        return 0 <= start <= self.photo.shape[axis] - self.size[axis]

    def window(self, shift: Size = (0, 0)) -> Background:
        """The window, shifted by (rows, columns)."""
        row, col = (corner + by for corner, by in zip(self.corner, shift))
        height, width = self.size
        pixels = np.ascontiguousarray(self.photo[row : row + height, col : col + width])
        return Background(pixels, f'{self.source}, window at row {row}, column {col}')


@dataclass
class WindowInfo:
    """Where a scene was cut out: details for ``scan.json``.

    Attributes:
        file: The scaled photo, in the scan's folder.
        zoom: Its scale.
        row, col: The window's top-left pixel in it.
        shifts: Shifts (rows, columns) of the windows around it, pixels.
    """

    file: str
    zoom: float
    row: int
    col: int
    shifts: list[list[int]]


class TwinScene(NamedTuple):
    """A shifted window as a scene of its own.

    Attributes:
        background: Index of the scene that it is a twin of.
        shift: Pixels that the window is moved by, (rows, columns).
        scene: The window there.
    """

    background: int
    shift: Size
    scene: Scene


def cut_windows(
    backgrounds: Sequence[Background], subject: OpenedDetector, settings: ScanSettings
) -> list[Cut]:
    """A window from the middle of each photo that is large enough.

    Args:
        backgrounds: The photos.
        subject: The detector; its test pipeline must leave windows as they are.
        settings: ``window``, ``zoom``, ``far`` and ``space`` are used.

    Raises:
        UserError: The test pipeline changes windows, or no photo is large enough.
    """
    cuts, small = [], []
    for background in backgrounds:
        size = background.pixels.shape[0], background.pixels.shape[1]
        window = window_size(size, subject, settings)
        zoom = zoom_of(size, window, settings)
        new_size = round(size[0] * zoom), round(size[1] * zoom)
        room = [length - part for length, part in zip(new_size, window)]
        if min(room) < 0 or max(room) - max(room) // 2 < settings.far:
            small.append((background.source, new_size, window))
            continue
        corner = room[0] // 2, room[1] // 2
        photo = scaled(background.pixels, new_size)
        cuts.append(Cut(photo, background.source, zoom, corner, window))
    if not cuts:
        source, size, window = small[0]
        raise UserError(
            f'no photo is large enough for windows: {source} is {size[0]} x {size[1]} pixels (height x '
            f'width) at this `zoom`, a window {window[0]} x {window[1]}, and it is shifted by '
            f'{settings.far}: give larger photos, a larger `zoom`, or a smaller `window` or `far`'
        )
    for source, size, _ in small:
        print_log(
            f'{source} is left out: {size[0]} x {size[1]} pixels have no room for shifted windows',
            'current',
            logging.WARNING,
        )
    return cuts


def window_size(photo: Size, subject: OpenedDetector, settings: ScanSettings) -> Size:
    """The size of windows: that of the settings, or of the network's input for a photo.

    Args:
        photo: (height, width) of the photo, pixels.
        subject: The detector.
        settings: ``window`` and ``space`` are used.

    Raises:
        UserError: The test pipeline does not leave a window of this size as it is.
    """
    given = settings.window or ()
    size = (given[0], given[1]) if given else _input_size(photo, subject)
    made = _input_size(size, subject)
    if made != size:
        advice = 'choose that' if given else 'choose another `window`'
        raise UserError(
            f'`window`: the test pipeline makes {made[0]} x {made[1]} pixels (height x width) of a '
            f'window of {size[0]} x {size[1]}: {advice}'
        )
    pattern = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    if settings.space == 'input':
        scene = subject.make_scene(Background(pattern, 'a window'), 'input')
        if not np.array_equal(scene.pixels, pattern):
            raise UserError(
                f'`window`: the test pipeline changes the pixels of a window of {size[0]} x {size[1]}: '
                f"use `space='image'`"
            )
    return size


def zoom_of(photo: Size, window: Size, settings: ScanSettings) -> float:
    """The scale of a photo: the given one, or 1, or what it needs for windows shifted to all sides."""
    if settings.zoom != AUTO:
        return float(settings.zoom)
    needed = [part + 2 * settings.far for part in window]
    return max(1.0, *(least / length for least, length in zip(needed, photo)))


def _input_size(photo: Size, subject: OpenedDetector) -> Size:
    blank = np.zeros((*photo, 3), np.uint8)
    scene = subject.make_scene(Background(blank, 'a blank photo'), 'image')
    height, width = scene.pipeline({'img': blank, 'img_id': 0})['inputs'].shape[-2:]
    return int(height), int(width)
