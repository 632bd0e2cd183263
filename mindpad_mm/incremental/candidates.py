"""The candidates of a batch: what ``BaseDenseHead`` passes to NMS, found and decoded at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.structures.bbox import scale_boxes
from torch import Tensor

from mindpad_mm.incremental.levels import LazyLevel
from mindpad_mm.incremental.topk import BatchTop, best, top_scores

# In later batches NMS gets this multiple of the most boxes that an image needed, in whole steps.
_MARGIN, _STEP = 1.1, 128


class Level(NamedTuple):
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


class Candidates(NamedTuple):
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
class Needed:
    """The most boxes that an image needed, which tells how many the next batches will need.

    Attributes:
        to_the_floor: Of images whose scores below the floor were not needed.
        whole: Of others.
    """

    to_the_floor: int = 0
    whole: int = 0

    def learn(self, needed: Needed) -> None:
        """Take over what a batch needed, with some to spare."""
        if needed.to_the_floor:
            self.to_the_floor = _STEP * (int(needed.to_the_floor * _MARGIN) // _STEP + 1)
        if needed.whole:
            self.whole = _STEP * (int(needed.whole * _MARGIN) // _STEP + 1)
            if not needed.to_the_floor:
                self.to_the_floor = self.whole


class CandidateFinder:
    """Finds and decodes the candidates of a batch: the boxes that ``BaseDenseHead`` passes to NMS.

    Args:
        head: The head.
        levels: What it predicts.
        meta: The metainfo of all images.
        rescale: Whether boxes become those of the original image.
    """

    def __init__(
        self, head: BaseDenseHead, levels: Sequence[Level], meta: dict[str, Any], rescale: bool
    ) -> None:
        self.head, self.levels, self.meta, self.rescale = head, levels, meta, rescale
        self._all_largest: Tensor | None = None

    def best(self, length: int) -> Candidates:
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
        return Candidates(scores, labels, boxes, cut, all_there)

    def remembered(self, name: str, first: Callable[[], Needed]) -> Needed:
        """What earlier batches needed; ``first()`` in the first one."""
        scores = self.levels[0].scores
        return scores.windowed.graph.cached(scores.windowed.clean, (*scores.key, name), first)

    def moved_apart(self, found: Candidates) -> Tensor:
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

    def _top(self, level: Level, limit: int) -> BatchTop:
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
