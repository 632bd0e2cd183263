"""Average precision by region: COCOeval with the regions in the place of its areas."""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mindpad_mm.evaluation.regions import BORDER_PX, BorderBins, Partition, Whole, Zones

COCO_THRS = tuple(np.linspace(0.5, 0.95, 10))
"""The IoU thresholds that COCO's mAP is the mean over."""
UNDEFINED = -1.0
"""COCO's value of an AP without any object to find."""


@dataclass(frozen=True)
class Precision:
    """One average precision that can be asked for.

    Attributes:
        name: As in the metric, without its ``bbox_``.
        region: Name of a region.
        iou_thrs: The IoU thresholds that it is the mean over.
        max_dets: Detections that count, the best of each image and class.
    """

    name: str
    region: str
    iou_thrs: tuple[float, ...]
    max_dets: int


def spatial_precisions(
    partitions: Sequence[Partition],
    iou_thrs: Sequence[float] = COCO_THRS,
    max_dets: int = 1000,
) -> list[Precision]:
    """What is measured: AP by threshold in the whole image, and mAP and AP.50 in every region.

    Args:
        partitions: With or without :class:`Whole`.
        iou_thrs: What mAP is the mean over.
        max_dets: For the APs at one threshold, MMDetection's largest ``proposal_nums``. mAP takes 100.
    """
    precisions = []
    for partition in partitions:
        for region in partition.names:
            prefix = '' if region == 'all' else f'{region}_'
            precisions.append(Precision(f'{prefix}mAP', region, tuple(iou_thrs), 100))
            for percent in (20, 50, 75) if region == 'all' else (50,):
                name = f'{prefix}mAP_{percent}'
                precisions.append(Precision(name, region, (percent / 100,), max_dets))
    return precisions


class RegionEval(COCOeval):
    """COCOeval whose area ranges are the regions of a partition.

    The area of a box is replaced by the index of its region and the area ranges by those indices,
    so that COCO's own rule ignores what is outside: objects there are not asked for, and
    detections that match them, or match nothing outside, are not false.

    Args:
        gt: The annotations.
        dt: The detections.
        iou_type: ``'bbox'`` or ``'segm'``; a mask lies where its box does.
        partition: The regions.
        only: Evaluate this region alone, all detections outside it taken away.
    """

    def __init__(
        self, gt: COCO, dt: COCO, iou_type: str, partition: Partition, only: int | None = None
    ) -> None:
        super().__init__(gt, dt, iou_type)
        self.partition = partition
        self.only = only
        regions = range(len(partition.names)) if only is None else [only]
        self.params.areaRng = [[index, index] for index in regions]
        self.params.areaRngLbl = [partition.names[index] for index in regions]

    def _prepare(self) -> None:
        super()._prepare()
        self._gts = self._placed(self._gts)
        self._dts = self._placed(self._dts)
        if self.only is not None:
            for key, found in self._dts.items():
                self._dts[key] = [ann for ann in found if ann['area'] == self.only]

    def _placed(self, anns: dict[Any, list[dict]]) -> dict[Any, list[dict]]:
        flat = [ann for group in anns.values() for ann in group]
        placed = defaultdict(list)
        for ann, region in zip(flat, place(self.cocoGt, flat, self.partition).tolist()):
            placed[ann['image_id'], ann['category_id']].append({**ann, 'area': region})
        return placed


