"""Why an object is not found at its blind places: one cause for each, after TIDE.

TIDE (https://arxiv.org/abs/2008.08115) sorts the errors of a detector. Here one object is pasted, so one
cause is enough. A place is blind if its score is below ``limit``; boxes count if they score at least
that. The first of these that holds is the cause:

====================  ====================================================================  ==========
cause                 what is at the place                                                  told by
====================  ====================================================================  ==========
``suppressed``        a box that would be a match, before non-maximum suppression           raw boxes
``wrong class``       a box of another class that fits the object; the clean scene has      final boxes
                      none there
``imprecise``         a box of the class with an IoU of at least 0.1, but too little for    final boxes
                      a match; the clean scene has none there
``low score``         boxes that fit the object, all with low scores: the background won    raw boxes
``no box``            no box that fits the object, of any class and score                   raw boxes
``unknown``           none of the final boxes above; the raw boxes cannot be had            final boxes
====================  ====================================================================  ==========

Raw boxes are those before the score threshold and the suppression. A function that is scanned
(:class:`mindpad_mm.CallableDetector`) does not give them. Boxes fit with an IoU of at least ``iou_thr``.
Detectors without suppression have no ``suppressed`` places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from mmengine.structures import InstanceData
from typing_extensions import NotRequired

from mindpad_mm.core.files import save_arrays
from mindpad_mm.core.matching import match_each, paired_iou

CAUSES = ('', 'no box', 'low score', 'imprecise', 'wrong class', 'suppressed', 'unknown')
"""Names of the causes; the index is the value in :attr:`Causes.causes`. 0: the place is not blind."""
CAUSE_WORDS = {
    'no box': 'no box fits the object, of any class and score',
    'low score': 'boxes fit the object, all with low scores: the background won',
    'imprecise': 'a box of the class is there, but it overlaps the object too little for a match',
    'wrong class': 'a box of another class fits the object',
    'suppressed': 'a box would match, but non-maximum suppression removed it',
    'unknown': 'the final boxes do not tell, and there are no others',
}
"""Each cause in words."""
NO_BOX, LOW_SCORE, IMPRECISE, WRONG_CLASS, SUPPRESSED, UNKNOWN = range(1, len(CAUSES))
FILE = 'causes.npz'
# What TIDE takes for the overlap with background.
_TOUCHING_IOU = 0.1
# Where an object is found nowhere, the map has no limit of its own.
_NOWHERE_LIMIT = 0.3


class CauseCounts(TypedDict):
    """Blind places of one map: their ``limit``, a score, and how many have each cause.

    ``at_border`` counts those of a window that are not blind in the shifted one, where the border is
    far. Only windows have it.
    """

    limit: float
    counts: dict[str, int]
    at_border: NotRequired[dict[str, int]]


@dataclass
class Causes:
    """Causes with the axes of the scan's scores: (background, object, size, row, col).

    Attributes:
        causes: uint8, index in :data:`CAUSES`.
        raw_scores: float32, best score in 0..1 of a raw box of the class that fits the object; 0 if
            there is none, NaN where the place is not blind or raw boxes cannot be had.
        raw_ious: float32, largest IoU of the object with a raw box of any class, likewise.
    """

    causes: np.ndarray
    raw_scores: np.ndarray
    raw_ious: np.ndarray

    def save(self, folder: Path) -> None:
        """Write ``causes.npz``; equal arrays give equal bytes."""
        save_arrays(folder / FILE, vars(self))

    @classmethod
    def load(cls, folder: Path) -> Causes:
        """Read what :meth:`save` wrote."""
        with np.load(folder / FILE) as stored:
            return cls(*(stored[name] for name in ('causes', 'raw_scores', 'raw_ious')))

    def name_at(self, place: tuple[int, ...]) -> str:
        """The cause at (background, object, size, row, col); empty if the place is not blind."""
        return CAUSES[int(self.causes[place])]

    def counts(
        self, index: tuple[int, ...], limit: float, open_scores: np.ndarray | None = None
    ) -> CauseCounts:
        """How many places of a map have each cause, those without any left out.

        Args:
            index: Indices (background, object, size) of the map.
            limit: Score below which places are blind, 0..1.
            open_scores: (R, C) scores with the border far; NaN where there are none. Default: none.
        """
        causes = self.causes[index]
        found: CauseCounts = {'limit': limit, 'counts': _numbers(causes)}
        if open_scores is not None:
            found['at_border'] = _numbers(causes[open_scores >= limit])
        return found


def _numbers(causes: np.ndarray) -> dict[str, int]:
    """How often each cause is there, by its name."""
    numbers = np.bincount(causes.ravel(), minlength=len(CAUSES)).tolist()
    return {name: count for name, count in zip(CAUSES[1:], numbers[1:]) if count}


def blind_limit(statistics: Any) -> float:
    """Score below which places of a map are blind, from its statistics.

    It is the scan's own (``blind_below``), or 0.3 where the object is found nowhere.
    """
    return statistics.get('blind_below') or _NOWHERE_LIMIT


def classify(
    final: Sequence[InstanceData],
    raw: Sequence[InstanceData] | None,
    clean: InstanceData,
    label: int,
    targets: np.ndarray,
    limit: float,
    iou_thr: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The cause at each of N blind places, and its raw boxes.

    Args:
        final: Final detections (``bboxes``, ``scores``, ``labels``) of the N images.
        raw: All boxes of the N images, before threshold and suppression. None: they cannot be had.
        clean: Final detections in the scene without the object.
        label: Index of the object's class.
        targets: (N, 4) the box pasted into each image, ``x1, y1, x2, y2``.
        limit: Score from which boxes count, 0..1.
        iou_thr: Smallest IoU of a match, 0..1.

    Returns:
        (N,) uint8 index in :data:`CAUSES`, and (N,) float32 ``raw_scores`` and ``raw_ious`` as in
        :class:`Causes`.
    """
    causes = np.full(len(targets), UNKNOWN, np.uint8)
    scores, ious = np.full((2, len(targets)), np.nan, np.float32)
    if raw is not None:
        scores = match_each(list(raw), label, targets, iou_thr).scores
        ious = np.array([_best_iou(each, target) for each, target in zip(raw, targets)], np.float32)
        causes = np.where(ious >= iou_thr, LOW_SCORE, NO_BOX).astype(np.uint8)
    # The detector's own score, which may differ from the scan's in its last bits.
    kept = match_each(list(final), label, targets, iou_thr).scores
    for index, (found, target) in enumerate(zip(final, targets)):
        boxes, labels = _counting(found, limit)
        overlaps = paired_iou(boxes, target)
        new = ~_in_both(boxes, labels, *_counting(clean, limit))
        right = labels == label
        if (new & ~right & (overlaps >= iou_thr)).any():
            causes[index] = WRONG_CLASS
        elif (new & right & (overlaps >= _TOUCHING_IOU) & (overlaps < iou_thr)).any():
            causes[index] = IMPRECISE
    if raw is not None:
        causes[(scores >= limit) & (kept < limit)] = SUPPRESSED
    return causes, scores, ious


