"""Scores near the sides of the photo.

Along one side of one scene, the border and the scene cannot be told apart: the sky is at the top. What is
measured here says where scores fall, not why.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from mindpad_mm.scan.phase import GridPhase
from mindpad_mm.scan.rounding import nanmean, rounded_or_none
from mindpad_mm.scan.score_map import SIDES, ScoreMap

# Pixels between the outermost line of positions and the last line that it is compared with.
NEXT_PX = 16


class BorderProfile(TypedDict):
    """Mean ``score`` at each ``distance`` from a side, pixels; None if all positions are flagged."""

    distance: list[int]
    score: list[float | None]


class EdgeDrop(TypedDict):
    """See :func:`edge_drop`."""

    top: float | None
    bottom: float | None
    left: float | None
    right: float | None


def border_profile(score_map: ScoreMap, side: str) -> BorderProfile:
    """Mean score by distance from one side, distances ascending."""
    axis = 1 if side in ('top', 'bottom') else 0
    means = nanmean(score_map.scores, axis)
    distance = score_map.distance(side)
    order = np.argsort(distance)
    return {
        'distance': [int(d) for d in distance[order]],
        'score': [rounded_or_none(mean) for mean in means[order]],
    }


def edge_drop(score_map: ScoreMap, phase: GridPhase | None) -> EdgeDrop:
    """How far scores fall from the lines of positions next to the outermost line to that line itself.

    For each side, each position of the outermost line is compared with the mean of the positions next to
    it: those up to 16 px further inside, at least one. The scene is the same, but its content differs
    between these lines, so it is not told apart from the border.

    The outermost line lies against the side at the top and left; at the bottom and right it may lie up to
    a stride less one pixel from it.

    The pattern of the detector's grid is subtracted first, except where the object is found at none of
    the compared positions.

    Args:
        score_map: The map.
        phase: Pattern of the grid. None: nothing is subtracted.

    Returns:
        By side, the mean drop, a difference of scores. Positive: the outermost line scores lower than the
        lines next to it. None if no position has a neighbour that is not flagged.
    """
    effect = np.zeros(score_map.scores.shape)
    if phase is not None:
        effect = np.nan_to_num(phase.effect(score_map.rows, score_map.cols))
    drops = {side: _drop(score_map, effect, side) for side in SIDES}
    return EdgeDrop(**drops)  # type: ignore[typeddict-item]  # the sides are its keys


def _drop(score_map: ScoreMap, effect: np.ndarray, side: str) -> float | None:
    distance = score_map.distance(side)
    order = np.argsort(distance)
    beyond = distance[order] - distance[order[0]]
    chosen = order[(beyond <= NEXT_PX) | (np.arange(len(order)) < 2)]
    axis = 0 if side in ('top', 'bottom') else 1
    scores, effects = (values.take(chosen, axis) for values in (score_map.scores, effect))
    found = np.nan_to_num(scores).max(axis, keepdims=True) > 0
    scores = scores - np.where(found, effects, 0)
    outermost, following = np.split(scores, [1], axis)
    return rounded_or_none(nanmean(nanmean(following, axis) - outermost.squeeze(axis)))
