"""The outcome of a scan: arrays, what was run, and how they are kept on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.files import save_json, written_whole
from mindpad_mm.core.images import PathLike
from mindpad_mm.scan.statistics import ScoreMap

ARRAYS = ('scores', 'ious', 'boxes', 'flags', 'clean', 'rows', 'cols')


@dataclass
class ScanResult:
    """Confidence maps, indexed [background, object, size, row, col].

    Scenes and objects of several sizes share one grid of rows and columns. Where a box does not
    fit its scene, all are NaN and ``flags`` is False.

    Attributes:
        scores: float32 in 0..1, the best confidence of the label among the detections that
            overlap the pasted box enough; 0 if none.
        ious: float32, that detection's IoU with the pasted box; 0 if none.
        boxes: float32, [..., 4], that detection's box ``x1, y1, x2, y2`` in scene pixels; NaN if none.
        flags: bool, True where the clean background alone has such a detection of confidence
            ``clean_thr`` or more. Flagged positions are left out of the statistics.
        clean: float32, the best confidence of such a detection in the clean background.
        rows: (R,) int64, the pixel row of the box's top edge.
        cols: (C,) int64, the pixel column of the box's left edge.
        info: What was run, as in ``scan.json``.
        folder: Where it is kept, once it is.
    """

    scores: np.ndarray
    ious: np.ndarray
    boxes: np.ndarray
    flags: np.ndarray
    clean: np.ndarray
    rows: np.ndarray
    cols: np.ndarray
    info: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    def indices(self) -> Iterator[tuple[int, int, int]]:
        """(background, object, size) of every map."""
        return np.ndindex(*self.scores.shape[:3])

    def score_map(self, background: int, obj: int, size: int) -> ScoreMap:
        """One map, cut to where its box fits, flagged positions NaN."""
        scores = self.scores[background, obj, size].astype(np.float64)
        fits = ~np.isnan(scores)
        rows, cols = fits.any(1), fits.any(0)
        scores[self.flags[background, obj, size]] = np.nan
        scene = self.info['backgrounds'][background]
        return ScoreMap(
            scores[np.ix_(rows, cols)],
            self.rows[rows],
            self.cols[cols],
            tuple(self.info['objects'][obj]['boxes'][size]),
            (scene['height'], scene['width']),
        )

    def save(self, folder: PathLike) -> None:
        """Write ``scan.npz`` and then ``scan.json``, each whole or not at all.

        Equal arrays give equal bytes. ``scan.json`` comes last: where it is, the scan is complete.
        """
        folder = Path(folder)
        arrays = {name: getattr(self, name) for name in ARRAYS}
        with written_whole(folder / 'scan.npz') as temporary, open(temporary, 'wb') as file:
            np.savez_compressed(file, **arrays)
        save_json(folder / 'scan.json', self.info)
        self.folder = folder

    @classmethod
    def load(cls, folder: PathLike) -> ScanResult:
        """Read what :meth:`save` wrote.

        Raises:
            UserError: The folder holds no complete scan, or one of another version.
        """
        folder = Path(folder)
        try:
            info = json.loads((folder / 'scan.json').read_text(encoding='utf-8'))
            with np.load(folder / 'scan.npz') as arrays:
                return cls(**{name: arrays[name] for name in ARRAYS}, info=info, folder=folder)
        except KeyError as error:
            raise UserError(
                f'the scan in {str(folder)!r} was kept by another version of mindpad_mm '
                f'({error.args[0]}): scan again'
            ) from error
        except (OSError, ValueError) as error:
            raise UserError(f'{str(folder)!r} holds no complete scan: {error}') from error
