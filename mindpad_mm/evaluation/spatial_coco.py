"""MMDetection's CocoMetric with additional AP by region of the image."""

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

from mindpad_mm.evaluation.regions import BORDER_PX, Zones
from mindpad_mm.evaluation.spatial import (
    SpatialEval,
    check_sizes,
    default_partitions,
    spatial_precisions,
)


@METRICS.register_module()
class SpatialCocoMetric(CocoMetric):
    """MMDetection's ``CocoMetric`` with additional metrics by region of the image.

    They are computed for ``bbox`` and ``segm`` (listed for ``bbox``), in 0..1, or -1 without objects:

    - ``bbox_mAP_20``: AP at IoU .20, computed like ``bbox_mAP_50``.
    - ``bbox_zone0_mAP`` ... ``bbox_zone4_mAP`` and ``bbox_zone0_mAP_50`` ...: AP in five nested
      zones, the outermost first, see :class:`~mindpad_mm.evaluation.regions.Zones`.
    - ``bbox_zone_var``: variance of the five mAPs.
    - ``bbox_zone_SP``: spatial equilibrium precision, the mean of the five mAPs weighted by the
      zones' areas (.36, .28, .20, .12, .04).
    - ``bbox_border_0_8_mAP``, ``bbox_border_8_16_mAP``, ..., ``bbox_border_128_up_mAP``, and
      ``..._mAP_50``: AP by the distance between an object's box and the nearest border, in pixels
      of the original image.

    Args:
        *args: Arguments of ``CocoMetric``.
        border_px: Bin edges of the distance to the border, pixels above 0, ascending. Default:
            (8, 16, 32, 64, 128).
        **kwargs: Arguments of ``CocoMetric``; ``iou_thrs`` also applies to the mAP of the regions.

    Raises:
        UserError: ``border_px`` is not ascending, finite and above 0.

    Example:
        ``val_evaluator = dict(type='SpatialCocoMetric')`` in a config that inherits from one whose
        ``val_evaluator`` is a ``CocoMetric``.
    """

    def __init__(self, *args: Any, border_px: Sequence[float] = BORDER_PX, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A config gives a list, but COCOeval compares all thresholds at once and needs an array.
        self.iou_thrs = np.atleast_1d(self.iou_thrs)
        self.partitions = default_partitions(tuple(border_px))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The metrics by name.

        Args:
            results: (ground truth, prediction) of every image, as ``process`` collects them.

        Raises:
            UserError: The annotations give an image another size than it has.
        """
        metrics = super().compute_metrics(results)
        check_sizes([shown for shown, _ in results], self._coco_api)
        wanted = [kind for kind in self.metrics if kind in ('bbox', 'segm')]
        if self.format_only or not wanted:
            return metrics
        with tempfile.TemporaryDirectory() as folder:
            files = self.results2json([found for _, found in results], osp.join(folder, 'found'))
            detections = {kind: load(files[kind]) for kind in wanted}
        for kind, found in detections.items():
            if found:  # without detections, CocoMetric gives no metrics either
                metrics.update(self._spatial_metrics(kind, found))
        return metrics

    def _spatial_metrics(self, kind: str, found: list[dict[str, Any]]) -> dict[str, float]:
        if kind == 'segm':  # as in CocoMetric, pycocotools computes the box from the mask
            found = [{k: v for k, v in detection.items() if k != 'bbox'} for detection in found]
        precisions = [
            precision
            for precision in spatial_precisions(
                self.partitions, tuple(self.iou_thrs), sorted(self.proposal_nums)[:3][-1]
            )
            if precision.region != 'all' or precision.name == 'mAP_20'
        ]
        evaluation = SpatialEval(
            self._coco_api, found, self.partitions, precisions, kind, self.cat_ids, self.img_ids
        )
        metrics = evaluation.metrics()
        zones = ' '.join(f'{metrics[f"{zone}_mAP"]:.3f}' for zone in Zones.names)
        print_log(f'{kind}_mAP by zone, outermost first: {zones}', logger='current')
        # The variance of APs is so small that it would often be 0 if rounded to three digits.
        digits = {'zone_var': 6}
        return {
            f'{kind}_{name}': round(float(value), digits.get(name, 3))
            for name, value in metrics.items()
        }
