"""The score of a pasted object, from a detector's final detections."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from mmengine.structures import InstanceData

# IoUs computed at once in match_all.
_PAIRS_AT_ONCE = 1 << 20


def paired_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of boxes, with broadcasting.

    Args:
        boxes, others: (..., 4) ``x1, y1, x2, y2``, any unit.

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
    """The best detection of each of N pasted boxes; all arrays are float32.

    Attributes:
        scores: (N,) score in 0..1; 0 if there is no match.
        ious: (N,) IoU with the pasted box in 0..1; 0 if there is no match.
        boxes: (N, 4) ``x1, y1, x2, y2`` of the detection; NaN if there is no match.
    """

    scores: np.ndarray
    ious: np.ndarray
    boxes: np.ndarray


def match_each(
    detections: list[InstanceData], label: int, targets: np.ndarray, iou_thr: float
) -> Matches:
    """The best detection of each pasted box, with one box per image.

    Args:
        detections: Final detections (``bboxes``, ``scores``, ``labels``) of N images.
        label: Index of the object's class.
        targets: (N, 4) the box pasted into each image, ``x1, y1, x2, y2``, in the unit of
            ``bboxes``.
        iou_thr: Smallest IoU of a match, in 0..1.

    Returns:
        For each image the match with the highest score; if scores are equal, the one with the
        largest IoU.
    """
    scores, ious = np.zeros((2, len(targets)), np.float32)
    found = np.full((len(targets), 4), np.nan, np.float32)
    for index, (instances, target) in enumerate(zip(detections, targets)):
        boxes, confidences = _of_label(instances, label)
        overlaps = paired_iou(boxes, target)
        matching = np.flatnonzero(overlaps >= iou_thr)
        if len(matching):
            best = matching[np.lexsort((overlaps[matching], confidences[matching]))[-1]]
            scores[index], ious[index] = confidences[best], overlaps[best]
            found[index] = boxes[best]
    return Matches(scores, ious, found)


def match_all(
    detections: InstanceData, label: int, targets: np.ndarray, iou_thr: float
) -> np.ndarray:
    """The highest score at each of many boxes in the same image.

    Args:
        detections: The image's final detections.
        label: Index of the object's class.
        targets: (N, 4) boxes, ``x1, y1, x2, y2``.
        iou_thr: Smallest IoU of a match, in 0..1.

    Returns:
        (N,) float32 scores in 0..1; 0 for boxes without a match.
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
    """Boxes (M, 4) and scores (M,) of the detections of a class."""
    wanted = instances.labels == label
    boxes = instances.bboxes[wanted].float().cpu().numpy()
    return boxes, instances.scores[wanted].float().cpu().numpy()
