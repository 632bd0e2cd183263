"""Where in an image a box lies: in which frame by its centre, how far from the border."""

from __future__ import annotations

import abc
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mindpad_mm.core.errors import UserError

BORDER_PX = (8, 16, 32, 64, 128)
"""Default edges of the bins of distance to the border, pixels."""


class Partition(abc.ABC):
    """A division of all boxes into regions, each box in exactly one.

    Attributes:
        names: Of the regions, in order; they begin the names of figures.
        keeps_matches: What happens to a detection whose object lies in another region. False: a
            detection outside the region is taken away before matching. True: it stays, counts as a
            hit where it matches an object of the region, and is ignored otherwise; that is COCO's
            rule for areas, and what narrow regions need, lest a pixel's error of localisation look
            like a miss.
    """

    names: Sequence[str]
    keeps_matches: bool

    @abc.abstractmethod
    def assign(self, boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """The region of each box.

        Args:
            boxes: (N, 4) x, y, width, height in pixels.
            sizes: (N, 2) width and height of the box's image in pixels.

        Returns:
            (N,) int, indices into ``names``.
        """


class Whole(Partition):
    """The whole image: the usual AP."""

    names = ('all',)
    keeps_matches = True

    def assign(self, boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        return np.zeros(len(boxes), int)


class Zones(Partition):
    """Five nested frames, the outermost first: a box belongs to the frame that its centre is in.

    Frame i lies between the image's rectangle shrunk by i/10 and by (i+1)/10 of each side, at every
    side; a centre on the line between two frames belongs to the outer one, and one outside the
    image to the outermost.

    Source: Zheng et al., Zone Evaluation: Revealing Spatial Bias in Object Detection, TPAMI 2024
    (arXiv 2310.13215). As in the authors' own evaluation, detections outside the frame are taken
    away and objects outside it ignored.
    """

    names = tuple(f'zone{i}' for i in range(5))
    keeps_matches = False
    areas = np.array([0.36, 0.28, 0.20, 0.12, 0.04])
    """(5,) share of the image that each frame covers."""

    def assign(self, boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        centres = boxes[:, :2] + boxes[:, 2:] / 2
        depth = (np.minimum(centres, sizes - centres) / sizes).min(axis=1)
        return np.searchsorted(np.arange(1, 5) / 10, depth, side='left')


@dataclass(frozen=True)
class BorderBins(Partition):
    """Bins of the distance between a box and the nearest side of its image.

    Args:
        edges: Ascending, above 0, pixels. ``(8, 32)`` makes the bins [0, 8), [8, 32) and
            [32, inf). A box that reaches over the side has distance 0.

    Raises:
        UserError: The edges do not ascend from above 0.
    """

    edges: Sequence[float] = BORDER_PX
    names: Sequence[str] = field(init=False)
    keeps_matches = True

    def __post_init__(self) -> None:
        ascend = np.all(np.diff([0, *self.edges]) > 0)
        # An infinite edge would be one bin too many, and JSON cannot keep it.
        if not len(self.edges) or not ascend or not np.isfinite(self.edges).all():
            raise UserError(f'border_px {self.edges!r} must be pixels above 0 that ascend')
        ends = [*(f'{edge:g}' for edge in (0, *self.edges)), 'up']
        names = tuple(f'border_{low}_{high}' for low, high in itertools.pairwise(ends))
        object.__setattr__(self, 'names', names)

    def assign(self, boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.edges, border_distance(boxes, sizes), side='right')


def border_distance(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(N,) pixels between each box and the nearest side of its image, at least 0.

    Args:
        boxes: (N, 4) x, y, width, height in pixels.
        sizes: (N, 2) width and height of the box's image in pixels.
    """
    far = sizes - boxes[:, :2] - boxes[:, 2:]
    return np.maximum(np.minimum(boxes[:, :2], far).min(axis=1), 0)
