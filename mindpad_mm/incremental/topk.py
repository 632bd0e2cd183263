"""The top-k scores of a lazy level, for all images of a batch at once.

Most of them come from the clean run, whose scores are sorted once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mindpad_mm.incremental.levels import LazyLevel

# Scores computed at a time, so that peak memory does not grow with the detector.
_AT_ONCE = 1 << 22


class TopScores(NamedTuple):
    """The top scores of one image, best first.

    Attributes:
        scores: (N,).
        rows, columns: (N,) int64, their places in the score matrix: prior and class.
        cut_is_tied: Whether the last score equals the first one that was left out.
    """

    scores: Tensor
    rows: Tensor
    columns: Tensor
    cut_is_tied: bool

    @classmethod
    def of(cls, scores: Tensor, rows: Tensor, columns: Tensor, count: int) -> TopScores:
        """The first ``count`` of sorted scores, best first."""
        tied = len(scores) > count and bool(scores[count - 1] == scores[count])
        return cls(scores[:count], rows[:count], columns[:count], tied)


def top_scores(scores: LazyLevel, threshold: float, count: int) -> list[TopScores]:
    """The ``count`` best scores above a threshold, for each image.

    Args:
        scores: The score matrix (rows, columns) of any one image of the batch.
        threshold, count: ``score_thr`` and ``topk`` of MMDetection's ``filter_scores_and_topk``;
            ``count`` is positive.

    Returns:
        The top scores of each image of the batch; ties in any order.
    """
    windowed = scores.windowed
    batch = len(windowed)
    if not windowed.is_dirty:
        return [TopScores.of(*_clean_top(scores, threshold, count + 1), count)] * batch
    kept = [] if windowed.is_whole else _clean_kept(scores, threshold, count + 1)
    step = max(1, _AT_ONCE // windowed.patch[0].numel())
    parts = [range(batch)[first : first + step] for first in range(0, batch, step)]
    return [top for part in parts for top in _top_of(scores, part, kept, threshold, count)]


def _top_of(
    scores: LazyLevel, images: range, kept: list[tuple[Tensor, ...]], threshold: float, count: int
) -> Iterator[TopScores]:
    """The best scores of some images.

    Args:
        kept: For each image of the batch the best clean scores outside its window; empty if the
            windows cover the whole map.
    """
    new = scores.window_rows(images)
    if kept:
        kept = kept[images.start : images.stop]
        bounds = [float(each[0][count - 1]) if len(each[0]) >= count else -np.inf for each in kept]
    else:
        nothing = new.new_empty(0), *torch.empty(2, 0, dtype=torch.int64, device=new.device)
        kept, bounds = [nothing] * len(images), _lower_bounds(new, count)
    # Scores below the bound of their image cannot be among the best.
    bounds = new.new_tensor(bounds)[:, None, None]
    image, row, column = ((new > threshold) & (new >= bounds)).nonzero().unbind(1)
    found = new[image, row, column]
    place = scores.level_rows(images.start + image, row)
    sizes = torch.bincount(image, minlength=len(images)).tolist()
    changed = zip(*(part.split(sizes) for part in (found, place, column)))
    return (_merged(*parts, count) for parts in zip(kept, changed))


def _merged(unchanged: tuple[Tensor, ...], changed: tuple[Tensor, ...], count: int) -> TopScores:
    found, rows, columns = map(torch.cat, zip(unchanged, changed))
    found, order = found.sort(descending=True)
    order = order[: count + 1]
    return TopScores.of(found[: count + 1], rows[order], columns[order], count)


def _lower_bounds(scores: Tensor, count: int) -> list[float]:
    """For each image, a score that at least ``count`` of its scores (rows, columns) are not below.

    It is the ``count``-th best of the best scores of all rows.
    """
    rows = scores.shape[1]
    if count >= rows:
        return [-np.inf] * len(scores)
    best = scores.amax(2) if scores.shape[2] > 1 else scores[:, :, 0]
    best = best.masked_fill(best.isnan(), -np.inf)  # numpy sorts NaN as the largest
    best = best.to(torch.promote_types(best.dtype, torch.float32))  # numpy has no bfloat16
    # Takes a fifth of the time of torch's topk or kthvalue.
    return np.partition(best.cpu().numpy(), rows - count, axis=1)[:, rows - count].tolist()


def _clean_kept(scores: LazyLevel, threshold: float, count: int) -> list[tuple[Tensor, ...]]:
    """For each image the ``count`` best scores of the clean run that lie outside its window."""
    length = 2 * count
    while True:
        clean = _clean_top(scores, threshold, length)
        outside = scores.outside(clean[1])
        if len(clean[0]) < length or bool((outside.sum(1) >= count).all()):
            break
        length *= 2
    kept = [each.nonzero()[:count, 0] for each in outside]
    return [tuple(part[each] for part in clean) for each in kept]


def _clean_top(scores: LazyLevel, threshold: float, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best scores of the clean run with their rows and columns."""

    def search() -> tuple[Tensor, Tensor, Tensor]:
        clean = scores.clean_rows()
        above = clean > threshold
        found, order = clean[above].sort(descending=True)
        row, column = above.nonzero()[order[:count]].unbind(1)
        return found[:count], row, column

    key = (*scores.key, threshold, count)
    return scores.windowed.graph.cached(scores.windowed.clean, key, search)
