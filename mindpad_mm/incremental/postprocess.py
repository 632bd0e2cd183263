"""Faster versions of MMDetection's post-processing functions that give the same detections."""

from __future__ import annotations

import contextlib
import importlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from mmdet.models.dense_heads import YOLOXHead, base_dense_head
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from torch import Tensor, nn

from mindpad_mm.compat.mmcv_ops import nms_is_stable
from mindpad_mm.core.torch_functions import replace
from mindpad_mm.incremental.levels import LazyLevel
from mindpad_mm.incremental.ties import Ties
from mindpad_mm.incremental.topk import TopScores, top_scores
from mindpad_mm.incremental.whole_batch import (
    BatchPrediction,
    ScoreFloor,
    predicts_as_usual,
    uses_plain_nms,
)
from mindpad_mm.incremental.windowed import WindowedTensor
from mindpad_mm.incremental.yolox import YoloxPrediction

# In ``mmcv.ops``, ``nms`` is both a module and a function.
mmcv_nms = importlib.import_module('mmcv.ops.nms')

# NMS starts with this multiple of the number of boxes that the previous image needed.
_MARGIN = 1.05


@contextlib.contextmanager
def fast_postprocess(model: nn.Module, score_floor: ScoreFloor) -> Iterator[None]:
    """While active, the post-processing of one batch gives the same detections in less time.

    MMDetection sorts all scores of a level, and torch's sort orders equal scores depending
    on what else is sorted. Here fewer scores are sorted, so equal scores (ties) can be ordered
    differently. If the order of a tie matters, MMDetection's own functions process the image again.

    Args:
        model: A detector. If its head does not use ``BaseDenseHead``'s post-processing, nothing is
            changed.
        score_floor: Ties below this score are ignored, and detections below it may be missing: they
            cannot change detections of higher scores.
    """
    head = getattr(model, 'bbox_head', None)
    if not isinstance(head, BaseDenseHead):
        yield
        return
    plain_nms = uses_plain_nms(head)
    ties = Ties(head.test_cfg.max_per_img if plain_nms else 0)
    topk = _BatchedTopk(ties, plain_nms)
    own_nms = mmcv_nms.nms
    nms = _PrefixNms(ties) if plain_nms else own_nms
    predict, images = head._predict_by_feat_single, itertools.count()

    def predict_with_own_nms(*args: Any, **kwargs: Any) -> Any:
        with _replaced(mmcv_nms, 'nms', own_nms):
            return predict(*args, **kwargs)

    def predict_single(*args: Any, **kwargs: Any) -> Any:
        ties.clear()
        with _replaced(base_dense_head, 'filter_scores_and_topk', topk):
            result = predict(*args, **kwargs)
        if ties.matter(score_floor(next(images), result)):
            # If NMS runs once for each class, mmcv sorts the kept boxes of all classes again, and needs
            # all of them.
            quick = nms_is_stable() and len(ties.candidates) == 1
            result = (predict if quick else predict_with_own_nms)(*args, **kwargs)
        return result

    with contextlib.ExitStack() as stack:
        own = head.predict_by_feat
        if predicts_as_usual(head):
            of_batch = BatchPrediction(head, score_floor, own_nms, own, predict_with_own_nms)
            stack.enter_context(_replaced(head, 'predict_by_feat', of_batch))
        elif isinstance(head, YOLOXHead):
            stack.enter_context(_replaced(head, 'predict_by_feat', YoloxPrediction(head, own)))
        stack.enter_context(_replaced(head, '_predict_by_feat_single', predict_single))
        stack.enter_context(_replaced(mmcv_nms, 'nms', nms))
        yield


@contextlib.contextmanager
def _replaced(target: Any, name: str, value: Any) -> Iterator[None]:
    """While active, an attribute of a module or object has another value."""
    missing = object()
    own = vars(target).get(name, missing)
    setattr(target, name, value)
    try:
        yield
    finally:
        if own is missing:
            delattr(target, name)  # the class's attribute shows again
        else:
            setattr(target, name, own)


