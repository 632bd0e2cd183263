"""What the border costs at each position: the score with the border far minus that with it near."""

from __future__ import annotations

import numpy as np

from mindpad_mm.scan.score_map import SIDES, ScoreMap
from mindpad_mm.scan.statistics import LossStatistics

# Pixels from a side.
NEAR = 16


def loss_statistics(loss: ScoreMap, far: int) -> LossStatistics:
    """Mean losses near the sides of a window, and far from them.

    Args:
        loss: The map of losses, differences of scores.
        far: Pixels; positions this far from every side are the interior.

    Returns:
        ``top``, ``bottom``, ``left``, ``right``: within 16 px of this side only; ``corners``: within 16
        px of two sides; ``border``: within 16 px of any side; ``interior``: at least ``far`` from every
        side, both in the window and in the shifted one. No border can matter there, so it shows how much
        scores vary by chance or with the place in the window. None where there is no position.
    """
    distance = {side: loss.distance(side) for side in SIDES}
    near = {side: distance[side] <= NEAR for side in SIDES}
    rows = near['top'].astype(int) + near['bottom']
    cols = near['left'].astype(int) + near['right']
    count = np.add.outer(rows, cols)
    inside = np.logical_and.outer(
        np.minimum(distance['top'], distance['bottom']) >= far,
        np.minimum(distance['left'], distance['right']) >= far,
    )
    masks = {
        **{side: (count == 1) & near[side][:, None] for side in SIDES[:2]},
        **{side: (count == 1) & near[side] for side in SIDES[2:]},
        'corners': count > 1,
        'border': count > 0,
        'interior': inside,
    }
    known = ~np.isnan(loss.scores)
    means = {
        name: round(float(loss.scores[mask & known].mean()), 6) if (mask & known).any() else None
        for name, mask in masks.items()
    }
    return {'near_px': NEAR, **means}  # type: ignore[typeddict-item]
