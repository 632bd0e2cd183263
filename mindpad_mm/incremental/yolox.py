"""YOLOX's post-processing of lazy levels, for all images of a batch at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import YOLOXHead
from mmengine.structures import InstanceData
from torch import Tensor

from mindpad_mm.incremental.levels import LazyLevel


class YoloxPrediction:
    """``YOLOXHead.predict_by_feat`` for lazy levels.

    MMDetection's own writes out the scores of all classes and cells of all images, and decodes all boxes.
    Here scores and classes of the clean run are found once, and only boxes above the score threshold are
    decoded. NMS is MMDetection's own.

    Args:
        head: The head.
        own: Its ``predict_by_feat``, for calls that are unusual.
    """

    def __init__(self, head: YOLOXHead, own: Callable[..., list[InstanceData]]) -> None:
        self.head, self.own = head, own

    def __call__(
        self,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        objectnesses: Sequence[Tensor],
        batch_img_metas: Sequence[dict[str, Any]] = (),
        cfg: Any = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> list[InstanceData]:
        """See ``YOLOXHead.predict_by_feat``."""
        head, metas = self.head, batch_img_metas
        kinds = cls_scores, bbox_preds, objectnesses
        if type(head).predict_by_feat is not YOLOXHead.predict_by_feat or not all(
            isinstance(level, LazyLevel) and len(level) == len(metas)
            for kind in kinds for level in kind
        ):  # fmt: skip
            return self.own(
                *kinds, batch_img_metas=metas, cfg=cfg, rescale=rescale, with_nms=with_nms
            )
        cfg = head.test_cfg if cfg is None else cfg
        priors = head.prior_generator.grid_priors(
            [level.shape[-2:] for level in cls_scores],
            dtype=cls_scores[0].dtype,
            device=cls_scores[0].device,
            with_stride=True,
        )
        levels = [self._level(*level, cfg.score_thr) for level in zip(*kinds, priors)]
        # Of each image, boxes come level by level, as MMDetection has them.
        image, scores, labels, deltas, anchors = map(torch.cat, zip(*levels))
        order = image.argsort(stable=True)
        boxes = head._bbox_decode(anchors[order], deltas[order])
        counts = torch.bincount(image, minlength=len(metas)).tolist()
        parts = (each.split(counts) for each in (boxes, scores[order], labels[order]))
        return [
            head._bbox_post_process(
                results=InstanceData(bboxes=box, scores=score, labels=label),
                cfg=cfg, rescale=rescale, with_nms=with_nms, img_meta=meta,
            )
            for meta, box, score, label in zip(metas, *parts)
        ]  # fmt: skip

    def _level(
        self,
        cls: LazyLevel,
        box: LazyLevel,
        objectness: LazyLevel,
        priors: Tensor,
        threshold: float,
    ) -> tuple[Tensor, ...]:
        """The boxes of one level above the threshold: image, score, class, box deltas and prior."""
        classes = cls[0].permute(1, 2, 0).reshape(-1, self.head.cls_out_channels).sigmoid()
        certain = objectness[0].permute(1, 2, 0).reshape(-1).sigmoid()
        top, labels = classes.best_columns()
        scores = top * certain.all_rows()
        image, row = (scores >= threshold).nonzero().unbind(1)
        deltas = box[0].permute(1, 2, 0).reshape(-1, 4).take_at(image, row)
        return image, scores[image, row], labels[image, row], deltas, priors[row]
