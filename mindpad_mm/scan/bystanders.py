"""What else changes: other boxes of the clean scene while an object slides over it.

Bystanders are the detections of the clean scene that score at least 0.3. At each position of the object
each of them is in one of these states:

- ``touched``: it overlaps the object, so that it may well change; it is not counted;
- ``kept``: a detection of its class with an IoU of at least 0.5 is there, and scores at least 0.3;
- ``changed``: it is not, but a new detection of another class is;
- ``vanished``: there is neither.

A new detection, apart from the object and from all boxes that changed, has ``appeared``. Any pasted
object changes something: what happens at least 128 px from it is the baseline for what happens nearby.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from mmengine.structures import InstanceData

from mindpad_mm.core.files import save_arrays
from mindpad_mm.core.matching import paired_iou

STATES = ('', 'touched', 'kept', 'changed', 'vanished')
"""Names of the states; the index is the value in :attr:`Bystanders.states`. 0: there is no such box."""
TOUCHED, KEPT, CHANGED, VANISHED = range(1, len(STATES))
FILE = 'bystanders.npz'
LEAST_SCORE = 0.3
FAR_AWAY = 128
_SAME_IOU = 0.5


class BystanderStatistics(TypedDict):
    """Bystanders of one map.

    ``boxes`` is their number, ``classes`` the name of each one's class, ``any_fraction`` the share of
    positions at which at least one changed, vanished or appeared. ``lost_near`` and ``lost_far`` are the
    shares of those nearer to the object than ``far_px`` pixels, and of the others, that changed or
    vanished; None if there are none.
    """

    boxes: int
    classes: list[str]
    positions: int
    any_fraction: float
    changed: int
    vanished: int
    appeared: int
    far_px: int
    watched_near: int
    watched_far: int
    lost_near: float | None
    lost_far: float | None


@dataclass
class Bystanders:
    """Bystanders with the axes of the scan's scores: (background, object, size, row, col).

    Attributes:
        states: (..., K) uint8, index in :data:`STATES` for each box of the scene.
        appeared: (..., 2) uint16, boxes that appeared: all, and those far from the object.
        boxes: (B, K, 4) float32 boxes of the clean scenes, ``x1, y1, x2, y2`` in pixels; NaN: none.
        scores: (B, K) float32, their scores in 0..1; NaN: none.
        labels: (B, K) int16, index of their class; -1: none.
    """

    states: np.ndarray
    appeared: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    def save(self, folder: Path) -> None:
        """Write ``bystanders.npz``; equal arrays give equal bytes."""
        save_arrays(folder / FILE, vars(self))

    @classmethod
    def load(cls, folder: Path) -> Bystanders:
        """Read what :meth:`save` wrote."""
        with np.load(folder / FILE) as stored:
            return cls(**dict(stored))

    def events(self, index: tuple[int, ...]) -> np.ndarray:
        """(R, C) how many boxes of a map changed, vanished or appeared."""
        return (self.states[index] >= CHANGED).sum(-1) + self.appeared[index][..., 0]

    def statistics(
        self,
        index: tuple[int, ...],
        known: np.ndarray,
        targets: np.ndarray,
        classes: Sequence[str],
    ) -> BystanderStatistics:
        """The bystanders of a map.

        Args:
            index: Indices (background, object, size) of the map.
            known: (R, C) bool, where the map has positions.
            targets: (R, C, 4) the pasted box there, ``x1, y1, x2, y2``.
            classes: Names of the detector's classes.
        """
        states, appeared = self.states[index][known], self.appeared[index][known]
        labels = self.labels[index[0]]
        present = labels >= 0
        away = gaps(self.boxes[index[0]], targets[known][:, None])
        lost, watched = states >= CHANGED, states >= KEPT
        shares: list[float | None] = []
        numbers = []
        for part in (watched & (away < FAR_AWAY), watched & (away >= FAR_AWAY)):
            numbers.append(int(part.sum()))
            shares.append(round(float(lost[part].mean()), 6) if numbers[-1] else None)
        return {
            'boxes': int(present.sum()),
            'classes': [classes[label] for label in labels[present].tolist()],
            'positions': len(states),
            'any_fraction': round(float((lost.any(1) | (appeared[:, 0] > 0)).mean()), 6),
            'changed': int((states == CHANGED).sum()),
            'vanished': int((states == VANISHED).sum()),
            'appeared': int(appeared[:, 0].sum()),
            'far_px': FAR_AWAY,
            'watched_near': numbers[0],
            'watched_far': numbers[1],
            'lost_near': shares[0],
            'lost_far': shares[1],
        }


def gaps(boxes: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Pixels between boxes (..., 4), the larger of both axes; below 0 where they overlap."""
    ahead = boxes[..., :2] - target[..., 2:]
    behind = target[..., :2] - boxes[..., 2:]
    return np.maximum(ahead, behind).max(-1)


