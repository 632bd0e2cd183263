"""Ties: equal scores whose order can change an image's detections."""

from __future__ import annotations

import torch
from mmdet.structures.bbox import bbox_overlaps
from torch import Tensor

# If more boxes than this have the same score, they are assumed to overlap.
MOST_EQUAL = 64


class Ties:
    """The ties of one image.

    Args:
        count: How many of the boxes that NMS keeps become detections.

    Attributes:
        scores: Scores whose tie at the cut decides which row is taken.
        candidates: The input of each NMS call: boxes (N, 4), scores (N,), best first, and the IoU
            threshold. With many boxes there is one call for each class.
        kept: The scores that each NMS call kept, best first, at most ``count`` + 1.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.clear()

    def clear(self) -> None:
        """Start another image."""
        self.scores: list[float] = []
        self.candidates: list[tuple[Tensor, Tensor, float]] = []
        self.kept: list[Tensor] = []

    def matter(self, floor: float) -> bool:
        """Whether any tie of a score of at least ``floor`` can change the detections."""
        left_out: list[float] = []
        if self.kept:
            kept = torch.cat(self.kept).sort(descending=True).values.tolist()
            # Scores below the last detection that is taken do not matter either.
            floor = max([floor, *kept[self.count - 1 : self.count]])
            left_out = kept[self.count : self.count + 1]
        if any(score >= floor for score in [*self.scores, *left_out]):
            return True
        return any(equal_boxes_overlap(*each, floor) for each in self.candidates)


def equal_boxes_overlap(boxes: Tensor, scores: Tensor, threshold: float, floor: float) -> bool:
    """Whether a box can suppress another of the same score of at least ``floor``.

    Args:
        boxes, scores: (N, 4) and (N,), best first.
        threshold: The IoU threshold of NMS.
        floor: 0..1.
    """
    scores = scores[: int((scores >= floor).sum())]
    for apart in range(1, MOST_EQUAL + 1):
        first = (scores[apart:] == scores[:-apart]).nonzero()[:, 0]
        if not len(first):
            return False
        overlaps = bbox_overlaps(boxes[first], boxes[first + apart], is_aligned=True)
        if (overlaps >= threshold).any():
            return True
    return True
