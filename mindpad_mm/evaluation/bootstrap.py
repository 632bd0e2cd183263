"""Average precision in bootstrap draws of the images of a test set.

A draw takes as many images as the test set has, with replacement. It changes how often an image counts,
but neither the matches in an image nor the order of the scores. So detections are matched and sorted
once, and for each draw they are only counted.

The values equal those of ``COCOeval.accumulate`` on the drawn images, except for ties: if a true and
a false detection in one image have equal scores, their order is the same in all copies of the image,
whereas ``accumulate`` might interleave the copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mindpad_mm.core.files import is_sealed, seal, written_whole
from mindpad_mm.evaluation.spatial import (
    UNDEFINED,
    Precision,
    SpatialEval,
    class_indices,
    threshold_indices,
    with_zone_summary,
)

BLOCK = 50
"""Draws that are computed and saved together."""
_CELLS = 200_000  # size of a (draws, detections) array that fits into the processor's cache


def image_counts(images: int, block: int, seed: int) -> np.ndarray:
    """How often each image is in each draw of a block.

    All detectors get the same draws, so that their differences are paired.

    Args:
        images: Number of images in the test set.
        block: Index of the block.
        seed: Seed of the draws.

    Returns:
        (BLOCK, images) int32.
    """
    rng = np.random.default_rng([seed, block])
    return rng.multinomial(images, np.full(images, 1 / images), size=BLOCK).astype(np.int32)


class Resampler:
    """Computes the metrics of one detector on resampled test sets.

    Args:
        evaluation: The detector's matched detections.
    """

    def __init__(self, evaluation: SpatialEval) -> None:
        self.images = len(evaluation.image_ids)
        self._classes = {
            precision.name: _sorted_classes(evaluation, precision)
            for precision in evaluation.precisions
        }

    def metrics(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Every metric of :meth:`SpatialEval.metrics` in every draw.

        Args:
            counts: (B, I) int, how often each image is in each draw.

        Returns:
            (B,) float64 in 0..1 by name; -1 in draws without objects.
        """
        values = {}
        for name, classes in self._classes.items():
            step = max(1, _CELLS // max(1, *(len(c.image) for c in classes)))
            parts = [counts[start : start + step] for start in range(0, len(counts), step)]
            values[name] = np.concatenate([_mean_precision(classes, part) for part in parts])
        return with_zone_summary(values)


class Draws:
    """The metrics of one detector in every draw, saved in one file per block of draws.

    Args:
        folder: Folder for the files. Another detector, test set or seed needs another folder.
        names: Names of the metrics, the columns of the result.
        seed: Seed of the draws.
    """

    def __init__(self, folder: Path, names: Sequence[str], seed: int) -> None:
        self.folder = folder
        self.names = list(names)
        self.seed = seed

    def missing(self, draws: int) -> list[int]:
        """Indices of the blocks that are not saved yet, of those needed for a number of draws."""
        blocks = range(-(-draws // BLOCK))
        return [block for block in blocks if not is_sealed(self._file(block))]

    def compute(self, resampler: Resampler, block: int) -> None:
        """Compute a block and save it."""
        metrics = resampler.metrics(image_counts(resampler.images, block, self.seed))
        with written_whole(self._file(block)) as temporary, open(temporary, 'wb') as file:
            np.save(file, np.stack([metrics[name] for name in self.names], axis=1))
        seal(self._file(block))

    def load(self, draws: int) -> np.ndarray:
        """(draws, metrics) float64; NaN in draws without objects."""
        blocks = [np.load(self._file(block)) for block in range(-(-draws // BLOCK))]
        values = np.concatenate(blocks)[:draws]
        return np.where(values < 0, np.nan, values)

    def _file(self, block: int) -> Path:
        return self.folder / f'{block:05d}.npy'


class _SortedClass:
    """The detections of one class, sorted by descending score.

    T is the number of IoU thresholds, D of detections, I of images, R of recalls.

    Attributes:
        image: (D,) int, index of each detection's image.
        hits: (T, D) bool, whether it is a true positive at a threshold.
        ignored: (T, D) bool, whether it counts neither as a true nor as a false positive.
        objects: (I,) int, number of objects in each image.
        recalls: (R,) float, the recalls at which precision is sampled.
    """

    def __init__(
        self, entries: list[dict | None], thrs: list[int], max_dets: int, recalls: np.ndarray
    ) -> None:
        found = [(i, entry) for i, entry in enumerate(entries) if entry is not None]
        scores = [np.asarray(entry['dtScores'][:max_dets], float) for _, entry in found]
        # COCOeval's order: a stable sort, equal scores in the order of the images.
        order = np.argsort(-np.concatenate([np.zeros(0), *scores]), kind='mergesort')
        image = np.repeat([i for i, _ in found], [len(s) for s in scores]).astype(int)
        self.image = image[order]
        none = np.zeros((len(thrs), 0), bool)
        matches = [entry['dtMatches'][thrs, :max_dets] > 0 for _, entry in found]
        ignored = [entry['dtIgnore'][thrs, :max_dets] > 0 for _, entry in found]
        self.ignored = np.concatenate([none, *ignored], axis=1)[:, order]
        self.hits = np.concatenate([none, *matches], axis=1)[:, order] & ~self.ignored
        # Detections after the last true positive do not change any sampled precision.
        last = np.flatnonzero(self.hits.any(axis=0))
        end = last[-1] + 1 if last.size else 0
        self.image, self.ignored, self.hits = (
            values[..., :end] for values in (self.image, self.ignored, self.hits)
        )
        self.objects = np.zeros(len(entries), int)
        for i, entry in found:
            self.objects[i] = np.count_nonzero(np.asarray(entry['gtIgnore']) == 0)
        self.recalls = recalls

    def precisions(self, counts: np.ndarray) -> np.ndarray:
        """Interpolated precision, averaged over recalls.

        Args:
            counts: (B, I) int, how often each image is in each draw.

        Returns:
            (B, T) float64; NaN in draws without objects.
        """
        objects = counts @ self.objects
        weights = counts[:, self.image]
        total: dict[bytes, np.ndarray] = {}  # reused if thresholds ignore the same detections
        values = np.zeros((len(counts), len(self.hits)))
        for t, (hits, ignored) in enumerate(zip(self.hits, self.ignored)):
            at = np.flatnonzero(hits)
            if not at.size:
                continue
            key = ignored.tobytes()
            if key not in total:
                counted = np.where(ignored, 0, weights) if ignored.any() else weights
                total[key] = np.cumsum(counted, axis=1, dtype=np.int32)
            # Precision has its maxima at true positives, so it is only computed there.
            true = np.cumsum(weights[:, at], axis=1)
            precision = true / (total[key][:, at] + np.spacing(1))
            envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            # Precision is 0 at a recall that is not reached.
            padded = np.pad(envelope, ((0, 0), (0, 1)))
            with np.errstate(divide='ignore', invalid='ignore'):
                recall = true / objects[:, None]
            for b in np.flatnonzero(objects):
                first = np.searchsorted(recall[b], self.recalls, side='left')
                values[b, t] = padded[b, first].mean()
        values[objects == 0] = np.nan
        return values


def _sorted_classes(evaluation: SpatialEval, precision: Precision) -> list[_SortedClass]:
    coco_eval, region = evaluation.evals[precision.region]
    params = coco_eval.params
    images, regions = len(params.imgIds), len(params.areaRng)
    thrs = threshold_indices(coco_eval, precision)
    recalls = np.asarray(params.recThrs)
    classes = []
    for k in class_indices(coco_eval, precision):
        start = (k * regions + region) * images  # COCOeval's order: class, area, image
        entries = coco_eval.evalImgs[start : start + images]
        classes.append(_SortedClass(entries, thrs, precision.max_dets, recalls))
    return classes


def _mean_precision(classes: list[_SortedClass], counts: np.ndarray) -> np.ndarray:
    values = np.concatenate([c.precisions(counts) for c in classes], axis=1)
    return np.ma.masked_invalid(values).mean(axis=1).filled(UNDEFINED)
