"""The arrays of a scan, and single maps of them."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field

import numpy as np

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.scenes import Part
from mindpad_mm.scan.bystanders import Bystanders
from mindpad_mm.scan.score_map import ScoreMap

ARRAYS = ('scores', 'ious', 'boxes', 'flags', 'clean', 'rows', 'cols')
TWIN_ARRAYS = ('open_scores', 'open_flags', 'open_shifts')


@dataclass
class ScanArrays:
    """Score maps with the axes (background, object, size, row, col).

    Scenes and objects of different sizes share one grid of rows and columns. Where a map has no
    position, values are NaN and ``flags`` is False.

    A match is a detection of the object's class whose IoU with the pasted box is at least ``iou_thr``.

    Attributes:
        scores: float32, score of the best match in 0..1; 0 without a match.
        ious: float32, its IoU with the pasted box in 0..1; 0 without a match.
        boxes: (..., 4) float32, its box ``x1, y1, x2, y2`` in pixels of the scene; NaN without a match.
        flags: bool, whether the clean scene has a match with a score of at least ``clean_thr``. Flagged
            positions are left out of the statistics.
        clean: float32, score of the best match in the clean scene, in 0..1; 0 without a match.
        rows: (R,) int64, pixel rows of the pasted box's top edge.
        cols: (C,) int64, pixel columns of the pasted box's left edge.
        open_scores: float32, score of the best match at the same place of the photo, in a shifted window
            where the place is far from every side; NaN where the photo has no room for one. None if the
            scenes are no windows, as of the next two.
        open_flags: bool, as ``flags``, of the shifted windows.
        open_shifts: (..., 2) int32, pixels that the shifted window is moved by, (rows, columns); 0 where
            there is none.
        bystanders: What happened to other boxes; None if the scan did not watch them.
    """

    scores: np.ndarray
    ious: np.ndarray
    boxes: np.ndarray
    flags: np.ndarray
    clean: np.ndarray
    rows: np.ndarray
    cols: np.ndarray
    open_scores: np.ndarray | None = field(default=None, kw_only=True)
    open_flags: np.ndarray | None = field(default=None, kw_only=True)
    open_shifts: np.ndarray | None = field(default=None, kw_only=True)
    bystanders: Bystanders | None = field(default=None, kw_only=True)

    def losses(self) -> np.ndarray:
        """Open score minus score, float32 in -1..1, in the shape of ``scores``.

        NaN where there is no open score, and where the class is detected without the object in the
        window or the shifted one.
        """
        if self.open_scores is None or self.open_flags is None:
            raise UserError('the scan has no losses: its scenes are no windows, scan with `window`')
        return np.where(self.flags | self.open_flags, np.nan, self.open_scores - self.scores)


def arrays_sha256(arrays: ScanArrays) -> str:
    """Digest of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in (*ARRAYS, *TWIN_ARRAYS):
        values = getattr(arrays, name)
        if values is not None:
            digest.update(f'{name} {values.dtype.str} {values.shape}'.encode())
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def score_map_of(
    arrays: ScanArrays, index: tuple[int, int, int], box: tuple[int, int], photo: Part
) -> ScoreMap:
    """One map of a scan, cut to its positions.

    Args:
        arrays: The scan's arrays.
        index: Indices (background, object, size) of the map.
        box: (height, width) of the object, pixels.
        photo: The part of the scene that the photo fills.
    """
    scores = arrays.scores[index].astype(np.float64)
    fits = ~np.isnan(scores)
    rows, cols = fits.any(1), fits.any(0)
    scores[arrays.flags[index]] = np.nan
    return ScoreMap(scores[np.ix_(rows, cols)], arrays.rows[rows], arrays.cols[cols], box, photo)


def loss_map_of(arrays: ScanArrays, index: tuple[int, int, int], score_map: ScoreMap) -> ScoreMap:
    """The losses at the positions of one map of a scan.

    Args:
        arrays: The scan's arrays.
        index: Indices (background, object, size) of the map.
        score_map: The map.
    """
    rows = np.searchsorted(arrays.rows, score_map.rows)
    cols = np.searchsorted(arrays.cols, score_map.cols)
    losses = arrays.losses()[index][np.ix_(rows, cols)].astype(np.float64)
    return dataclasses.replace(score_map, scores=losses)
