"""Speed of the engines against the full engine and against a loop over ``inference_detector``."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmdet.apis import inference_detector, init_detector
from mmengine.structures import InstanceData
from torch import nn

from benchmarks.goals import Metric
from benchmarks.real import real_detector
from benchmarks.teach import teach_ssd
from benchmarks.timing import CLOCKS, Turns, clock_of, in_turns
from mindpad_mm.core.detector import lowered_thresholds
from mindpad_mm.core.matching import match_each
from mindpad_mm.core.objects import ScanObject
from mindpad_mm.core.scenes import paste
from mindpad_mm.scan.engines import ENGINES, Engine, FullEngine
from mindpad_mm.scan.engines.full import AUTO_BATCH_SIZES
from mindpad_mm.scan.positions import position_boxes, scene_positions
from mindpad_mm.testing.detectors import (
    FAMILIES,
    family_config,
    family_detector,
    family_label,
    random_object,
)

LOOP = 'inference_detector'
# Positions per turn of the loop.
_LOOPED = 6
# Positions per turn whose scores are compared.
_COMPARED = 8
# Positions of the full engine that a batch size is timed on.
_TRIED_FULL = 16
# Number of timings of each batch size.
_TRIES = 2


class EngineDifference(NamedTuple):
    """Difference between an engine's scores and the full engine's.

    Attributes:
        difference: The largest difference in score.
        positions: Number of positions compared.
        found: Number of these positions where the full engine finds the object.
    """

    difference: float
    positions: int
    found: int


class Race:
    """Time engines alternately on the same detector, on chunks of a scan.

    Args:
        family: A key of :data:`mindpad_mm.testing.detectors.FAMILIES`, or a name in
            :mod:`benchmarks.real`.
        engines: Names of registered engines; ``full`` is always included.
        repeats: Number of turns.
        loop: Also time a loop over ``mmdet.apis.inference_detector``.
        taught: Fit the detector to the object first, see :func:`teach_ssd`; it must be an SSD.
        stride: Pixels between positions.
        device: Torch device of the detector.

    Attributes:
        turns: Times per position.
        saved: Engine -> share of multiply-accumulates saved, if its notes report it.
        comparisons: Engine -> difference between its scores and the full engine's.
        batch_sizes: Engine -> its fastest batch size.
    """

    def __init__(
        self,
        family: str,
        engines: list[str],
        repeats: int,
        loop: bool = False,
        taught: bool = False,
        stride: int = 1,
        device: str = 'cpu',
    ) -> None:
        if family in FAMILIES:
            (model, scene), self.label = family_detector(family), family_label(family)
        else:
            model, scene, self.label = real_detector(family)
        trained = family not in FAMILIES or FAMILIES[family].trained
        self.pixels = ScanObject.drawn(0).resized(32) if trained else random_object()
        self.scene = scene
        if taught:
            teach_ssd(model, scene, self.pixels, self.label)
        model.to(device)
        self._device = device
        self.positions = scene_positions(scene.photo, self.pixels.shape[:2], stride)
        rng = np.random.default_rng(0)
        self._starts = rng.integers(0, len(self.positions) - _largest_chunk(engines), repeats + 1)
        self._detections: dict[str, list[tuple[np.ndarray, list[InstanceData]]]] = {}
        contestants = {
            name: ENGINES.get(name)(model, scene, self.pixels, label=self.label)
            for name in ['full', *engines]
        }
        self.batch_sizes = {}
        for name, engine in contestants.items():
            tried = self.positions[self._starts[0] :]
            self.batch_sizes[name] = best_batch_size(engine, tried, clock_of(device))
            engine.detect(self._chunk(engine, 0))
        runs = {name: self._run(name, engine) for name, engine in contestants.items()}
        if loop:
            runs[LOOP] = self._loop(family, model)
        self.turns: Turns = in_turns(runs, repeats, device)
        notes = {name: engine.notes() for name, engine in contestants.items()}
        self.saved = {name: n['macs_saved'] for name, n in notes.items() if 'macs_saved' in n}
        self.comparisons = {name: self._compare(name, contestants['full']) for name in engines}

    def _chunk(self, engine: Engine, turn: int) -> np.ndarray:
        """A turn's positions. The full engine's time does not depend on the position, so it gets few."""
        count = 2 * engine.batch_size if isinstance(engine, FullEngine) else engine.chunk_size
        return self.positions[self._starts[turn] :][:count]

    def _run(self, name: str, engine: Engine) -> Callable[[int], int]:
        def run(turn: int) -> int:
            positions = self._chunk(engine, turn + 1)
            detections = engine.detect(positions)
            self._detections.setdefault(name, []).append((positions, detections))
            return len(positions)

        return run

    def _loop(self, family: str, model: nn.Module) -> Callable[[int], int]:
        """A loop as a user would write it: paste the object and run the detector at each position."""
        config = family_config(family)
        config.merge_from_dict(lowered_thresholds(config))
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Path(folder) / 'weights.pth'
            meta = {'dataset_meta': model.dataset_meta}
            torch.save({'state_dict': model.state_dict(), 'meta': meta}, checkpoint)
            detector = init_detector(config, str(checkpoint), device=self._device)

        def run(turn: int) -> int:
            positions = self.positions[self._starts[turn + 1] :][:_LOOPED]
            for row, col in positions:
                inference_detector(detector, paste(self.scene.pixels, self.pixels, row, col))
            return len(positions)

        run(-1)
        return run

    def _compare(self, name: str, full: Engine) -> EngineDifference:
        """Compare scores at some positions of every turn with the full engine's."""
        apart, found, count = 0.0, 0, 0
        for positions, detections in self._detections[name]:
            step = max(1, len(positions) // _COMPARED)
            picked = positions[::step]
            boxes = position_boxes(picked, self.pixels.shape[:2])
            scores = match_each(detections[::step], self.label, boxes, 0.5).scores
            wanted = match_each(full.detect(picked), self.label, boxes, 0.5).scores
            apart = max(apart, float(np.abs(scores - wanted).max()))
            found += int((wanted > 0).sum())
            count += len(picked)
        return EngineDifference(apart, count, found)

    def speed_up(self, name: str, engine: str, over: str, goal: float) -> Metric:
        """Speed-up of an engine over another, in CPU time per position.

        Args:
            name: Name of the metric.
            engine: The faster engine.
            over: The engine that it is compared with, or :data:`LOOP`.
            goal: Lower limit of the speed-up.
        """
        note = f'{self.turns.summary(engine, over)} per position'
        if over in self.batch_sizes:
            note += f'; batch sizes {self.batch_sizes[engine]} and {self.batch_sizes[over]}'
        return Metric(name, goal, True, self.turns.speed_ups(engine, over), note=note)

    def of_macs(self, title: str, goal: float) -> Metric:
        """The incremental engine's speed-up relative to the reduction in multiply-accumulates."""
        allowed = 1 / (1 - self.saved['incremental'])
        values = [ratio / allowed for ratio in self.turns.speed_ups('incremental', 'full')]
        note = f'{allowed:.2f} times fewer multiply-accumulates'
        name = f'{title}: speed-up / multiply-accumulates saved'
        return Metric(name, goal, True, values, '', note)

    def score_difference(self, name: str, engine: str, goal: float) -> Metric:
        """The largest difference between an engine's scores and the full engine's."""
        compared = self.comparisons[engine]
        note = f'{compared.positions} positions, {compared.found} of them with a score'
        return Metric(name, goal, False, [compared.difference], '', note)


def best_batch_size(engine: Engine, positions: np.ndarray, clock: str = 'cpu') -> int:
    """The batch size with the least time on a clock; it is set on the engine.

    All sizes are timed. A scan stops at the first size that is not faster, which can miss the best.
    """
    positions = positions[: _TRIED_FULL if isinstance(engine, FullEngine) else AUTO_BATCH_SIZES[-1]]
    seconds: dict[int, list[float]] = {}
    for _ in range(_TRIES):
        for size in AUTO_BATCH_SIZES:
            if size <= len(positions):
                engine.batch_size = size
                engine.detect(positions[:size])
                begin = CLOCKS[clock]()
                engine.detect(positions)
                seconds.setdefault(size, []).append(CLOCKS[clock]() - begin)
    engine.batch_size = min(seconds, key=lambda size: min(seconds[size]))
    return engine.batch_size


def _largest_chunk(engines: list[str]) -> int:
    return max([2 * AUTO_BATCH_SIZES[-1], *(ENGINES.get(name).chunk_size for name in engines)])
