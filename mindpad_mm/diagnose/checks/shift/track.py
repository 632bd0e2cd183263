"""The response of a network along a shift of the scene, and with the object at nine places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

DIRECTIONS = {'up': (-1, 0), 'down': (1, 0), 'left': (0, -1), 'right': (0, 1)}
"""Directions in which the scene moves, as (vertical, horizontal) unit vectors."""
ROWS, COLUMNS = ('top', 'centre', 'bottom'), ('left', 'centre', 'right')


@dataclass
class Track:
    """The response along a shift of the scene in one direction.

    Attributes:
        shifts: (K,) int, pixels by which the scene has moved, starting at 0.
        scores: (K,) float, 0..1.
        gaps: (K,) int, pixels between the object and the border that it moves towards; negative
            where the border cuts the object.
    """

    shifts: np.ndarray
    scores: np.ndarray
    gaps: np.ndarray

    @property
    def whole(self) -> np.ndarray:
        """(K,) bool: where the object is fully inside the frame."""
        return self.gaps >= 0

    def statistics(self, extent: int) -> dict[str, Any]:
        """Statistics of the shifts at which the object is fully inside the frame.

        Args:
            extent: Size of the input along the direction of motion, pixels.

        Returns:
            ``mean`` and ``min`` response; ``min_shift``, the shift of the minimum in pixels;
            ``flicker``, the largest change between neighbouring shifts, and ``flicker_far``, the same
            far from the border; ``near`` and ``far``, the mean response where the gap to the border
            is at most, or more than, a sixteenth of the input (None if there is no such shift).
        """
        scores, gaps = self.scores[self.whole], self.gaps[self.whole]
        near = gaps <= extent / 16
        means = [float(scores[part].mean()) if part.any() else None for part in (near, ~near)]
        return {
            'mean': float(scores.mean()),
            'min': float(scores.min()),
            'min_shift': int(self.shifts[scores.argmin()]),
            'flicker': float(np.abs(np.diff(scores)).max(initial=0)),
            'flicker_far': float(np.abs(np.diff(scores[~near])).max(initial=0)),
            'near': means[0],
            'far': means[1],
        }


def mean_over_scenes(nine: np.ndarray) -> np.ndarray:
    """The mean response at each of the nine places.

    Args:
        nine: (scenes, 3, 3), NaN where the scene is too small for the object to be at a place.

    Returns:
        (3, 3) mean over the scenes that have a value; NaN where none has.
    """
    reached = ~np.isnan(nine)
    count = reached.sum(0)
    total = np.where(reached, nine, 0).sum(0)
    return np.where(count, total / np.maximum(count, 1), np.nan)
