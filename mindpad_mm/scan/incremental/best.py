"""The best scores of a level: those of the clean run but where the object has changed them."""

from __future__ import annotations

from typing import Tuple

import torch
from torch import Tensor

from mindpad_mm.scan.incremental.levels import Level, places

Best = Tuple[Tensor, Tensor, Tensor]
"""Scores, best first, their rows and their columns; each (N,)."""

# Of rows beyond this share of a level it is quicker to look at all.
_FEW = 0.1


def best_scores(
    scores: Level, threshold: float, count: int, any_order: bool = False
) -> Best | None:
    """The ``count`` best scores above a threshold.

    Args:
        scores: One image's, (rows, columns).
        threshold, count: As in MMDetection's ``filter_scores_and_topk``; ``count`` is positive.
        any_order: Whether any order of equal scores will do, and any of them be the last.

    Returns:
        None where it is not known without looking at all scores: most have changed, or which are
        found or in what order is a matter of chance because some are equal.
    """
    window = scores.windowed
    if not window.changed:
        return _clean_best(scores, threshold, count)
    changed = scores.changed_rows()
    if len(changed) > _FEW * len(scores):
        return None
    new = scores.new_rows()
    # So many of the clean run that enough are left without those of the changed rows.
    reserve = 1 << (count + new.numel()).bit_length()
    clean, rows, columns = _clean_best(scores, threshold, reserve)
    kept = (places(changed, len(scores))[rows] < 0).nonzero()[: count + 1, 0]
    row, column = (new > threshold).nonzero().unbind(1)
    found = torch.cat([clean[kept], new[row, column]])
    rows = torch.cat([rows[kept], changed[row]])
    columns = torch.cat([columns[kept], column])
    found, order = found.sort(descending=True)
    if not any_order and has_ties(found[: count + 1]):
        return None
    order = order[:count]
    return found[:count], rows[order], columns[order]


def has_ties(best: Tensor) -> bool:
    """Whether any of the scores, best first, are equal: torch's sort leaves those in an order that
    depends on all that is sorted."""
    return bool((best[1:] == best[:-1]).any())


def _clean_best(scores: Level, threshold: float, count: int) -> Best:
    """The same of the clean run, in the order that MMDetection's function finds them in."""

    def search() -> Best:
        clean = scores.clean_rows()
        above = clean > threshold
        found, order = clean[above].sort(descending=True)
        row, column = above.nonzero()[order[:count]].unbind(1)
        return found[:count], row, column

    key = (*scores.key, threshold, count)
    return scores.windowed.tape.continued(scores.windowed.clean, key, search)
