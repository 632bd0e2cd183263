"""CocoMetric that also says where in the image a detector is good."""

from __future__ import annotations

import os.path as osp
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS
from mmengine.fileio import load
from mmengine.logging import print_log

from mindpad_mm.evaluation.regions import BORDER_PX, BorderBins, Whole, Zones
from mindpad_mm.evaluation.spatial import SpatialEval, spatial_precisions


@METRICS.register_module()
class SpatialCocoMetric(CocoMetric):
    """MMDetection's ``CocoMetric`` with its options and its figures, and these for ``bbox`` and ``segm``
    (shown for ``bbox``; 0..1, -1 where there is no object to find):

    - ``bbox_mAP_20``: AP at IoU .20, computed as ``bbox_mAP_50`` is.
    - ``bbox_zone0_mAP`` ... ``bbox_zone4_mAP`` and ``bbox_zone0_mAP_50`` ...: AP of the objects and
      detections whose centre lies in one of five nested frames, the outermost first, see
      :class:`~mindpad_mm.evaluation.regions.Zones`.
    - ``bbox_zone_var``: the variance of the five mAPs, and ``bbox_zone_SP``: their mean weighted by
      the frames' areas (.36, .28, .20, .12, .04), the spatial equilibrium precision.
    - ``bbox_border_0_8_mAP``, ``bbox_border_8_16_mAP``, ..., ``bbox_border_128_up_mAP``, and
      ``..._mAP_50``: AP of the objects by the pixels of the original image between their box and
      its nearest side.

    Args:
        *args: As of ``CocoMetric``.
        border_px: Edges of the bins of distance to the border, pixels, ascending from above 0.
            Default: (8, 16, 32, 64, 128).
        **kwargs: As of ``CocoMetric``; ``iou_thrs`` is what the mAP of the regions is the mean over,
            too.

    Raises:
        UserError: ``border_px`` does not ascend from above 0.

    Example:
        ``val_evaluator = dict(type='SpatialCocoMetric')`` on top of any config that has a
        ``CocoMetric`` there.
    """

    def __init__(self, *args: Any, border_px: Sequence[float] = BORDER_PX, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # COCOeval compares with all of them at once, which a list from a config cannot.
        self.iou_thrs = np.atleast_1d(self.iou_thrs)
        self.partitions = [Whole(), Zones(), BorderBins(tuple(border_px))]

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The figures by name.

        Args:
            results: (ground truth, prediction) of every image, as ``process`` collects them.
        """
        figures = super().compute_metrics(results)
        wanted = [kind for kind in self.metrics if kind in ('bbox', 'segm')]
        if self.format_only or not wanted:
            return figures
        with tempfile.TemporaryDirectory() as folder:
            files = self.results2json([found for _, found in results], osp.join(folder, 'found'))
            detections = {kind: load(files[kind]) for kind in wanted}
        for kind, found in detections.items():
            if found:  # CocoMetric gives no figure at all without
                figures.update(self._spatial_figures(kind, found))
        return figures

    def _spatial_figures(self, kind: str, found: list[dict[str, Any]]) -> dict[str, float]:
        if kind == 'segm':  # as in CocoMetric: where a mask lies is for the mask to say
            found = [{k: v for k, v in detection.items() if k != 'bbox'} for detection in found]
        precisions = [
            precision
            for precision in spatial_precisions(
                self.partitions, tuple(self.iou_thrs), max(self.proposal_nums)
            )
            if precision.region != 'all' or precision.name == 'mAP_20'
        ]
        evaluation = SpatialEval(
            self._coco_api, found, self.partitions, precisions, kind, self.cat_ids, self.img_ids
        )
        figures = evaluation.figures()
        zones = ' '.join(f'{figures[f"{zone}_mAP"]:.3f}' for zone in Zones.names)
        print_log(f'{kind}_mAP by zone, outermost first: {zones}', logger='current')
        # A variance of APs is small: three digits, as of all others, would often leave none.
        digits = {'zone_var': 6}
        return {
            f'{kind}_{name}': round(float(value), digits.get(name, 3))
            for name, value in figures.items()
        }
