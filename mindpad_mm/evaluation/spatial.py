"""Average precision by region: COCOeval with regions instead of area ranges."""

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

from mindpad_mm.core.errors import UserError
from mindpad_mm.evaluation.regions import BorderBins, Partition, Whole, Zones
from mindpad_mm.settings.compare import BORDER_PX

COCO_THRS = tuple(np.linspace(0.5, 0.95, 10))
"""IoU thresholds of COCO's mAP."""
UNDEFINED = -1.0
"""COCO's value of an AP without objects."""


@dataclass(frozen=True)
class Precision:
    """Definition of an average precision.

    Attributes:
        name: Name of the metric without ``bbox_``.
        region: Name of the region.
        iou_thrs: IoU thresholds; AP is averaged over them.
        max_dets: Number of detections per image and class that count, those with the highest scores.
        category: Id of the only category that counts. Default: all.
    """

    name: str
    region: str
    iou_thrs: tuple[float, ...]
    max_dets: int
    category: int | None = None


def spatial_precisions(
    partitions: Sequence[Partition],
    iou_thrs: Sequence[float] = COCO_THRS,
    max_dets: int = 1000,
) -> list[Precision]:
    """The average precisions to measure.

    In the whole image: mAP and AP at IoU .20, .50 and .75. In every other region: mAP and AP at .50.

    Args:
        partitions: Divisions of the image, with or without :class:`Whole`.
        iou_thrs: IoU thresholds of mAP. Default: those of COCO.
        max_dets: ``max_dets`` of the APs at one threshold: MMDetection's third ``proposal_nums``, 1000
            by default. That of mAP is always 100.
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
    """COCOeval with the regions of a partition as area ranges.

    The area of a box is replaced by the index of its region, and the area ranges by those indices.
    COCO's own rule then ignores objects outside a region, detections that match such an object, and
    unmatched detections outside the region.

    Args:
        gt: The annotations.
        dt: The detections.
        iou_type: ``'bbox'`` or ``'segm'``; the region of a mask is that of its box.
        partition: The regions.
        only: Evaluate only the region of this index, with all detections outside it removed.
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
        self._gts = self._with_regions(self._gts)
        self._dts = self._with_regions(self._dts)
        if self.only is not None:
            for key, found in self._dts.items():
                self._dts[key] = [ann for ann in found if ann['area'] == self.only]

    def _with_regions(self, anns: dict[Any, list[dict]]) -> dict[Any, list[dict]]:
        flat = [ann for group in anns.values() for ann in group]
        grouped = defaultdict(list)
        for ann, region in zip(flat, assign_regions(self.cocoGt, flat, self.partition).tolist()):
            grouped[ann['image_id'], ann['category_id']].append({**ann, 'area': region})
        return grouped


