"""One confidence map: the scores of an object at every position of a scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mindpad_mm.core.scenes import Part

SIDES = ('top', 'bottom', 'left', 'right')


@dataclass(frozen=True)
class ScoreMap:
    """Scores of one object at one size over one scene.

    Attributes:
        scores: (R, C) float64 in 0..1; NaN at flagged positions.
        rows: (R,) pixel rows of the object's top edge.
        cols: (C,) pixel columns of the object's left edge.
        box_size: (height, width) of the object, pixels.
        photo: The part of the scene that the photo fills; distances are to its sides.
    """

    scores: np.ndarray
    rows: np.ndarray
    cols: np.ndarray
    box_size: tuple[int, int]
    photo: Part

    @property
    def span(self) -> tuple[int, int]:
        """Range of possible positions, (vertical, horizontal) pixels."""
        return self.photo.height - self.box_size[0], self.photo.width - self.box_size[1]

    def distance(self, side: str) -> np.ndarray:
        """Pixels between the object and a side of the photo.

        Args:
            side: One of :data:`SIDES`.

        Returns:
            (R,) for top and bottom, (C,) for left and right.
        """
        rows, cols = self.rows - self.photo.top, self.cols - self.photo.left
        return {
            'top': rows,
            'bottom': self.span[0] - rows,
            'left': cols,
            'right': self.span[1] - cols,
        }[side]
