"""MMDetection's post-processing of a dense head, for all images of a batch at once.

``BaseDenseHead`` takes the images one by one, and the levels of an image one by one: for small detectors
these many small operations take as long as the network. Here each step runs once for the batch. What is
decoded, and what NMS compares, are the same numbers. NMS stops once it has enough boxes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.task_modules.coders import (
    DeltaXYWHBBoxCoder,
    DistancePointBBoxCoder,
    TBLRBBoxCoder,
)
from mmengine.structures import InstanceData
from torch import Tensor

from mindpad_mm.incremental.candidates import CandidateFinder, Level, Needed
from mindpad_mm.incremental.levels import LazyLevel
from mindpad_mm.incremental.ties import equal_boxes_overlap

ScoreFloor = Callable[[int, InstanceData], float]
"""From the index of an image in the batch and its detections to the score below which the order of
equal scores does not matter, and below which detections may be missing. If it is infinite, none is
missing, and all may be in any order."""

# Coders that decode each box alone.
_CODERS = (DeltaXYWHBBoxCoder, DistancePointBBoxCoder, TBLRBBoxCoder)
# NMS first gets this many boxes for each detection that it should keep.
_FIRST = 2
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

        boxes = CandidateFinder(self.head, levels, metas[0], rescale)
        return self._predicted(boxes, len(metas), again)

    def _level(self, priors: Tensor, *maps: LazyLevel) -> Level:
        """The steps of ``BaseDenseHead`` from the maps of a level to its rows."""
        head = self.head
        cls, box, *factors = (level[0].permute(1, 2, 0) for level in maps)
        scores = cls.reshape(-1, head.cls_out_channels)
        scores = scores.sigmoid() if head.use_sigmoid_cls else scores.softmax(-1)[:, :-1]
        factor = factors[0].reshape(-1).sigmoid() if factors else None
        return Level(scores, box.reshape(-1, head.bbox_coder.encode_size), factor, priors)

    def _predicted(
        self, finder: CandidateFinder, batch: int, again: Callable[[int], InstanceData]
    ) -> list[InstanceData]:
        """The final detections of each image."""
        count, threshold = self.head.test_cfg.max_per_img, self.head.test_cfg.nms.iou_threshold
        results: list[Any] = [None] * batch
        expected = finder.remembered('boxes for NMS', lambda: Needed(_FIRST * (count + 1)))
        needed = Needed()
        left, length = list(range(batch)), expected.to_the_floor
        while left:
            best_ones = finder.best(length)
            moved = finder.moved_apart(best_ones)
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
