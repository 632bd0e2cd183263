"""Average precisions of resampled test sets, exactly as ``COCOeval.accumulate`` would give them.

A draw takes as many images as the set has, with replacement. That changes which images count and
how often, but neither the matches inside an image nor the order of the scores: so all is sorted once,
and a draw only counts. Equal scores of two detections in one image keep one order for all copies of
the image; where one of the two is false, ``accumulate`` on a list with the copies could
interleave them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mindpad_mm.core.files import written_whole
from mindpad_mm.evaluation.spatial import (
    UNDEFINED,
    Precision,
    SpatialEval,
    threshold_indices,
    with_zone_summary,
)

BLOCK = 50
"""Draws that are computed, and kept, together."""
_CELLS = 200_000  # of a table of draws by detections: what stays in a processor's cache


def image_counts(images: int, block: int, seed: int) -> np.ndarray:
    """(BLOCK, images) int, how often each image is in each draw of a block.

    The same for every detector: that is what pairs them.
    """
    rng = np.random.default_rng([seed, block])
    return rng.multinomial(images, np.full(images, 1 / images), size=BLOCK).astype(np.int32)


class Resampler:
    """The figures of one detector on resampled test sets.

    Args:
        evaluation: Of the detector, its images matched.
    """

    def __init__(self, evaluation: SpatialEval) -> None:
        self.images = len(evaluation.image_ids)
        self._classes = {
            precision.name: _sorted_classes(evaluation, precision)
            for precision in evaluation.precisions
        }

    def figures(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Every figure of :meth:`SpatialEval.figures` in every draw.

        Args:
            counts: (B, I) int, how often each image is in each draw.

        Returns:
            By name, (B,) float64 in 0..1, -1 where a draw has nothing to find.
        """
        values = {}
        for name, classes in self._classes.items():
            step = max(1, _CELLS // max(1, *(len(c.image) for c in classes)))
            parts = [counts[start : start + step] for start in range(0, len(counts), step)]
            values[name] = np.concatenate([_mean_precision(classes, part) for part in parts])
        return with_zone_summary(values)


class Draws:
    """The figures of one detector in every draw, kept in files a block each as they come.

    Args:
        folder: Where to keep them; of this detector, set and seed alone.
        names: Of the figures, columns of the result.
        seed: Of the draws.
    """

    def __init__(self, folder: Path, names: Sequence[str], seed: int) -> None:
        self.folder = folder
        self.names = list(names)
        self.seed = seed

    def missing(self, draws: int) -> list[int]:
        """The blocks that are not there yet."""
        blocks = range(-(-draws // BLOCK))
        return [block for block in blocks if not self._file(block).is_file()]

    def compute(self, resampler: Resampler, block: int) -> None:
        """Draw a block and keep it."""
        figures = resampler.figures(image_counts(resampler.images, block, self.seed))
        with written_whole(self._file(block)) as temporary, open(temporary, 'wb') as file:
            np.save(file, np.stack([figures[name] for name in self.names], axis=1))

    def load(self, draws: int) -> np.ndarray:
        """(draws, figures) float64, NaN where a draw has nothing to find."""
        blocks = [np.load(self._file(block)) for block in range(-(-draws // BLOCK))]
        values = np.concatenate(blocks)[:draws]
        return np.where(values < 0, np.nan, values)

    def _file(self, block: int) -> Path:
        return self.folder / f'{block:05d}.npy'


class _SortedClass:
    """The detections of one class, best first, as a precision counts them.

    Attributes:
        image: (D,) int, index of each detection's image.
        hits: (T, D) bool, whether it found an object at a threshold.
        ignored: (T, D) bool, whether it counts neither way there.
        objects: (I,) int, objects to find in each image.
        recalls: (R,) float, where the precision is read.
    """

    def __init__(
        self, entries: list[dict | None], thrs: list[int], max_dets: int, recalls: np.ndarray
    ) -> None:
        found = [(i, entry) for i, entry in enumerate(entries) if entry is not None]
        scores = [np.asarray(entry['dtScores'][:max_dets], float) for _, entry in found]
        # Stable, images in their order, as COCOeval sorts.
        order = np.argsort(-np.concatenate([np.zeros(0), *scores]), kind='mergesort')
        image = np.repeat([i for i, _ in found], [len(s) for s in scores]).astype(int)
        self.image = image[order]
        none = np.zeros((len(thrs), 0), bool)
        matches = [entry['dtMatches'][thrs, :max_dets] > 0 for _, entry in found]
        ignored = [entry['dtIgnore'][thrs, :max_dets] > 0 for _, entry in found]
        self.ignored = np.concatenate([none, *ignored], axis=1)[:, order]
        self.hits = np.concatenate([none, *matches], axis=1)[:, order] & ~self.ignored
        # What is worse than the last hit changes no precision that is read.
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
        """(B, T) mean over recalls of the interpolated precision; NaN in draws without objects."""
        objects = counts @ self.objects
        weights = counts[:, self.image]
        total: dict[bytes, np.ndarray] = {}  # thresholds mostly ignore alike
        values = np.zeros((len(counts), len(self.hits)))
        for t, (hits, ignored) in enumerate(zip(self.hits, self.ignored)):
            at = np.flatnonzero(hits)
            if not at.size:
                continue
            key = ignored.tobytes()
            if key not in total:
                counted = np.where(ignored, 0, weights) if ignored.any() else weights
                total[key] = np.cumsum(counted, axis=1, dtype=np.int32)
            # Precision rises only where there is a hit, so those are all the places to look.
            true = np.cumsum(weights[:, at], axis=1)
            precision = true / (total[key][:, at] + np.spacing(1))
            envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            padded = np.pad(envelope, ((0, 0), (0, 1)))  # a recall never reached: 0
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
    for k in range(len(params.catIds)):
        start = (k * regions + region) * images  # COCOeval orders by class, area, image
        entries = coco_eval.evalImgs[start : start + images]
        classes.append(_SortedClass(entries, thrs, precision.max_dets, recalls))
    return classes


def _mean_precision(classes: list[_SortedClass], counts: np.ndarray) -> np.ndarray:
    values = np.concatenate([c.precisions(counts) for c in classes], axis=1)
    return np.ma.masked_invalid(values).mean(axis=1).filled(UNDEFINED)
