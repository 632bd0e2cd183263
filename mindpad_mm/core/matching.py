"""From a detector's final detections to the score of a pasted object."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from mmengine.structures import InstanceData

# Pairs compared at once when one set of detections meets every position of a scan.
_PAIRS_AT_ONCE = 1 << 20


def paired_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes that broadcast against each other.

    Args:
        boxes, others: (..., 4) ``x1, y1, x2, y2``.

    Returns:
        (...) float64 in 0..1; 0 where the union is empty.
    """
    boxes, others = np.asarray(boxes, np.float64), np.asarray(others, np.float64)
    top_left = np.maximum(boxes[..., :2], others[..., :2])
    bottom_right = np.minimum(boxes[..., 2:], others[..., 2:])
    overlap = np.clip(bottom_right - top_left, 0, None).prod(-1)
    areas = [np.clip(b[..., 2:] - b[..., :2], 0, None).prod(-1) for b in (boxes, others)]
    union = areas[0] + areas[1] - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)


class Matches(NamedTuple):
    """The best detection of each of N pasted boxes, float32.

    Attributes:
        scores: (N,) its confidence, 0..1; 0 where none counts.
        ious: (N,) its IoU with the pasted box; 0 where none counts.
        boxes: (N, 4) its box, ``x1, y1, x2, y2``; NaN where none counts.
    """

    scores: np.ndarray
    ious: np.ndarray
    boxes: np.ndarray


def match_each(
    detections: list[InstanceData], label: int, targets: np.ndarray, iou_thr: float
) -> Matches:
    """The best detection of each pasted box, one image a box.

    Args:
        detections: N final detections (``bboxes``, ``scores``, ``labels``), one an image.
        label: Index of the asked class.
        targets: (N, 4) the box pasted in each image, ``x1, y1, x2, y2``.
        iou_thr: A detection counts where its IoU with the pasted box is at least this.

    Returns:
        Of those that count the most confident; where confidences tie, that of the larger IoU.
    """
    scores, ious = np.zeros((2, len(targets)), np.float32)
    found = np.full((len(targets), 4), np.nan, np.float32)
    for index, (instances, target) in enumerate(zip(detections, targets)):
        boxes, confidences = _of_label(instances, label)
        overlaps = paired_iou(boxes, target)
        counted = np.flatnonzero(overlaps >= iou_thr)
        if len(counted):
            best = counted[np.lexsort((overlaps[counted], confidences[counted]))[-1]]
            scores[index], ious[index] = confidences[best], overlaps[best]
            found[index] = boxes[best]
    return Matches(scores, ious, found)


def match_all(
    detections: InstanceData, label: int, targets: np.ndarray, iou_thr: float
) -> np.ndarray:
    """The best confidence at each of many boxes in one and the same image.

    Args:
        detections: The image's final detections.
        label: Index of the asked class.
        targets: (N, 4) boxes.
        iou_thr: As in :func:`match_each`.

    Returns:
        (N,) float32, 0 where no detection of the label overlaps enough.
    """
    boxes, confidences = _of_label(detections, label)
    best = np.zeros(len(targets), np.float32)
    if not len(boxes):
        return best
    step = max(1, _PAIRS_AT_ONCE // len(boxes))
    for start in range(0, len(targets), step):
        overlaps = paired_iou(targets[start : start + step, None], boxes)
        best[start : start + step] = np.where(overlaps >= iou_thr, confidences, 0).max(1)
    return best


def _of_label(instances: InstanceData, label: int) -> tuple[np.ndarray, np.ndarray]:
    wanted = instances.labels == label
    boxes = instances.bboxes[wanted].float().cpu().numpy()
    return boxes, instances.scores[wanted].float().cpu().numpy()
