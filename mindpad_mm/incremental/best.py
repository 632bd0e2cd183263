"""The best scores of a level, of a batch's images at once: most are those of the clean run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mindpad_mm.incremental.levels import Level

# So many scores are made at once: what a batch takes must not grow with the detector.
_AT_ONCE = 1 << 22


class Best(NamedTuple):
    """Scores of one image, best first.

    Attributes:
        scores: (N,).
        rows, columns: (N,) int64, where they stand.
        cut_is_tied: Whether the last and the first that was left out are equal, so that it was a
            matter of chance which is which.
    """

    scores: Tensor
    rows: Tensor
    columns: Tensor
    cut_is_tied: bool

    @classmethod
    def of(cls, scores: Tensor, rows: Tensor, columns: Tensor, count: int) -> Best:
        """The first ``count`` of scores in their order, best first."""
        tied = len(scores) > count and bool(scores[count - 1] == scores[count])
        return cls(scores[:count], rows[:count], columns[:count], tied)


def best_scores(scores: Level, threshold: float, count: int) -> list[Best]:
    """The ``count`` best scores above a threshold, of each image.

    Args:
        scores: Any one image's, (rows, columns).
        threshold, count: As in MMDetection's ``filter_scores_and_topk``; ``count`` is positive.

    Returns:
        One for each image of the batch; equal scores in any order.
    """
    windowed = scores.windowed
    batch = len(windowed)
    if not windowed.changed:
        return [Best.of(*_clean_best(scores, threshold, count + 1), count)] * batch
    kept = [] if windowed.whole else _clean_kept(scores, threshold, count + 1)
    step = max(1, _AT_ONCE // windowed.patch[0].numel())
    parts = [range(batch)[first : first + step] for first in range(0, batch, step)]
    return [best for part in parts for best in _best_of(scores, part, kept, threshold, count)]


def _best_of(
    scores: Level, images: range, kept: list[tuple[Tensor, ...]], threshold: float, count: int
) -> Iterator[Best]:
    """The best scores of some images, given those of the clean run that each has kept."""
    new = scores.new_rows_of(images)
    if kept:
        kept = kept[images.start : images.stop]
        bounds = [float(each[0][count - 1]) if len(each[0]) >= count else -np.inf for each in kept]
    else:
        nothing = new.new_empty(0), *torch.empty(2, 0, dtype=torch.int64, device=new.device)
        kept, bounds = [nothing] * len(images), _lower_bounds(new, count)
    # What is below the bound of its image cannot be among the best.
    bounds = new.new_tensor(bounds)[:, None, None]
    sample, row, column = ((new > threshold) & (new >= bounds)).nonzero().unbind(1)
    found = new[sample, row, column]
    place = scores.rows_of_new(images.start + sample, row)
    sizes = torch.bincount(sample, minlength=len(images)).tolist()
    changed = zip(*(part.split(sizes) for part in (found, place, column)))
    return (_merged(*parts, count) for parts in zip(kept, changed))


def _merged(unchanged: tuple[Tensor, ...], changed: tuple[Tensor, ...], count: int) -> Best:
    found, rows, columns = map(torch.cat, zip(unchanged, changed))
    found, order = found.sort(descending=True)
    order = order[: count + 1]
    return Best.of(found[: count + 1], rows[order], columns[order], count)


def _lower_bounds(scores: Tensor, count: int) -> list[float]:
    """A score that ``count`` of (rows, columns) scores reach, as high as rows can tell, of each image."""
    rows = scores.shape[1]
    if count >= rows:
        return [-np.inf] * len(scores)
    best = scores.amax(2) if scores.shape[2] > 1 else scores[:, :, 0]
    best = best.masked_fill(best.isnan(), -np.inf)  # numpy would take NaN for the best of all
    best = best.to(torch.promote_types(best.dtype, torch.float32))  # numpy has no bfloat16
    # A fifth of the time of torch's topk and kthvalue.
    return np.partition(best.cpu().numpy(), rows - count, axis=1)[:, rows - count].tolist()


def _clean_kept(scores: Level, threshold: float, count: int) -> list[tuple[Tensor, ...]]:
    """The ``count`` best scores of the clean run that stand outside of the window, of each image."""
    length = 2 * count
    while True:
        clean = _clean_best(scores, threshold, length)
        outside = scores.outside(clean[1])
        if len(clean[0]) < length or bool((outside.sum(1) >= count).all()):
            break
        length *= 2
    kept = [each.nonzero()[:count, 0] for each in outside]
    return [tuple(part[each] for part in clean) for each in kept]


def _clean_best(scores: Level, threshold: float, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best scores of the clean run, their rows and their columns."""

    def search() -> tuple[Tensor, Tensor, Tensor]:
        clean = scores.clean_rows()
        above = clean > threshold
        found, order = clean[above].sort(descending=True)
        row, column = above.nonzero()[order[:count]].unbind(1)
        return found[:count], row, column

    key = (*scores.key, threshold, count)
    return scores.windowed.tape.derived(scores.windowed.clean, key, search)