def _best_iou(found: InstanceData, target: np.ndarray) -> float:
    return float(paired_iou(found.bboxes.float().cpu().numpy(), target).max(initial=0))


def _counting(found: InstanceData, limit: float) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (M, 4) and labels (M,) of the detections that score at least ``limit``."""
    chosen = found[found.scores >= limit]
    return chosen.bboxes.float().cpu().numpy(), chosen.labels.cpu().numpy()


def _in_both(
    boxes: np.ndarray, labels: np.ndarray, others: np.ndarray, other_labels: np.ndarray
) -> np.ndarray:
    """(M,) whether each box is also among the others: same class, IoU of at least 0.5."""
    same = labels[:, None] == other_labels
    return (same & (paired_iou(boxes[:, None], others) >= 0.5)).any(1)


def causes_words(maps: Sequence[Any]) -> str:
    """The causes of all maps in a sentence; empty if none were looked for.

    Args:
        maps: Statistics of the maps; those with ``causes`` count.
    """
    found: list[CauseCounts] = [each['causes'] for each in maps if 'causes' in each]
    if not found:
        return ''
    total, shares = _shares([each['counts'] for each in found])
    if not total:
        return 'No place is blind.'
    words = f'Causes at the {total} blind places: {shares}.'
    windows = [each['at_border'] for each in found if 'at_border' in each]
    if windows:
        total, shares = _shares(windows)
        words += f' Not blind with the border far: {total} of them{shares and f" ({shares})"}.'
    return words


def _shares(counts: Sequence[Mapping[str, int]]) -> tuple[int, str]:
    """How many places have a cause, and each cause's share of them, the most frequent first."""
    totals = {name: sum(each.get(name, 0) for each in counts) for name in CAUSES[1:]}
    total = sum(totals.values())
    order = sorted((name for name in totals if totals[name]), key=lambda name: -totals[name])
    return total, ', '.join(f'{name} {100 * totals[name] / total:.0f} %' for name in order)
