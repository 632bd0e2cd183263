"""Regions of an image: zones for the box centre, and bins of the box's distance to the border."""

from __future__ import annotations

import abc
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mindpad_mm.core.errors import UserError
from mindpad_mm.settings.compare import BORDER_PX


class Partition(abc.ABC):
    """Divides boxes into regions; each box is in exactly one.

    Attributes:
        names: Names of the regions, in order; names of metrics begin with them.
        keeps_matches: The rule for detections outside the region. False: they are removed before
            matching. True, as in COCO's area ranges: they are true positives if they match an object in
            the region, and are ignored otherwise. Narrow regions need this rule, because with the other
            one a localisation error of one pixel would be a miss.
    """

    names: Sequence[str]
    keeps_matches: bool

    @abc.abstractmethod
    def assign(self, boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Find the region of each box.

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
    """Five nested zones, the outermost first. A box belongs to the zone that contains its centre.

    Zone i is the part of the image between margins of i/10 and (i+1)/10 of its width and height. A centre
    on the line between two zones belongs to the outer one, a centre outside the image to the outermost.

    Source: Zheng et al., Zone Evaluation: Revealing Spatial Bias in Object Detection, TPAMI 2024
    (arXiv 2310.13215). As in the authors' code, detections outside the zone are removed, and objects
    outside it are ignored.
    """

    names = tuple(f'zone{i}' for i in range(5))
    keeps_matches = False
    areas = np.array([0.36, 0.28, 0.20, 0.12, 0.04])
    """(5,) share of the image area that each zone covers."""

    def assign(self, boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        centres = boxes[:, :2] + boxes[:, 2:] / 2
        depth = (np.minimum(centres, sizes - centres) / sizes).min(axis=1)
        return np.searchsorted(np.arange(1, 5) / 10, depth, side='left')


@dataclass(frozen=True)
class BorderBins(Partition):
    """Bins of the distance between a box and the nearest border of its image.

    Args:
        edges: Bin edges in pixels, above 0 and ascending. ``(8, 32)`` gives the bins [0, 8),
            [8, 32) and [32, inf). A box that extends beyond the image has distance 0.

    Raises:
        UserError: The edges are not ascending, finite and above 0.
    """

    edges: Sequence[float] = BORDER_PX
    names: Sequence[str] = field(init=False)
    keeps_matches = True

    def __post_init__(self) -> None:
        ascend = np.all(np.diff([0, *self.edges]) > 0)
        # An infinite edge would add an empty bin, and JSON has no infinity.
        if not len(self.edges) or not ascend or not np.isfinite(self.edges).all():
            raise UserError(f'`border_px` must be ascending and above 0, not {self.edges!r}')
        ends = [*(f'{edge:g}' for edge in (0, *self.edges)), 'up']
        names = tuple(f'border_{low}_{high}' for low, high in itertools.pairwise(ends))
        object.__setattr__(self, 'names', names)

    def assign(self, boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.edges, border_distance(boxes, sizes), side='right')


def border_distance(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Distance between each box and the nearest border of its image.

    Args:
        boxes: (N, 4) x, y, width, height in pixels.
        sizes: (N, 2) width and height of the box's image in pixels.

    Returns:
        (N,) pixels, at least 0.
    """
    far = sizes - boxes[:, :2] - boxes[:, 2:]
    return np.maximum(np.minimum(boxes[:, :2], far).min(axis=1), 0)