def counting(found: InstanceData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (M, 4), scores (M,) and labels (M,) of the detections that score at least 0.3."""
    chosen = found[found.scores >= LEAST_SCORE]
    boxes, scores = (chosen[name].float().cpu().numpy() for name in ('bboxes', 'scores'))
    return boxes, scores, chosen.labels.cpu().numpy()


def watch(
    detections: Sequence[InstanceData], clean: InstanceData, targets: np.ndarray
) -> np.ndarray:
    """The state of each of K bystanders in N images, and what appeared.

    Args:
        detections: Final detections (``bboxes``, ``scores``, ``labels``) of the N images.
        clean: Final detections in the scene without the object.
        targets: (N, 4) the box pasted into each image, ``x1, y1, x2, y2``.

    Returns:
        (N, K + 2) float32: K states, how many boxes appeared, and how many of them far from the object.
    """
    boxes, _, labels = counting(clean)
    result = np.zeros((len(targets), len(boxes) + 2), np.float32)
    for row, found, target in zip(result, detections, targets):
        others, _, other_labels = counting(found)
        fits = paired_iou(boxes[:, None], others) >= _SAME_IOU  # (K, M)
        same = labels[:, None] == other_labels
        kept, new = (fits & same).any(1), ~(fits & same).any(0)
        changed = ~kept & (fits & new).any(1)
        row[: len(boxes)] = np.select([kept, changed], [KEPT, CHANGED], VANISHED)
        row[: len(boxes)][gaps(boxes, target) < 0] = TOUCHED
        away = gaps(others, target)
        appeared = new & (away >= 0) & ~(fits & ~kept[:, None]).any(0)
        row[len(boxes) :] = appeared.sum(), (appeared & (away >= FAR_AWAY)).sum()
    return result


def bystander_words(maps: Sequence[Any]) -> str:
    """The bystanders of all maps in a few sentences; empty if they were not watched.

    Args:
        maps: Statistics of the maps; those with ``bystanders`` count.
    """
    found: list[BystanderStatistics] = [each['bystanders'] for each in maps if 'bystanders' in each]
    if not found:
        return ''
    positions = sum(each['positions'] for each in found)
    share = sum(each['any_fraction'] * each['positions'] for each in found) / positions
    vanished, changed, appeared = (
        sum(each[name] for each in found) for name in ('vanished', 'changed', 'appeared')
    )
    words = (
        f'Other boxes (score at least {LEAST_SCORE}, not touching the object): at {100 * share:.1f} % of '
        f'the positions at least one vanishes ({vanished} in all), changes class ({changed}) or appears '
        f'({appeared}).'
    )
    near, far = (_lost(found, place) for place in ('near', 'far'))
    if near is None and far is None:
        return words + ' The clean scene has none that could be lost.'
    words += (
        f' Lost within {FAR_AWAY} px of the object: {_percent(near)}; farther away: {_percent(far)}'
    )
    return words + ', the baseline: any pasted object changes something.'


def _lost(found: Sequence[Any], place: str) -> float | None:
    """Share of all boxes at a place that were lost."""
    watched = sum(each[f'watched_{place}'] for each in found)
    lost = sum((each[f'lost_{place}'] or 0) * each[f'watched_{place}'] for each in found)
    return lost / watched if watched else None


def _percent(share: float | None) -> str:
    return 'no boxes' if share is None else f'{100 * share:.1f} %'
