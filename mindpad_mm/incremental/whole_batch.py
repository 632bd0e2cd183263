"""MMDetection's post-processing of a dense head, for all images of a batch at once.

``BaseDenseHead`` takes the images one by one, and the levels of an image one by one: for small detectors
these many small operations take as long as the network. Here each step runs once for the batch. What is
decoded, and what NMS compares, are the same numbers. NMS stops once it has enough boxes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.task_modules.coders import (
    DeltaXYWHBBoxCoder,
    DistancePointBBoxCoder,
    TBLRBBoxCoder,
)
from mmdet.structures.bbox import scale_boxes
from mmengine.structures import InstanceData
from torch import Tensor

from mindpad_mm.incremental.levels import LazyLevel
from mindpad_mm.incremental.ties import equal_boxes_overlap
from mindpad_mm.incremental.topk import BatchTop, best, top_scores

ScoreFloor = Callable[[int, InstanceData], float]
"""From the index of an image in the batch and its detections to the score below which the order of
equal scores does not matter, and below which detections may be missing. If it is infinite, none is
missing, and all may be in any order."""

# Coders that decode each box alone.
_CODERS = (DeltaXYWHBBoxCoder, DistancePointBBoxCoder, TBLRBBoxCoder)
# NMS first gets this many boxes for each detection that it should keep. In later batches it gets this
# multiple of the most that an image needed, rounded up to whole steps.
_FIRST, _MARGIN, _STEP = 2, 1.1, 128
# NMS of so few boxes comes first: they often decide all scores that matter.
_SHORT = 64


def uses_plain_nms(head: BaseDenseHead) -> bool:
    """Whether a head passes its boxes to mmcv's ``nms`` and keeps only the first ``max_per_img``."""
    if type(head)._bbox_post_process is not BaseDenseHead._bbox_post_process:
        return False
    nms = head.test_cfg.get('nms') or {}
    return (
        head.test_cfg.get('max_per_img', -1) > 0
        and nms.get('type', 'nms') == 'nms'
        # Any other option changes which boxes are kept, or how many.
        and {'iou_threshold'} <= set(nms) <= {'type', 'iou_threshold', 'class_agnostic'}
    )


def predicts_as_usual(head: BaseDenseHead) -> bool:
    """Whether a head predicts as ``BaseDenseHead`` does, so that a batch can be processed at once."""
    kind, coder = type(head), getattr(head, 'bbox_coder', None)
    return (
        kind.predict_by_feat is BaseDenseHead.predict_by_feat
        and kind._predict_by_feat_single is BaseDenseHead._predict_by_feat_single
        and uses_plain_nms(head)
        and head.test_cfg.get('nms_pre', -1) > 0
        and type(coder) in _CODERS
        and not getattr(coder, 'use_box_type', False)
        and not getattr(head.loss_cls, 'custom_cls_channels', False)
    )


class _Level(NamedTuple):
    """What a head predicts on one level, one row for each prior.

    Attributes:
        scores, deltas: (rows, classes) and (rows, 4).
        factor: (rows,) what the score is multiplied by; None: nothing.
        priors: (rows, ...) the priors.
    """

    scores: LazyLevel
    deltas: LazyLevel
    factor: LazyLevel | None
    priors: Tensor


class _Best(NamedTuple):
    """The best candidates of each image, best first.

    Attributes:
        scores: (B, P); minus infinity where an image has fewer.
        labels: (B, P) int64.
        boxes: (B, P, 4) ``x1, y1, x2, y2`` in pixels of the original image.
        cut: (B,) the highest score whose tie decided which candidates there are; minus infinity: none.
        all_there: (B,) bool, whether these are all.
    """

    scores: Tensor
    labels: Tensor
    boxes: Tensor
    cut: Tensor
    all_there: Tensor


