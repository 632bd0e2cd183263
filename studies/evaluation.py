"""Evaluate one training: AP by region, a scan, and the border bias and filters of its layers."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mindpad_mm.core.detector import DetectorFiles
from mindpad_mm.core.files import save_json, written_whole
from mindpad_mm.diagnose import Subject, check_artifacts, check_filters
from mindpad_mm.evaluation.bootstrap import Draws, Resampler
from mindpad_mm.evaluation.detections import detect
from mindpad_mm.evaluation.ground_truth import TestSet
from mindpad_mm.evaluation.recalibrate import recalibrated_checkpoint
from mindpad_mm.evaluation.regions import BORDER_PX
from mindpad_mm.evaluation.spatial import SpatialEval, default_partitions, spatial_precisions
from mindpad_mm.scan import ScanStatistics, blindspot_scan
from mindpad_mm.traffic_lights.compose import cut_out
from mindpad_mm.traffic_lights.sources import read_crop
from studies.training import Training

PARTITIONS = default_partitions(BORDER_PX)
# Of the regions only mAP, since every metric is bootstrapped.
PRECISIONS = [
    precision
    for precision in spatial_precisions(PARTITIONS)
    if precision.region == 'all' or precision.name == f'{precision.region}_mAP'
]
METRICS = [precision.name for precision in PRECISIONS] + ['zone_var', 'zone_SP']


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A training, tested in one padding mode. Results are kept in the training's work dir.

    Attributes:
        training: A finished training.
        mode: Padding mode of the test. Default: that of the training.
        recalibrate: Number of training images on which batch-norm statistics are estimated again
            after the swap. Default: 0, the statistics are kept.
    """

    training: Training
    mode: str | None = None
    recalibrate: int = 0

    @property
    def folder(self) -> Path:
        """Folder of the results."""
        parts = [self.mode or 'own', *(['recalibrated'] if self.recalibrate else [])]
        return self.training.work_dir / 'evaluation' / '_'.join(parts)

    @property
    def cfg_options(self) -> dict[str, Any]:
        """Config overrides that set the mode."""
        return {} if self.mode is None else {'model.padding_cfg.mode': self.mode}

    def checkpoint(self) -> Path:
        """The weights to test, recalibrated if ``recalibrate`` is not 0."""
        trained = self.training.checkpoint
        if not self.recalibrate:
            return trained
        path = self.folder / f'recalibrated_{self.recalibrate}.pth'
        if not path.is_file():
            cfg = self.training.load(self.cfg_options)
            with written_whole(path) as file:
                recalibrated_checkpoint(cfg, str(trained), self.recalibrate, file)
        return path

    def metrics(self, draws: int = 0) -> tuple[dict[str, float | None], np.ndarray | None]:
        """The metrics on the test set, and in bootstrap draws of its images.

        Args:
            draws: Number of draws. The n-th draw has the same images in every evaluation.

        Returns:
            Value of each metric in :data:`METRICS`, None if the test set has no objects for it; and
            (draws, metrics) float64 with NaN for None, or None without draws.
        """
        file = self.folder / 'figures.json'
        kept = Draws(self.folder / 'draws', METRICS, seed=0)
        missing = kept.missing(draws)
        if missing or not file.is_file():
            evaluation = self._matched()
            save_json(file, evaluation.metrics())
            resampler = Resampler(evaluation)
            for block in missing:
                kept.compute(resampler, block)
        values = json.loads(file.read_text('utf-8'))
        metrics = {name: None if values[name] < 0 else values[name] for name in METRICS}
        return metrics, kept.load(draws) if draws else None

    def _matched(self) -> SpatialEval:
        cfg = self.training.load(self.cfg_options)
        test_set = TestSet.of(cfg)
        detections = self.folder / 'detections.bbox.json'
        if not detections.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            detect(cfg, str(self.checkpoint()), test_set, detections, 'cpu', str(self.folder))
        found = json.loads(detections.read_text('utf-8'))
        return SpatialEval(
            test_set.gt,
            found,
            PARTITIONS,
            PRECISIONS,
            cat_ids=test_set.cat_ids,
            img_ids=test_set.img_ids,
        )

    def scan(self, options: Mapping[str, Any]) -> ScanStatistics:
        """Statistics of a scan: ``overall`` and ``maps`` as in ``scan.json``.

        Args:
            options: Arguments of :func:`mindpad_mm.scan.blindspot_scan`.
        """
        folder = self.folder / 'scan'
        file = folder / 'scan.json'
        if file.is_file():
            return json.loads(file.read_text('utf-8'))['statistics']
        result = blindspot_scan(
            DetectorFiles(self.training.config, self.checkpoint(), self.cfg_options),
            out=folder,
            resume=folder.is_dir() and any(folder.iterdir()),
            **options,
        )
        return result.info.statistics

    def layers(self, photos: Sequence[Path]) -> dict[str, float]:
        """Border bias and filter asymmetry, each as a mean over layers.

        Args:
            photos: Input images.

        Returns:
            ``border_bias`` on random images and ``border_bias_photos`` on photos: the border-bias
            index, over layers with an interior. ``filter_x`` and ``filter_y``: left-right and
            top-bottom asymmetry of the mean filters. ``strided_filter_x`` and ``strided_filter_y``:
            the same over convolutions with a stride above 1.
        """
        path = self.folder / 'layers.json'
        if not path.is_file():
            subject = Subject.load(
                str(self.training.config), str(self.checkpoint()), cfg_options=self.cfg_options
            )
            images = [cv2.imread(str(photo)) for photo in photos]
            artifacts = check_artifacts(subject, images, modes=())
            means = {}
            for kind, name in (('random', 'border_bias'), ('photos', 'border_bias_photos')):
                responses = artifacts.responses[artifacts.own]
                found = [b for b in (response.overall(kind) for response in responses) if b]
                means[name] = float(np.mean(found))
            filters = check_filters(subject).layers
            strided = {n for n, m in subject.model.named_modules() if max(_stride(m)) > 1}
            for axis in 'xy':
                for name, group in (
                    ('filter', filters),
                    ('strided_filter', [layer for layer in filters if layer.layer in strided]),
                ):
                    values = [getattr(layer, axis) for layer in group]
                    means[f'{name}_{axis}'] = float(np.mean([v for v in values if v is not None]))
            save_json(path, means)
        return json.loads(path.read_text('utf-8'))


def cut_objects(crops: Sequence[Path], folder: Path) -> list[str]:
    """Cut lights out of their crops, as for the training set, and save them as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for crop in crops:
        file = folder / f'{crop.parent.name}_{crop.stem}.png'
        if not file.is_file():
            cv2.imwrite(str(file), cut_out(read_crop(crop)))
        files.append(str(file))
    return files


def _stride(module: Any) -> tuple[int, ...]:
    stride = getattr(module, 'stride', 1)
    return stride if isinstance(stride, tuple) else (stride,)