class SpatialEval:
    """Matches detections with the objects of every region, and computes average precisions.

    Args:
        gt: The annotations. Images need ``width`` and ``height``.
        detections: Detections as in a COCO result file; may be empty. They are not changed.
        partitions: Divisions of the image.
        precisions: Average precisions to compute.
        iou_type: ``'bbox'`` (default) or ``'segm'``.
        cat_ids: Ids of the categories to evaluate. Default: all.
        img_ids: Ids of the images to evaluate. Default: all.

    Attributes:
        precisions: The average precisions.
        evals: By region, its evaluation, and its index among the area ranges of this evaluation.
        image_ids: Ids of the images, in the order of every ``evalImgs``.
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

    def metrics(self) -> dict[str, float]:
        """Every average precision by name, in 0..1, or -1 without objects.

        With all zones among them, also ``zone_var`` and ``zone_SP``, see :func:`zone_summary`.
        """
        with contextlib.redirect_stdout(io.StringIO()):
            for evaluation in {id(e): e for e, _ in self.evals.values()}.values():
                evaluation.accumulate()
        values = {}
        for precision in self.precisions:
            evaluation, region = self.evals[precision.region]
            thrs = threshold_indices(evaluation, precision)
            dets = evaluation.params.maxDets.index(precision.max_dets)
            classes = class_indices(evaluation, precision)
            found = evaluation.eval['precision'][thrs][:, :, classes, region, dets]
            found = found[found > UNDEFINED]
            values[precision.name] = float(found.mean()) if found.size else UNDEFINED
        return with_zone_summary(values)


def assign_regions(gt: COCO, anns: Sequence[dict[str, Any]], partition: Partition) -> np.ndarray:
    """Indices (N,) of the regions of annotations or detections."""
    images = [gt.imgs[ann['image_id']] for ann in anns]
    boxes = np.array([ann['bbox'] for ann in anns], float).reshape(-1, 4)
    sizes = np.array([(image['width'], image['height']) for image in images], float)
    return partition.assign(boxes, sizes.reshape(-1, 2))


def check_sizes(images: Sequence[dict[str, Any]], gt: COCO) -> None:
    """Check that annotations give images the sizes that they have: regions depend on them.

    Args:
        images: ``img_id``, ``width`` and ``height`` of images as they were read.
        gt: The annotations.

    Raises:
        UserError: A size differs.
    """
    for image in images:
        listed = gt.imgs[image['img_id']]
        if (listed['width'], listed['height']) != (image['width'], image['height']):
            raise UserError(
                f'image {image["img_id"]!r} ({listed["file_name"] or "no name"}) has '
                f'{image["width"]} x {image["height"]} pixels, but the annotations of the test set say '
                f'{listed["width"]} x {listed["height"]}: correct them'
            )


def threshold_indices(evaluation: COCOeval, precision: Precision) -> list[int]:
    """Indices of a precision's IoU thresholds among those of an evaluation."""
    return [list(evaluation.params.iouThrs).index(thr) for thr in precision.iou_thrs]


def class_indices(evaluation: COCOeval, precision: Precision) -> list[int]:
    """Indices of a precision's categories among those of an evaluation."""
    ids = list(evaluation.params.catIds)
    return list(range(len(ids))) if precision.category is None else [ids.index(precision.category)]


def load_detections(gt: COCO, detections: Sequence[dict[str, Any]]) -> COCO:
    """``COCO.loadRes`` that does not change its argument and accepts an empty list.

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

    Source: Zheng et al., Zone Evaluation, TPAMI 2024 (arXiv 2310.13215). Zones without objects do not
    occur in the paper. Here they are left out, and the weights of the others are scaled to a sum of 1.

    Args:
        zones: (..., 5) AP by zone in 0..1, outermost first; below 0 if a zone has no objects.

    Returns:
        Population variance over the zones, and their mean weighted by area. Both have the shape (...)
        and are -1 if no zone has objects.
    """
    zones = np.ma.masked_less(zones, 0)
    variance = np.ma.var(zones, axis=-1)
    equilibrium = np.ma.average(zones, axis=-1, weights=np.broadcast_to(Zones.areas, zones.shape))
    return np.ma.filled(variance, UNDEFINED), np.ma.filled(equilibrium, UNDEFINED)


def with_zone_summary(values: dict[str, Any]) -> dict[str, Any]:
    """Add ``zone_var`` and ``zone_SP`` to metrics, numbers or arrays, if all zone mAPs are there."""
    names = [f'{zone}_mAP' for zone in Zones.names]
    if not set(names) <= set(values):
        return values
    variance, equilibrium = zone_summary(np.stack([values[name] for name in names], axis=-1))
    return {**values, 'zone_var': variance[()], 'zone_SP': equilibrium[()]}


def default_partitions(border_px: Sequence[float] = BORDER_PX) -> list[Partition]:
    """The whole image, the five zones, and the bins of the distance to the border."""
    return [Whole(), Zones(), BorderBins(border_px)]


def _evaluations(gt: COCO, dt: COCO, iou_type: str, partition: Partition) -> Iterator[RegionEval]:
    if partition.keeps_matches:
        yield RegionEval(gt, dt, iou_type, partition)
    else:
        for index in range(len(partition.names)):
            yield RegionEval(gt, dt, iou_type, partition, only=index)
