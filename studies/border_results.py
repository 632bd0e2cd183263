"""The results of the border study on disk: one JSON file, from which an unfinished study continues.

The score of every probe is kept, so that intervals over seeds and photos need no checkpoint: a byte for
each, in steps of 1/255, compressed and in base64.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mindpad_mm.border import BorderResult
from mindpad_mm.border.losses import measures
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.files import save_json
from studies.border_grid import Cell

_STEPS = 255
# What the losses are computed from, in this order.
VIEWS = ('cut', 'open', 'control')
MEASURES = ('context_loss', 'padding_loss', 'lost_objects', 'lost_in_control')


@dataclasses.dataclass
class BorderResults:
    """All measurements so far.

    Attributes:
        file: The JSON file.
        content: ``study`` (how was measured), ``probes`` by input size (``photo``, ``side`` and
            ``distance`` of each), ``trainings`` by :attr:`Cell.key`.
    """

    file: Path
    content: dict[str, Any]

    @classmethod
    def open(cls, file: Path, study: dict[str, Any]) -> BorderResults:
        """Read the results, or start new ones.

        Args:
            file: The JSON file; may be missing.
            study: All that the measurements depend on, as JSON types.

        Raises:
            UserError: The file cannot be read, or its study is another one.
        """
        if not file.is_file():
            return cls(file, {'study': study, 'probes': {}, 'trainings': {}})
        try:
            content = json.loads(file.read_text('utf-8'))
            theirs = content['study']
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f'{file} holds no results of this study: {error}') from error
        for key in study:
            if theirs.get(key) != study[key]:
                raise UserError(f'{file} was measured with another {key}: move it away')
        return cls(file, content)

    def done(self, cell: Cell) -> bool:
        """Whether a training is measured."""
        return cell.key in self.content['trainings']

    def cells(self, cells: Iterable[Cell]) -> list[Cell]:
        """Those of the cells that are measured."""
        return [cell for cell in cells if self.done(cell)]

    def add(self, cell: Cell, result: BorderResult, **figures: Any) -> None:
        """Keep the measurement of a training, tested in its own and in other modes.

        Args:
            cell: The training.
            result: Its border loss.
            figures: Whatever else is known of it, as JSON types.

        Raises:
            UserError: The probes are not those of the other trainings of its size.
        """
        probes = {
            'photo': [probe.photo for probe in result.probes],
            'side': [probe.side for probe in result.probes],
            'distance': [probe.distance for probe in result.probes],
        }
        known = self.content['probes'].setdefault(str(cell.size), probes)
        if known != probes:
            raise UserError(f'{cell.key} was measured at other places than the other trainings')
        columns = [result.info.views.index(view) for view in VIEWS]
        tests = {}
        for variant, values in zip(result.info.variants, result.values):
            mode = cell.mode if variant.kind == 'as trained' else variant.name
            scores = values[:, columns, 0].T
            tests[mode] = {'summary': _summary(scores, probes), 'scores': packed(scores)}
        self.content['trainings'][cell.key] = {
            'lights': cell.lights.description,
            'mode': cell.mode,
            'size': cell.size,
            'seed': cell.seed,
            **figures,
            'tests': tests,
        }

    def save(self) -> None:
        """Write the file."""
        save_json(self.file, self.content)

    def scores(self, cell: Cell, test_mode: str) -> dict[str, np.ndarray]:
        """(P,) float64 scores of the probes by view; NaN where not scored."""
        kept = self.content['trainings'][cell.key]['tests'][test_mode]['scores']
        return dict(zip(VIEWS, unpacked(kept, len(VIEWS))))

    def probes(self, size: int) -> dict[str, np.ndarray]:
        """``photo``, ``side`` and ``distance`` of the probes, (P,) each."""
        return {key: np.array(values) for key, values in self.content['probes'][str(size)].items()}


def packed(scores: np.ndarray) -> str:
    """Scores in 0..1, all of them known, as text."""
    if not np.isfinite(scores).all():
        raise ValueError('every window must have a score')
    steps = np.round(np.clip(scores, 0, 1) * _STEPS).astype(np.uint8)
    return base64.b64encode(zlib.compress(steps.tobytes(), 9)).decode('ascii')


def unpacked(text: str, views: int) -> np.ndarray:
    """(views, P) float64, the scores of :func:`packed`, to the nearest 1/255."""
    steps = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)
    return steps.reshape(views, -1) / _STEPS


def _summary(scores: np.ndarray, probes: dict[str, list]) -> dict[str, Any]:
    values = measures(dict(zip(VIEWS, scores.astype(np.float64))), FOUND_THR)
    distance = np.array(probes['distance'])
    summary: dict[str, Any] = {'open': round(float(values['open'].mean()), 4)}
    for name in MEASURES:
        summary[name] = {}
        for d in np.unique(distance):
            chosen = values[name][distance == d]
            chosen = chosen[np.isfinite(chosen)]
            summary[name][str(d)] = round(float(chosen.mean()), 4) if len(chosen) else None
    return summary


FOUND_THR = 0.3
"""Least score of an object that counts as found."""