class SpatialEval:
    """Detections matched with the objects of every region.

    Args:
        gt: The annotations; images with ``width`` and ``height``.
        detections: As in a COCO result file; may be empty. Not changed.
        partitions: The divisions of the image.
        precisions: What will be asked for.
        iou_type: ``'bbox'`` (default) or ``'segm'``.
        cat_ids: Categories to evaluate, default all.
        img_ids: Images to evaluate, default all.

    Attributes:
        evals: By region, the evaluation it is in and its index among the area ranges there.
        image_ids: Of the images, in the order of every ``evalImgs``.
    """

    def __init__(
        self,
        gt: COCO,
        detections: Sequence[dict[str, Any]],
        partitions: Sequence[Partition],
        precisions: Sequence[Precision],
        iou_type: str = 'bbox',
        cat_ids: Sequence[int] | None = None,
        img_ids: Sequence[int] | None = None,
    ) -> None:
        self.precisions = list(precisions)
        self.evals: dict[str, tuple[COCOeval, int]] = {}
        with contextlib.redirect_stdout(io.StringIO()):
            dt = load_detections(gt, detections)
            for partition in partitions:
                for evaluation in _evaluations(gt, dt, iou_type, partition):
                    params = evaluation.params
                    params.catIds = list(gt.getCatIds() if cat_ids is None else cat_ids)
                    params.imgIds = list(gt.getImgIds() if img_ids is None else img_ids)
                    wanted = [p for p in precisions if p.region in params.areaRngLbl]
                    params.iouThrs = np.unique([thr for p in wanted for thr in p.iou_thrs])
                    params.maxDets = sorted({p.max_dets for p in wanted})
                    evaluation.evaluate()
                    for index, region in enumerate(params.areaRngLbl):
                        self.evals[region] = evaluation, index
        self.image_ids = list(evaluation.params.imgIds)

    def figures(self) -> dict[str, float]:
        """Every precision by name, in 0..1 or -1 where there is nothing to find, and what follows
        from the zones, see :func:`zone_summary`."""
        with contextlib.redirect_stdout(io.StringIO()):
            for evaluation in {id(e): e for e, _ in self.evals.values()}.values():
                evaluation.accumulate()
        values = {}
        for precision in self.precisions:
            evaluation, region = self.evals[precision.region]
            thrs = threshold_indices(evaluation, precision)
            dets = evaluation.params.maxDets.index(precision.max_dets)
            found = evaluation.eval['precision'][thrs, :, :, region, dets]
            found = found[found > UNDEFINED]
            values[precision.name] = float(found.mean()) if found.size else UNDEFINED
        return with_zone_summary(values)


def place(gt: COCO, anns: Sequence[dict[str, Any]], partition: Partition) -> np.ndarray:
    """(N,) int, the region of each annotation or detection."""
    images = [gt.imgs[ann['image_id']] for ann in anns]
    boxes = np.array([ann['bbox'] for ann in anns], float).reshape(-1, 4)
    sizes = np.array([(image['width'], image['height']) for image in images], float)
    return partition.assign(boxes, sizes.reshape(-1, 2))


def threshold_indices(evaluation: COCOeval, precision: Precision) -> list[int]:
    """Where a precision's thresholds stand among those of an evaluation."""
    return [list(evaluation.params.iouThrs).index(thr) for thr in precision.iou_thrs]


def load_detections(gt: COCO, detections: Sequence[dict[str, Any]]) -> COCO:
    """``COCO.loadRes`` that leaves its argument as it is and takes no detections at all, too.

    Raises:
        AssertionError: A detection's image is not in ``gt``.
    """
    if detections:
        return gt.loadRes([dict(detection) for detection in detections])
    empty = COCO()
    empty.dataset = {**gt.dataset, 'annotations': []}
    empty.createIndex()
    return empty


def zone_summary(zones: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variance and spatial equilibrium precision of zone APs.

    Args:
        zones: (..., 5) AP by zone in 0..1, outermost first; below 0 where a zone has no object.

    Returns:
        The population variance over the zones, and the mean weighted by their areas, both (...)
        and over the zones that have objects; -1 where none has.

    Source: Zheng et al., Zone Evaluation, TPAMI 2024 (arXiv 2310.13215), where no zone is empty:
    where one is, the other weights are scaled up to a sum of 1.
    """
    zones = np.ma.masked_less(zones, 0)
    variance = np.ma.var(zones, axis=-1)
    equilibrium = np.ma.average(zones, axis=-1, weights=np.broadcast_to(Zones.areas, zones.shape))
    return np.ma.filled(variance, UNDEFINED), np.ma.filled(equilibrium, UNDEFINED)


def with_zone_summary(values: dict[str, Any]) -> dict[str, Any]:
    """``values`` and ``zone_var`` and ``zone_SP`` of its zone mAPs, numbers or arrays alike."""
    names = [f'{zone}_mAP' for zone in Zones.names]
    if not set(names) <= set(values):
        return values
    variance, equilibrium = zone_summary(np.stack([values[name] for name in names], axis=-1))
    return {**values, 'zone_var': variance[()], 'zone_SP': equilibrium[()]}


def default_partitions(border_px: Sequence[float] = BORDER_PX) -> list[Partition]:
    """The whole image, the five zones and the bins of distance to the border."""
    return [Whole(), Zones(), BorderBins(border_px)]


def _evaluations(gt: COCO, dt: COCO, iou_type: str, partition: Partition) -> Iterator[RegionEval]:
    if partition.keeps_matches:
        yield RegionEval(gt, dt, iou_type, partition)
    else:
        for index in range(len(partition.names)):
            yield RegionEval(gt, dt, iou_type, partition, only=index)