@dataclass
class _Needed:
    """The most boxes that an image needed, which tells how many the next batches will need.

    Attributes:
        to_the_floor: Of images whose scores below the floor were not needed.
        whole: Of others.
    """

    to_the_floor: int = 0
    whole: int = 0

    def learn(self, needed: _Needed) -> None:
        """Take over what a batch needed, with some to spare."""
        if needed.to_the_floor:
            self.to_the_floor = _STEP * (int(needed.to_the_floor * _MARGIN) // _STEP + 1)
        if needed.whole:
            self.whole = _STEP * (int(needed.whole * _MARGIN) // _STEP + 1)
            if not needed.to_the_floor:
                self.to_the_floor = self.whole


class BatchPrediction:
    """``BaseDenseHead.predict_by_feat`` for lazy levels.

    Args:
        head: A head that :func:`predicts_as_usual`.
        score_floor: See :data:`ScoreFloor`.
        nms: mmcv's ``nms``.
        own: The head's ``predict_by_feat``, for calls that are unusual.
        again: The head's ``_predict_by_feat_single``. It processes images in which ties matter.
    """

    def __init__(
        self,
        head: BaseDenseHead,
        score_floor: ScoreFloor,
        nms: Callable[..., tuple[Tensor, Tensor]],
        own: Callable[..., list[InstanceData]],
        again: Callable[..., InstanceData],
    ) -> None:
        self.head, self.score_floor, self.nms = head, score_floor, nms
        self.own, self.again = own, again

    def __call__(
        self,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        score_factors: Sequence[Tensor] | None = None,
        batch_img_metas: Sequence[dict[str, Any]] = (),
        cfg: Any = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> list[InstanceData]:
        """See ``BaseDenseHead.predict_by_feat``."""
        metas = batch_img_metas
        kinds = [cls_scores, bbox_preds, *([] if score_factors is None else [score_factors])]
        lazy = all(
            isinstance(level, LazyLevel) and len(level) == len(metas)
            for kind in kinds
            for level in kind
        )
        alike = all(
            meta.get(key) == metas[0].get(key)
            for meta in metas
            for key in ('img_shape', 'scale_factor')
        )
        how = {'cfg': cfg, 'rescale': rescale, 'with_nms': with_nms}
        if not lazy or not alike or cfg is not None or not with_nms:
            return self.own(*kinds, batch_img_metas=metas, **how)
        priors = self.head.prior_generator.grid_priors(
            [level.shape[-2:] for level in cls_scores],
            dtype=cls_scores[0].dtype,
            device=cls_scores[0].device,
        )
        levels = [self._level(*level) for level in zip(priors, *kinds)]

        def again(image: int) -> InstanceData:
            lists = [[level[image].detach() for level in kind] for kind in kinds]
            factors = lists[2] if len(lists) == 3 else [None] * len(levels)
            return self.again(*lists[:2], factors, priors, metas[image], **how)

        boxes = _Decoder(self.head, levels, metas[0], rescale)
        return self._predicted(boxes, len(metas), again)

    def _level(self, priors: Tensor, *maps: LazyLevel) -> _Level:
        """The steps of ``BaseDenseHead`` from the maps of a level to its rows."""
        head = self.head
        cls, box, *factors = (level[0].permute(1, 2, 0) for level in maps)
        scores = cls.reshape(-1, head.cls_out_channels)
        scores = scores.sigmoid() if head.use_sigmoid_cls else scores.softmax(-1)[:, :-1]
        factor = factors[0].reshape(-1).sigmoid() if factors else None
        return _Level(scores, box.reshape(-1, head.bbox_coder.encode_size), factor, priors)

    def _predicted(
        self, decoder: _Decoder, batch: int, again: Callable[[int], InstanceData]
    ) -> list[InstanceData]:
        """The final detections of each image."""
        count, threshold = self.head.test_cfg.max_per_img, self.head.test_cfg.nms.iou_threshold
        results: list[Any] = [None] * batch
        expected = decoder.remembered('boxes for NMS', lambda: _Needed(_FIRST * (count + 1)))
        needed = _Needed()
        left, length = list(range(batch)), expected.to_the_floor
        while left:
            best_ones = decoder.best(length)
            moved = decoder.moved_apart(best_ones)
            totals = (best_ones.scores > -torch.inf).sum(1).tolist()
            complete, cuts = best_ones.all_there.tolist(), best_ones.cut.tolist()
            twice = _highest_tie(best_ones.scores).tolist()
            unfinished = []
            for image in left:
                some = image, slice(totals[image])
                ranked = _Ranked(moved[some], best_ones.scores[some], twice[image], cuts[image])
                for stop in sorted({min(_SHORT, totals[image]), totals[image]}):
                    part = ranked.first(stop)
                    kept = part.kept(self.nms, threshold)[: count + 1]
                    index = kept[:count]
                    result = InstanceData(
                        bboxes=best_ones.boxes[image, index],
                        scores=best_ones.scores[image, index],
                        labels=best_ones.labels[image, index],
                    )
                    floor = functools.partial(self.score_floor, image, result)
                    if len(kept) > count:
                        needed.whole = max(needed.whole, int(kept[count]))
                    elif stop < totals[image] or not complete[image]:
                        used = part.down_to(floor())
                        if used == stop:
                            continue
                        needed.to_the_floor = max(needed.to_the_floor, used)
                    break
                else:
                    unfinished.append(image)
                    continue
                if part.ties_matter(kept, count, threshold, floor):
                    result = again(image)
                results[image] = result
            left, length = unfinished, max(2 * length, expected.whole)
        expected.learn(needed)
        return results


class _Decoder:
    """Finds and decodes the candidates of a batch: the boxes that ``BaseDenseHead`` passes to NMS.

    Args:
        head: The head.
        levels: What it predicts.
        meta: The metainfo of all images.
        rescale: Whether boxes become those of the original image.
    """

    def __init__(
        self, head: BaseDenseHead, levels: Sequence[_Level], meta: dict[str, Any], rescale: bool
    ) -> None:
        self.head, self.levels, self.meta, self.rescale = head, levels, meta, rescale
        self._all_largest: Tensor | None = None

    def best(self, length: int) -> _Best:
        """The ``length`` best candidates of each image, or all if there are fewer.

        With score factors the best candidates are not known in advance, and all are found.
        """
        most = self.head.test_cfg.nms_pre
        factors = any(level.factor is not None for level in self.levels)
        limit = most if factors else min(length, most)
        tops = [self._top(level, limit) for level in self.levels]
        scores, rows, labels = (
            torch.cat([getattr(top, name) for top in tops], 1)
            for name in ('scores', 'rows', 'columns')
        )
        level = torch.cat([torch.full_like(t.rows[0], k) for k, t in enumerate(tops)])
        full = [(top.scores > -torch.inf).sum(1) >= limit for top in tops]
        all_there = (scores > -torch.inf).sum(1) <= length
        if limit < most:
            all_there &= ~torch.stack(full).any(0)
        order = best(scores, min(length, scores.shape[1]))
        scores, rows, labels = (each.gather(1, order) for each in (scores, rows, labels))
        image, place = (scores > -torch.inf).nonzero().unbind(1)
        decoded = self._decoded(image, level[order][image, place], rows[image, place])
        boxes = decoded.new_zeros(*scores.shape, 4)
        boxes[image, place] = decoded
        small = self._too_small(decoded)
        if small.any():
            scores[image[small], place[small]] = -torch.inf
            order = best(scores, scores.shape[1])
            scores, labels = scores.gather(1, order), labels.gather(1, order)
            boxes = boxes[torch.arange(len(boxes), device=boxes.device)[:, None], order]
        cut = torch.stack([top.cut for top in tops]).amax(0)
        return _Best(scores, labels, boxes, cut, all_there)

    def remembered(self, name: str, first: Callable[[], _Needed]) -> _Needed:
        """What earlier batches needed; ``first()`` in the first one."""
        scores = self.levels[0].scores
        return scores.windowed.graph.cached(scores.windowed.clean, (*scores.key, name), first)

    def moved_apart(self, found: _Best) -> Tensor:
        """The boxes (B, P, 4) with classes moved apart, as mmcv's ``batched_nms`` does."""
        if self.head.test_cfg.nms.get('class_agnostic', False) or self.head.num_classes == 1:
            return found.boxes
        known = (found.scores > -torch.inf)[..., None]
        largest = found.boxes.masked_fill(~known, -torch.inf).amax((1, 2))
        # The largest coordinate of all candidates decides how far. It is known if a box ends where boxes
        # are clipped.
        limit = self._limit(found.boxes)
        if bool((~found.all_there & (largest < limit)).any()):
            largest = self._largest(limit)
        return found.boxes + (found.labels.to(largest) * (largest + 1)[:, None])[..., None]

    def _top(self, level: _Level, limit: int) -> BatchTop:
        """The candidates of one level."""
        cfg = self.head.test_cfg
        top = top_scores(level.scores, cfg.get('score_thr', 0), limit)
        if level.factor is None:
            return top
        image, place = (top.scores > -torch.inf).nonzero().unbind(1)
        scores = top.scores.clone()
        scores[image, place] *= level.factor.take_at(image, top.rows[image, place])
        return top._replace(scores=scores)

    def _decoded(self, image: Tensor, level: Tensor, row: Tensor) -> Tensor:
        """(N, 4) boxes of some rows; images (N,) are ascending."""
        deltas, anchors, places = [], [], []
        for number, each in enumerate(self.levels):
            chosen = (level == number).nonzero()[:, 0]
            places.append(chosen)
            deltas.append(each.deltas.take_at(image[chosen], row[chosen]))
            anchors.append(each.priors[row[chosen]])
        decoded = self.head.bbox_coder.decode(
            torch.cat(anchors), torch.cat(deltas), max_shape=self.meta['img_shape']
        )
        if self.rescale:
            decoded = scale_boxes(decoded, [1 / s for s in self.meta['scale_factor']])
        boxes = torch.empty_like(decoded)
        boxes[torch.cat(places)] = decoded
        return boxes

    def _too_small(self, boxes: Tensor) -> Tensor:
        """(N,) bool: which boxes are too small to be candidates."""
        least = self.head.test_cfg.get('min_bbox_size', -1)
        if least < 0:
            return boxes.new_zeros(len(boxes), dtype=torch.bool)
        return ((boxes[:, 2:] - boxes[:, :2]) <= least).any(1)

    def _limit(self, like: Tensor) -> Tensor:
        """The largest coordinate that a box can have; infinity if boxes are not clipped."""
        if not self.head.bbox_coder.clip_border:
            return like.new_tensor(torch.inf)
        height, width = self.meta['img_shape'][:2]
        limit = like.new_tensor([[width, height, width, height]])
        if self.rescale:
            limit = scale_boxes(limit, [1 / s for s in self.meta['scale_factor']])
        return limit.max()

    def _largest(self, limit: Tensor) -> Tensor:
        """(B,) the largest coordinate of all candidates, which is at most ``limit``."""
        if self._all_largest is not None:
            return self._all_largest
        largest = torch.full_like(limit, -torch.inf)
        # The boxes of the smallest level are the largest, and most likely to be clipped.
        for number in sorted(range(len(self.levels)), key=lambda k: len(self.levels[k].scores)):
            level = self.levels[number]
            top = self._top(level, self.head.test_cfg.nms_pre)
            used = torch.zeros(
                len(top.rows), len(level.scores), dtype=torch.bool, device=top.rows.device
            )
            image, place = (top.scores > -torch.inf).nonzero().unbind(1)
            used[image, top.rows[image, place]] = True
            image, row = used.nonzero().unbind(1)
            boxes = self._decoded(image, torch.full_like(row, number), row)
            large = ~self._too_small(boxes)
            image, boxes = image[large], boxes[large]
            largest = largest.to(boxes).expand(len(used))
            largest = largest.scatter_reduce(0, image, boxes.amax(1), 'amax')
            if bool((largest >= limit).all()):
                break
        self._all_largest = largest
        return largest


def _highest_tie(scores: Tensor) -> Tensor:
    """(B,) the highest of sorted scores (B, P) that two have; minus infinity if all differ."""
    same = scores[:, 1:] == scores[:, :-1]
    padded = torch.cat([scores.new_full((len(scores), 1), -torch.inf), scores[:, 1:]], 1)
    padded[:, 1:].masked_fill_(~same, -torch.inf)
    return padded.amax(1)


class _Ranked(NamedTuple):
    """The best candidates of one image, best first.

    Attributes:
        boxes: (N, 4), classes moved apart.
        scores: (N,).
        twice: The highest score that two of them have; minus infinity if there is none.
        cut: The highest score whose tie decided which candidates there are, or minus infinity.
    """

    boxes: Tensor
    scores: Tensor
    twice: float
    cut: float

    def first(self, count: int) -> _Ranked:
        """The first candidates."""
        return self._replace(boxes=self.boxes[:count], scores=self.scores[:count])

    def down_to(self, floor: float) -> int:
        """How many are at least at a floor; all if it is infinite."""
        count = len(self.scores)
        return int((self.scores >= floor).sum()) if floor < math.inf else count

    def kept(self, nms: Callable[..., tuple[Tensor, Tensor]], threshold: float) -> Tensor:
        """Indices of the boxes that NMS keeps, best first."""
        count = len(self.scores)
        if not count:
            return torch.arange(0, device=self.scores.device)
        ranks = self.scores
        if torch.finfo(ranks.dtype).bits >= 32:
            # Distinct ranks: the order must not depend on how many boxes are sorted.
            ranks = torch.arange(count, 0, -1, device=ranks.device, dtype=ranks.dtype)
        return nms(self.boxes, ranks, threshold)[1]

    def ties_matter(
        self, kept: Tensor, count: int, threshold: float, get_floor: Callable[[], float]
    ) -> bool:
        """Whether a tie can change the detections.

        Args:
            kept: What NMS kept, at most ``count`` + 1.
            count: How many of them become detections.
            threshold: The IoU threshold of NMS.
            get_floor: Gives the score below which ties do not matter; called only if there are ties.
        """
        ties = [self.cut]
        # Scores below the last detection that is taken do not matter.
        lowest = -math.inf
        if len(kept) >= count:
            lowest = float(self.scores[kept[count - 1]])
        if len(kept) > count and float(self.scores[kept[count]]) == lowest:
            ties.append(lowest)
        if max(*ties, self.twice) == -math.inf or max(*ties, self.twice) < lowest:
            return False
        floor = max(get_floor(), lowest)
        if any(tie >= floor for tie in ties if tie > -math.inf):
            return True
        return equal_boxes_overlap(self.boxes, self.scores, threshold, floor)
