"""Where windows are cut: an object with the border near, far, and far with the content lost.

A *window* is a cut-out of a photo, as large as the part of the network's input that a photo fills. One
side of it, the *cut*, lies at a chosen distance from the object. Moved outward, away from the object, by
``far`` pixels, the same window has the object far from all of its sides:

- *cut*: the border near the object;
- *open*: the border moved away, what lies beyond the cut in sight;
- *control*: the border moved away, what lies beyond the cut filled with a constant. As much of the scene
  is lost as in *cut*, but the network's border is far.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

CUT, OPEN, PLACEBO, CONTROL = 'cut', 'open', 'placebo', 'control'
Size = tuple[int, int]
"""(height, width) in pixels."""
Box = tuple[float, float, float, float]
"""``x1, y1, x2, y2`` in pixels, x2 and y2 exclusive."""


@dataclass(frozen=True)
class Probe:
    """An object and one cut beside it.

    Attributes:
        photo, obj: Their numbers.
        side: The window's side that is the cut.
        distance: Pixels between the cut and the object's box (rounded outward to whole pixels).
        cut: (row, column) of the top-left pixel of the window *cut* in the photo.
        open: Of the windows *open* and *control*.
        placebo: Of a second open window; None where the photo has no room for one.
    """

    photo: int
    obj: int
    side: str
    distance: int
    cut: tuple[int, int]
    open: tuple[int, int]
    placebo: tuple[int, int] | None

    def corner(self, view: str) -> tuple[int, int] | None:
        """(row, column) of the top-left pixel of a window in the photo, None if there is none."""
        if view == CUT:
            return self.cut
        return self.placebo if view == PLACEBO else self.open

    def line(self, window: Size) -> Box:
        """What the cut leaves of the photo's plane: a box, infinite on three sides."""
        row, col = self.cut
        x1, y1, x2, y2 = -np.inf, -np.inf, np.inf, np.inf
        match self.side:
            case 'top':
                y1 = row
            case 'bottom':
                y2 = row + window[0]
            case 'left':
                x1 = col
            case 'right':
                x2 = col + window[1]
        return float(x1), float(y1), float(x2), float(y2)


def probes_of(
    photo: int,
    obj: int,
    box: Box,
    photo_size: Size,
    window: Size,
    sides: Iterable[str],
    distances: Iterable[int],
    far: int,
    rng: np.random.Generator,
) -> list[Probe]:
    """All probes of an object for which the photo has room.

    Along the border, windows are placed at random, at least ``far`` pixels from the object: so the
    object's phases on the detector's grid are averaged. The windows of one side share that place.

    Args:
        photo, obj: Numbers, kept in the probes.
        box: The object's, in pixels of the photo.
        photo_size: Of the photo.
        window: Of the windows.
        sides, distances: See :class:`Probe`.
        far: Pixels that the border is moved away by.
        rng: For the places along the border.
    """
    found = []
    whole = (np.floor(box[1]), np.floor(box[0])), (np.ceil(box[3]), np.ceil(box[2]))
    low, high = (tuple(int(v) for v in corner) for corner in whole)
    for side in sides:
        axis, other = (0, 1) if side in ('top', 'bottom') else (1, 0)
        across = _clear_offsets(low[other], high[other], photo_size[other], window[other], far)
        if not across:
            continue
        along = across[int(rng.integers(len(across)))]
        again = [offset for offset in across if offset != along and (offset - along) % far == 0]
        second = again[int(rng.integers(len(again)))] if again else None
        for distance in distances:
            if side in ('top', 'left'):
                cut = low[axis] - distance
                moved = cut - far
            else:
                cut = high[axis] + distance - window[axis]
                moved = cut + far
            clear = _clear_offsets(low[axis], high[axis], photo_size[axis], window[axis], far)
            if moved not in clear or not 0 <= cut <= photo_size[axis] - window[axis]:
                continue
            found.append(
                Probe(
                    photo,
                    obj,
                    side,
                    distance,
                    cut=_place(axis, cut, along),
                    open=_place(axis, moved, along),
                    placebo=None if second is None else _place(axis, moved, second),
                )
            )
    return found


def _clear_offsets(low: int, high: int, extent: int, window: int, far: int) -> range:
    """Offsets of windows inside the photo whose two sides are ``far`` pixels or more from low..high."""
    return range(max(0, high + far - window), min(extent - window, low - far) + 1)


def _place(axis: int, offset: int, along: int) -> tuple[int, int]:
    return (offset, along) if axis == 0 else (along, offset)


def needed_size(window: Size, far: int) -> Size:
    """Least size of a photo in which objects have room for probes: three times ``far`` wider."""
    return window[0] + 3 * far, window[1] + 3 * far


def take(pixels: np.ndarray, corner: tuple[int, int], window: Size) -> np.ndarray:
    """(h, w, 3) uint8 copy of a window of a photo."""
    row, col = corner
    return pixels[row : row + window[0], col : col + window[1]].copy()


def fill_beyond(
    image: np.ndarray, corner: tuple[int, int], line: Box, fill: tuple[int, int, int]
) -> np.ndarray:
    """Fill a window, in place, where it lies beyond the cut.

    Args:
        image: The window's pixels.
        corner: Its top-left pixel in the photo.
        line: What the cut leaves, see :meth:`Probe.line`.
        fill: B, G, R, 0..255.
    """
    x1, y1, x2, y2 = np.subtract(line, (corner[1], corner[0]) * 2)
    height, width = image.shape[:2]
    rows, cols = np.arange(height), np.arange(width)
    image[(rows < y1) | (rows >= y2)] = fill
    image[:, (cols < x1) | (cols >= x2)] = fill
    return image


def clip_boxes(boxes: np.ndarray, limits: Box) -> np.ndarray:
    """(N, 4) boxes cut off at the limits."""
    x1, y1, x2, y2 = limits
    return np.clip(boxes, (x1, y1, x1, y1), (x2, y2, x2, y2))
