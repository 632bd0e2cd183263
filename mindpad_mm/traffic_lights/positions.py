"""Where the lights of an image stand: anywhere, away from all borders, or in the upper half."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

Positions = Literal['uniform', 'centre', 'upper']
Box = tuple[int, int, int, int]
"""Top, left, height and width of a light, pixels."""

_TRIES = 30
# Places for a moved light are few where the margin is wide.
_TRIES_TO_MOVE = 2000


def any_position(
    shape: Sequence[int], size: int, rng: np.random.Generator, margin: int = 0
) -> tuple[int, int]:
    """(top, left) of a box, uniform over all positions ``margin`` pixels or more inside the image."""
    top, left = (int(rng.integers(margin, size - side - margin + 1)) for side in shape[:2])
    return top, left


def free_position(
    shape: Sequence[int], size: int, taken: Iterable[Box], rng: np.random.Generator, margin: int = 0
) -> tuple[int, int] | None:
    """A position that keeps half a light's height from the other lights; None if none is found.

    Occluders can reach that far beyond a light.
    """
    taken = list(taken)
    for _ in range(_TRIES):
        spot = any_position(shape, size, rng, margin)
        if _is_free(spot, shape, taken):
            return spot
    return None


def moved_position(
    shape: Sequence[int],
    size: int,
    taken: Iterable[Box],
    rng: np.random.Generator,
    positions: Positions,
    margin: int = 0,
    margin_share: float = 0.0,
) -> tuple[int, int] | None:
    """A free position that ``positions`` allows; None if none is found.

    Args:
        shape: Height and width of the light.
        size: Side of the image, pixels.
        taken: The other lights.
        rng: Random numbers.
        positions: ``'centre'``: at least ``margin`` from every border; with the probability
            ``margin_share`` nearer than that to one. ``'upper'``: in the upper half of the image, at
            least ``margin`` from every border.
        margin: Pixels.
        margin_share: 0..1.
    """
    height, width = shape[:2]
    taken = list(taken)
    outside = positions == 'centre' and rng.random() < margin_share
    keep = 0 if outside else margin
    rows = (size // 2 if positions == 'upper' else size - keep) - height
    cols = size - keep - width
    if rows < keep or cols < keep:
        return None
    for _ in range(_TRIES_TO_MOVE):
        spot = int(rng.integers(keep, rows + 1)), int(rng.integers(keep, cols + 1))
        if outside and border_distance(spot, shape, size) >= margin:
            continue
        if _is_free(spot, shape, taken):
            return spot
    return None


def border_distance(spot: tuple[int, int], shape: Sequence[int], size: int) -> int:
    """Pixels between a box and the nearest border of the image."""
    return min(*spot, *(size - at - side for at, side in zip(spot, shape)))


def _is_free(spot: tuple[int, int], shape: Sequence[int], taken: Sequence[Box]) -> bool:
    (top, left), (h, w) = spot, shape[:2]
    return all(
        top > other_top + other_h + m
        or other_top > top + h + m
        or left > other_left + other_w + m
        or other_left > left + w + m
        for other_top, other_left, other_h, other_w in taken
        for m in [max(h, other_h) // 2]
    )