class _BatchedTopk:
    """MMDetection's ``filter_scores_and_topk``, computed for the whole batch at its first image.

    Ties are broken in any order.

    Args:
        ties: Receives the ties at the cut.
        nms_finds_ties: Whether :class:`_PrefixNms` reports all other ties; else they are reported
            here.
    """

    def __init__(self, ties: Ties, nms_finds_ties: bool) -> None:
        self.ties, self.nms_finds_ties = ties, nms_finds_ties
        self._found: dict[tuple, tuple[WindowedTensor, list[TopScores]]] = {}
        self._taken: dict[tuple, tuple[WindowedTensor, dict[int, Tensor]]] = {}

    def __call__(
        self,
        scores: Tensor,
        score_thr: float,
        topk: int,
        results: dict | list | Tensor | None = None,
    ) -> tuple:
        if not isinstance(scores, LazyLevel) or not scores.is_lazy or topk <= 0:
            return _filter_scores_and_topk(scores, score_thr, topk, results)
        key = (id(scores.windowed), scores.key, score_thr, topk)
        if key not in self._found:
            # Holding a reference to the windows keeps their id from being reused.
            found = top_scores(scores, score_thr, topk)
            of_images = [found.of_image(image) for image in range(len(scores.windowed))]
            self._found[key] = scores.windowed, of_images
        of_batch = self._found[key][1]
        top = of_batch[scores.image]
        if top.cut_is_tied:
            self.ties.scores.append(float(top.scores[-1]))
        if not self.nms_finds_ties:
            self.ties.scores += top.scores[1:][top.scores[1:] == top.scores[:-1]][:1].tolist()

        def filtered(value: Tensor) -> Tensor:
            lazy_rows = isinstance(value, LazyLevel) and value.is_lazy and value.is_matrix
            if not lazy_rows or value.image != scores.image:
                return value[top.rows]
            value_key = id(value.windowed), value.key, *key
            if value_key not in self._taken:
                taken = value.take_each([each.rows for each in of_batch])
                self._taken[value_key] = value.windowed, dict(enumerate(taken))
            # Each result is returned once, because the caller may write to it.
            taken = self._taken[value_key][1].pop(scores.image, None)
            return value[top.rows] if taken is None else taken

        return top.scores, top.columns, top.rows, replace(results, Tensor, filtered)


_filter_scores_and_topk: Callable[..., tuple] = base_dense_head.filter_scores_and_topk


class _PrefixNms:
    """mmcv's ``nms`` for a caller that takes only the first results.

    A box is suppressed only by kept boxes of higher scores. So boxes are added best first until
    enough are kept, and suppressed boxes are dropped on the way. The images of a batch are alike: the
    number of boxes that one image needed is where the next one starts.

    Args:
        ties: Its ``count`` is how many results the caller takes. It receives the candidates and the
            kept scores.
    """

    def __init__(self, ties: Ties) -> None:
        self.ties = ties
        self.nms = mmcv_nms.nms
        # One more result shows whether the last detection is tied with a box that is left out.
        self._enough = ties.count + 1

    def __call__(
        self, boxes: Tensor, scores: Tensor, iou_threshold: float, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        if args or kwargs:
            return self.nms(boxes, scores, iou_threshold, *args, **kwargs)
        order = scores.sort(stable=True, descending=True).indices
        boxes, scores = boxes[order], scores[order]
        ranks = scores
        if torch.finfo(boxes.dtype).bits >= 32:
            # Distinct ranks: the order must not depend on how many boxes are sorted.
            ranks = torch.arange(len(order), 0, -1, device=boxes.device, dtype=boxes.dtype)
        kept, begin, end = order[:0], 0, self._enough
        while len(kept) <= self.ties.count and begin < len(order):
            taken = torch.arange(begin, min(end, len(order)), device=order.device)
            taken = torch.cat([kept, taken])
            kept = taken[self.nms(boxes[taken], ranks[taken], iou_threshold)[1]]
            begin, end = end, 2 * end
        kept = kept[: self.ties.count + 1]
        if len(kept) > self.ties.count:
            self._enough = int(int(kept[-1]) * _MARGIN) + 1
        self.ties.candidates.append((boxes, scores, iou_threshold))
        self.ties.kept.append(scores[kept])
        return torch.cat([boxes[kept], scores[kept, None]], 1), order[kept]
