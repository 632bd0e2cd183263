"""The detector's own post-processing, spared work that cannot show in its result."""

from __future__ import annotations

import contextlib
import importlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
from mmdet.models.dense_heads import base_dense_head
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mindpad_mm.compat.mmcv_ops import nms_is_stable
from mindpad_mm.core.torch_functions import replace
from mindpad_mm.incremental.best import Best, best_scores
from mindpad_mm.incremental.levels import Level
from mindpad_mm.incremental.windowed import Windowed

# ``mmcv.ops.nms`` is the name of a function, too.
mmcv_nms = importlib.import_module('mmcv.ops.nms')

Floor = Callable[[int, InstanceData], float]
"""Of an image and its detections: the score below which its detections are of no consequence."""

# Of more equal scores than this it is not looked up whether their boxes overlap.
_MOST_EQUAL = 64
# So many times the boxes that were enough for one image are taken in for the next at once.
_MARGIN = 1.05


@contextlib.contextmanager
def shortcuts(model: nn.Module, floor: Floor) -> Iterator[None]:
    """While active, post-processing gives what it always gives, sooner. For one batch.

    MMDetection sorts the scores of a level, and torch's sort leaves equal ones in an order that depends
    on all that is sorted. Here others are sorted. Where it is of consequence which of two equal scores
    comes first, the image goes through MMDetection's own functions once more.

    Args:
        model: A detector. Only single-stage ones that use ``BaseDenseHead``'s post-processing are
            served; for others this does nothing.
        floor: Equal scores below it may come in any order: they cannot change higher ones.
    """
    head = getattr(model, 'bbox_head', None)
    if not isinstance(head, BaseDenseHead):
        yield
        return
    suppresses = _suppresses(head)
    chance = _Chance(head.test_cfg.max_per_img if suppresses else 0)
    best = _BestOfLevels(chance, suppresses)
    own_nms = mmcv_nms.nms
    nms = _Nms(chance) if suppresses else own_nms
    predict, images = head._predict_by_feat_single, itertools.count()

    def predict_single(*args: Any, **kwargs: Any) -> Any:
        chance.clear()
        with mock.patch.object(base_dense_head, 'filter_scores_and_topk', best):
            result = predict(*args, **kwargs)
        if chance.decides(floor(next(images), result)):
            # Of classes taken one by one it sorts all that are kept, not the first few, once more.
            again = nms if nms_is_stable() and len(chance.candidates) == 1 else own_nms
            with mock.patch.object(mmcv_nms, 'nms', again):
                result = predict(*args, **kwargs)
        return result

    patched = mock.patch.object(head, '_predict_by_feat_single', predict_single)
    with patched, mock.patch.object(mmcv_nms, 'nms', nms):
        yield


def _suppresses(head: BaseDenseHead) -> bool:
    """Whether a head passes its boxes to mmcv's ``nms`` and takes no more than the first few."""
    if type(head)._bbox_post_process is not BaseDenseHead._bbox_post_process:
        return False
    nms = head.test_cfg.get('nms') or {}
    return (
        head.test_cfg.get('max_per_img', -1) > 0
        and nms.get('type', 'nms') == 'nms'
        # Others make it another function of its boxes, or of how many.
        and {'iou_threshold'} <= set(nms) <= {'type', 'iou_threshold', 'class_agnostic'}
    )


