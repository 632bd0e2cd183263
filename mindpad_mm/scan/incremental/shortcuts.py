"""The detector's own post-processing, spared work that cannot show in its result."""

from __future__ import annotations

import contextlib
import functools
import importlib
from typing import Any, Iterator
from unittest import mock

import numpy as np
import torch
from mmdet.models.dense_heads import base_dense_head
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from torch import Tensor, nn

from mindpad_mm.scan.incremental.best import best_scores, has_ties
from mindpad_mm.scan.incremental.levels import Level
from mindpad_mm.scan.incremental.nested import replace

# ``mmcv.ops.nms`` is the name of a function, too.
mmcv_nms = importlib.import_module('mmcv.ops.nms')


@contextlib.contextmanager
def shortcuts(model: nn.Module, any_order: bool = False) -> Iterator[None]:
    """While active, post-processing gives what it always gives, sooner.

    Args:
        model: A detector. Only single-stage ones that use ``BaseDenseHead``'s post-processing are
            served; for others this does nothing.
        any_order: Whether equal scores may come in another order than they always do.
    """
    head = getattr(model, 'bbox_head', None)
    if not isinstance(head, BaseDenseHead):
        yield
        return
    with contextlib.ExitStack() as stack:
        by_best = functools.partial(filter_scores_and_topk, any_order=any_order)
        stack.enter_context(mock.patch.object(base_dense_head, 'filter_scores_and_topk', by_best))
        if type(head)._bbox_post_process is BaseDenseHead._bbox_post_process:
            kept = head.test_cfg.get('max_per_img', -1)
            if kept > 0:
                stack.enter_context(mock.patch.object(mmcv_nms, 'nms', _Nms(kept)))
        yield


_filter_scores_and_topk = base_dense_head.filter_scores_and_topk


def filter_scores_and_topk(
    scores: Tensor,
    score_thr: float,
    topk: int,
    results: dict | list | Tensor | None = None,
    any_order: bool = False,
) -> tuple:
    """MMDetection's function of this name, on the rows that can be among its result only.

    It searches and sorts all scores above the threshold to take the first ``topk``. The threshold
    can be raised to just below the best score of the row that is ``topk``-th by best score: so many
    scores are above it still, and in the same order if no two are equal; else all is left to it.
    """
    if isinstance(scores, Level):
        best = None
        if topk > 0 and scores.is_lazy:
            best = best_scores(scores, score_thr, topk, any_order)
        if best is not None:
            found, rows, labels = best
            return found, labels, rows, replace(results, Tensor, lambda values: values[rows])
        scores = scores.real()
    best = scores.amax(1) if scores.shape[1] > 1 else scores[:, 0]
    raised = score_thr
    if 0 < topk < len(best):
        rank = len(best) - topk
        last = np.partition(best.cpu().numpy(), rank)[rank]
        raised = max(score_thr, float(np.nextafter(last, last.dtype.type(-np.inf))))
    rows = (best > raised).nonzero()[:, 0]
    candidates = scores[rows]
    found, labels, kept, chosen = _filter_scores_and_topk(
        candidates, raised, topk, replace(results, Tensor, lambda values: values[rows])
    )
    if not any_order and _has_ties(found, candidates):
        return _filter_scores_and_topk(scores, score_thr, topk, results)
    return found, labels, rows[kept], chosen


def _has_ties(found: Tensor, candidates: Tensor) -> bool:
    """Whether the order of the scores found, or which were found, was a matter of chance.

    torch's sort leaves equal scores in an order that depends on all that is sorted.
    """
    if not len(found):
        return False
    return has_ties(found) or (candidates >= found[-1]).sum() > len(found)


class _Nms:
    """mmcv's ``nms`` for a caller that takes only the first ``kept`` of what it returns.

    A box is only ever suppressed by kept boxes of higher scores. So boxes can be taken in, best first,
    until enough are kept, and those that were suppressed are needed no more.
    """

    def __init__(self, kept: int) -> None:
        self.kept = kept
        self.nms = mmcv_nms.nms

    def __call__(
        self, boxes: Tensor, scores: Tensor, iou_threshold: float, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        if args or kwargs or len(boxes) <= self.kept:
            return self.nms(boxes, scores, iou_threshold, *args, **kwargs)
        order = scores.sort(stable=True, descending=True).indices
        kept, begin, more = order[:0], 0, self.kept
        while len(kept) < self.kept and begin < len(order):
            taken = torch.cat([kept, order[begin : begin + more]])
            kept = taken[self.nms(boxes[taken], scores[taken], iou_threshold)[1]]
            begin, more = begin + more, 2 * more
        return torch.cat([boxes[kept], scores[kept, None]], 1), kept
