"""The top-k scores of a lazy level, for all images of a batch at once.

Most of them come from the clean run, whose scores are sorted once.
"""

from __future__ import annotations

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


class BatchTop(NamedTuple):
    """The top scores of each image of a batch, in any order.

    Attributes:
        scores: (B, K); minus infinity where an image has fewer.
        rows, columns: (B, K) int64, their places in the score matrix: prior and class.
        cut: (B,) the lowest score that was taken if it equals one that was left out, else minus infinity.
    """

    scores: Tensor
    rows: Tensor
    columns: Tensor
    cut: Tensor

    def of_image(self, image: int) -> TopScores:
        """The top scores of one image, best first."""
        scores, order = self.scores[image].sort(descending=True)
        order = order[: int((scores > -torch.inf).sum())]
        rows, columns = self.rows[image][order], self.columns[image][order]
        return TopScores(scores[: len(order)], rows, columns, bool(self.cut[image] > -torch.inf))


def top_scores(scores: LazyLevel, threshold: float, count: int) -> BatchTop:
    """The ``count`` best scores above a threshold, for each image.

    Args:
        scores: The score matrix (rows, columns) of any one image of the batch.
        threshold, count: ``score_thr`` and ``topk`` of MMDetection's ``filter_scores_and_topk``;
            ``count`` is positive.

    Returns:
        The top scores of the batch; of scores that tie at the cut, any.
    """
    windowed = scores.windowed
    batch = len(windowed)
    found, rows, columns = _clean_outside(scores, threshold, count + 1)
    if windowed.is_dirty:
        changed = _changed(scores, threshold, count, found)
        found, rows, columns = (torch.cat(each, 1) for each in zip((found, rows, columns), changed))
    cut = found.new_full((batch,), -torch.inf)
    if found.shape[1] <= count:
        return BatchTop(found, rows, columns, cut)
    order = best(found, count + 1)
    found, rows, columns = (each.gather(1, order) for each in (found, rows, columns))
    last, left_out = found[:, count - 1], found[:, count]
    cut = last.where(last == left_out, cut)
    return BatchTop(found[:, :count], rows[:, :count], columns[:, :count], cut)


def best(values: Tensor, count: int) -> Tensor:
    """(B, count) indices of the best values (B, N), best first."""
    # Older versions of torch have no topk for float16 on a CPU.
    wide = values.to(torch.promote_types(values.dtype, torch.float32))
    return wide.topk(count, sorted=True).indices


def _changed(
    scores: LazyLevel, threshold: float, count: int, kept: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Scores in the windows that may be among the best, with rows and columns, each (B, K).

    Args:
        kept: (B, L) the best clean scores outside the windows, best first; L is 0 if the windows cover
            the whole map.
    """
    windowed = scores.windowed
    batch = len(windowed)
    bounds = _bounds(kept, count)
    step = max(1, _AT_ONCE // windowed.patch[0].numel())
    parts = []
    for first in range(0, batch, step):
        images = range(batch)[first : first + step]
        new = scores.window_rows(images)
        bound = bounds[first : first + step]
        if windowed.is_whole:
            bound = new.new_tensor(_lower_bounds(new, count))
        # Scores below the bound of their image cannot be among the best.
        candidates = (new > threshold) & (new >= bound[:, None, None])
        image, row, column = candidates.nonzero().unbind(1)
        place = scores.level_rows(first + image, row)
        parts.append((first + image, new[image, row, column], place, column))
    image, found, place, column = map(torch.cat, zip(*parts))
    sizes = torch.bincount(image, minlength=batch)
    at = torch.arange(len(image), device=image.device) - (sizes.cumsum(0) - sizes)[image]
    shape = batch, int(sizes.max())

    def padded(values: Tensor, fill: float) -> Tensor:
        return values.new_full(shape, fill).index_put_((image, at), values)

    return padded(found, -torch.inf), padded(place, 0), padded(column, 0)


def _bounds(kept: Tensor, count: int) -> Tensor:
    """(B,) the ``count``-th best of scores (B, L) that are sorted; minus infinity if there are fewer."""
    nothing = kept.new_full((len(kept),), -torch.inf)
    if kept.shape[1] < count:
        return nothing
    known = (kept > -torch.inf).cumsum(1)
    index = (known < count).sum(1).clamp(max=kept.shape[1] - 1)
    return kept.gather(1, index[:, None])[:, 0].where(known[:, -1] >= count, nothing)


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


def _clean_outside(
    scores: LazyLevel, threshold: float, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The best scores of the clean run outside the windows, best first, with rows and columns.

    Each is (B, L), with minus infinity for scores in the window; at least ``count`` of each image are
    outside, if there are so many.
    """
    windowed, length = scores.windowed, 2 * count
    batch = len(windowed)
    if not windowed.is_dirty:
        found, rows, columns = _clean_top(scores, threshold, count)
        return found.expand(batch, -1), rows.expand(batch, -1), columns.expand(batch, -1)
    if windowed.is_whole:
        nothing = torch.empty(2, batch, 0, dtype=torch.int64, device=windowed.device)
        return windowed.clean.new_empty(batch, 0), *nothing
    while True:
        found, rows, columns = _clean_top(scores, threshold, length)
        outside = scores.outside(rows)
        if len(found) < length or bool((outside.sum(1) >= count).all()):
            break
        length *= 2
    found = found.expand(batch, -1).masked_fill(~outside, -torch.inf)
    return found, rows.expand(batch, -1), columns.expand(batch, -1)


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