class _Chance:
    """Where one image's detections hang on which of equal scores comes first.

    Args:
        count: How many detections are taken of those that non-maximum suppression keeps.

    Attributes:
        tied: Scores that are equal to others of another fate.
        candidates: What non-maximum suppression chose from: boxes (N, 4), scores (N,), best first, and
            its threshold; of many boxes, one for each class.
        kept: The scores it kept of each, best first; one more than are taken, if there are.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.clear()

    def clear(self) -> None:
        """Begin with another image."""
        self.tied: list[float] = []
        self.candidates: list[tuple[Tensor, Tensor, float]] = []
        self.kept: list[Tensor] = []

    def decides(self, floor: float) -> bool:
        """Whether that is so for scores of at least ``floor``."""
        beyond: list[float] = []
        if self.kept:
            kept = torch.cat(self.kept).sort(descending=True).values.tolist()
            # What is worse than the last that is taken is of no consequence either.
            floor = max([floor, *kept[self.count - 1 : self.count]])
            beyond = kept[self.count : self.count + 1]
        if any(score >= floor for score in [*self.tied, *beyond]):
            return True
        return any(self._equal_overlap(*each, floor) for each in self.candidates)

    @staticmethod
    def _equal_overlap(boxes: Tensor, scores: Tensor, threshold: float, floor: float) -> bool:
        """Whether any of equal scores, at least ``floor``, suppresses another."""
        scores = scores[: int((scores >= floor).sum())]
        for apart in range(1, _MOST_EQUAL + 1):
            first = (scores[apart:] == scores[:-apart]).nonzero()[:, 0]
            if not len(first):
                return False
            overlaps = bbox_overlaps(boxes[first], boxes[first + apart], is_aligned=True)
            if (overlaps >= threshold).any():
                return True
        return True


class _BestOfLevels:
    """MMDetection's ``filter_scores_and_topk``, for all images of a batch when the first one asks.

    Equal scores come in any order.

    Args:
        chance: Told where one of them is the last.
        suppressed: Whether :class:`_Nms` tells it of all others.
    """

    def __init__(self, chance: _Chance, suppressed: bool) -> None:
        self.chance, self.suppressed = chance, suppressed
        self._found: dict[tuple, tuple[Windowed, list[Best]]] = {}
        self._taken: dict[tuple, tuple[Windowed, dict[int, Tensor]]] = {}

    def __call__(
        self,
        scores: Tensor,
        score_thr: float,
        topk: int,
        results: dict | list | Tensor | None = None,
    ) -> tuple:
        if not isinstance(scores, Level) or not scores.is_lazy or topk <= 0:
            return _filter_scores_and_topk(scores, score_thr, topk, results)
        key = (id(scores.windowed), scores.key, score_thr, topk)
        if key not in self._found:
            # The windows are kept for their id to stay theirs.
            self._found[key] = scores.windowed, best_scores(scores, score_thr, topk)
        bests = self._found[key][1]
        best = bests[scores.sample]
        if best.cut_is_tied:
            self.chance.tied.append(float(best.scores[-1]))
        if not self.suppressed:
            self.chance.tied += best.scores[1:][best.scores[1:] == best.scores[:-1]][:1].tolist()

        def filtered(value: Tensor) -> Tensor:
            lazy_rows = isinstance(value, Level) and value.is_lazy and value.as_rows
            if not lazy_rows or value.sample != scores.sample:
                return value[best.rows]
            of_all = id(value.windowed), value.key, *key
            if of_all not in self._taken:
                taken = value.take_each([each.rows for each in bests])
                self._taken[of_all] = value.windowed, dict(enumerate(taken))
            # Who asks twice gets memory of his own.
            taken = self._taken[of_all][1].pop(scores.sample, None)
            return value[best.rows] if taken is None else taken

        return best.scores, best.columns, best.rows, replace(results, Tensor, filtered)


_filter_scores_and_topk: Callable[..., tuple] = base_dense_head.filter_scores_and_topk


class _Nms:
    """mmcv's ``nms`` for a caller that takes only the first of what it returns.

    A box is only ever suppressed by kept boxes of higher scores. So boxes can be taken in, best first,
    until enough are kept, and those that were suppressed are needed no more. The images of a batch are
    much alike: what was enough for one is where the next begins.

    Args:
        chance: Knows how many the caller takes; told what this chooses from, and what it keeps.
    """

    def __init__(self, chance: _Chance) -> None:
        self.chance = chance
        self.nms = mmcv_nms.nms
        # One more than is taken tells whether the last of them is tied.
        self._enough = chance.count + 1

    def __call__(
        self, boxes: Tensor, scores: Tensor, iou_threshold: float, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        if args or kwargs:
            return self.nms(boxes, scores, iou_threshold, *args, **kwargs)
        order = scores.sort(stable=True, descending=True).indices
        boxes, scores = boxes[order], scores[order]
        ranks = scores
        if torch.finfo(boxes.dtype).bits >= 32:
            # No two are equal: which comes first must not hang on how many are sorted.
            ranks = torch.arange(len(order), 0, -1, device=boxes.device, dtype=boxes.dtype)
        kept, begin, end = order[:0], 0, self._enough
        while len(kept) <= self.chance.count and begin < len(order):
            taken = torch.arange(begin, min(end, len(order)), device=order.device)
            taken = torch.cat([kept, taken])
            kept = taken[self.nms(boxes[taken], ranks[taken], iou_threshold)[1]]
            begin, end = end, 2 * end
        kept = kept[: self.chance.count + 1]
        if len(kept) > self.chance.count:
            self._enough = int(int(kept[-1]) * _MARGIN) + 1
        self.chance.candidates.append((boxes, scores, iou_threshold))
        self.chance.kept.append(scores[kept])
        return torch.cat([boxes[kept], scores[kept, None]], 1), order[kept]
