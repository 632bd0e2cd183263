"""Metrics of runs on a test set and in bootstrap draws, with a cache folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from mindpad_mm.core.files import is_sealed, read_json, save_json, seal
from mindpad_mm.core.progress import track
from mindpad_mm.evaluation.bootstrap import Draws, Resampler
from mindpad_mm.evaluation.comparison import TestSetSummary
from mindpad_mm.evaluation.detections import detect, detections_digest
from mindpad_mm.evaluation.ground_truth import TestSet
from mindpad_mm.evaluation.metrics import LEAST_IMAGES
from mindpad_mm.evaluation.regions import Zones
from mindpad_mm.evaluation.spatial import (
    Precision,
    SpatialEval,
    assign_regions,
    default_partitions,
    spatial_precisions,
)
from mindpad_mm.settings.compare import CompareSettings
from mindpad_mm.version import __version__


@dataclass(frozen=True)
class TestSetMetrics:
    """The metrics of a run on the test set.

    Attributes:
        detections: Path of the COCO result file.
        values: Metrics by name; None if undefined.
        draws: (draws, metrics) float64, the metrics in each bootstrap draw; NaN if undefined.
    """

    __test__ = False  # for pytest

    detections: Path
    values: dict[str, float | None]
    draws: np.ndarray


class Evaluator:
    """Evaluates runs on one test set.

    Args:
        test_set: The test set.
        cache: Folder for detections, metrics and draws. Files are named by digests of everything that
            they depend on.
        settings: Settings of the comparison.

    Attributes:
        names: Names of the metrics, the columns of all draws.
    """

    def __init__(self, test_set: TestSet, cache: Path, settings: CompareSettings) -> None:
        self.test_set = test_set
        self.cache = cache
        self.settings = settings
        self.partitions = default_partitions(settings.border_px)
        self.precisions = [
            *spatial_precisions(self.partitions, test_set.iou_thrs, test_set.max_dets),
            *class_precisions(test_set),
        ]
        self.names = [p.name for p in self.precisions] + ['zone_var', 'zone_SP']
        self.gt = test_set.gt

    def test_set_summary(self) -> TestSetSummary:
        """The test set's size, in total and by region."""
        return TestSetSummary(
            ann_file=self.test_set.ann_file,
            classes=list(self.test_set.classes),
            images=len(self.test_set.img_ids),
            objects=len(self._objects()),
            objects_by_region=self._count_by_region()[0],
            sizes_by_region=self._sizes_by_region(),
        )

    def names_with_interval(self) -> set[str]:
        """Names of the metrics whose region has enough images for an interval."""
        _, images = self._count_by_region()
        zones = [images[zone] for zone in Zones.names if images[zone]]
        counts = {p.name: images[p.region] for p in self.precisions}
        for precision in self.precisions:
            if precision.category is not None:
                own = {
                    o['image_id'] for o in self._objects() if o['category_id'] == precision.category
                }
                counts[precision.name] = len(own)
        counts.update(zone_SP=images['all'], zone_var=min(zones, default=0))
        return {name for name, count in counts.items() if count >= LEAST_IMAGES}

    def detections_file(self, cfg: Config, checkpoint: str) -> Path:
        """Path of the detections of a checkpoint in the cache."""
        digest = detections_digest(cfg, checkpoint, self.test_set, self.settings.device)
        return self.cache / f'{digest[:20]}.bbox.json'

    def evaluate(self, name: str, cfg: Config, checkpoint: str) -> TestSetMetrics:
        """Evaluate a checkpoint, and reuse what is in the cache.

        Args:
            name: Name of the run, for the progress bars.
            cfg: Config of the detector.
            checkpoint: Path or URL of its weights.
        """
        detections = self.detections_file(cfg, checkpoint)
        if not is_sealed(detections):
            detect(cfg, checkpoint, self.test_set, detections, self.settings.device, name)
            seal(detections)
        key_parts = f'{detections.name} {self.precisions} {__version__}'
        key = hashlib.sha256(key_parts.encode()).hexdigest()[:20]
        seed = self.settings.seed
        values_file = self.cache / f'{key}.figures.json'
        draws = Draws(self.cache / f'{key}.draws-{seed}', self.names, seed)
        missing = draws.missing(self.settings.draws)
        if missing or not is_sealed(values_file):
            content = read_json(detections)
            evaluation = SpatialEval(
                self.gt,
                content,
                self.partitions,
                self.precisions,
                cat_ids=self.test_set.cat_ids,
                img_ids=self.test_set.img_ids,
            )
            save_json(values_file, evaluation.metrics())
            seal(values_file)
            resampler = Resampler(evaluation)
            bar = track(missing, f'{name}: resampling')
            for block in bar:
                draws.compute(resampler, block)
        saved = read_json(values_file)
        values = {name: None if saved[name] < 0 else saved[name] for name in self.names}
        return TestSetMetrics(detections, values, draws.load(self.settings.draws))

    def _count_by_region(self) -> tuple[dict[str, int], dict[str, int]]:
        """By region, the number of objects without crowds, and the number of images with objects."""
        anns = self._objects()
        image_ids = np.array([ann['image_id'] for ann in anns])
        objects, images = {}, {}
        for partition in self.partitions:
            regions = assign_regions(self.gt, anns, partition)
            for index, name in enumerate(partition.names):
                objects[name] = int((regions == index).sum())
                images[name] = len(np.unique(image_ids[regions == index]))
        return objects, images

    def _sizes_by_region(self) -> dict[str, float | None]:
        """By region, the median size of the objects without crowds, pixels."""
        anns = self._objects()
        sizes = np.sqrt([ann['bbox'][2] * ann['bbox'][3] for ann in anns])
        medians: dict[str, float | None] = {}
        for partition in self.partitions:
            regions = assign_regions(self.gt, anns, partition)
            for index, name in enumerate(partition.names):
                inside = sizes[regions == index]
                medians[name] = round(float(np.median(inside)), 2) if inside.size else None
        return medians

    def _objects(self) -> list[dict[str, Any]]:
        """The objects without crowds."""
        wanted, images = set(self.test_set.cat_ids), set(self.test_set.img_ids)
        return [
            entry
            for entry in self.gt.dataset['annotations']
            if entry['category_id'] in wanted
            and entry['image_id'] in images
            and not entry.get('iscrowd')
        ]


def class_precisions(test_set: TestSet) -> list[Precision]:
    """mAP of every class, if the evaluator computes it (``classwise``), named as there."""
    if test_set.class_max_dets is None:
        return []
    return [
        Precision(f'{name}_precision', 'all', test_set.iou_thrs, test_set.class_max_dets, category)
        for name, category in zip(test_set.classes, test_set.cat_ids)
    ]
