"""Which engine runs a map: the one asked for, or the fastest exact one, by measurement."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mindpad_mm.scan.chunks import ScanMap, ScanTask
from mindpad_mm.scan.engines import Engine, exact_engines, find_engine
from mindpad_mm.scan.engines.full import fastest_batch_size, now
from mindpad_mm.settings.scan import AUTO

# Maps of a kind with fewer positions are not measured: it would take more than about 5 % of their time.
FEWEST = 1024
# Positions that an engine is timed at.
_TIMED = 32
# An engine replaces one that `auto` prefers if it takes at most this share of the time. Smaller
# differences are noise, and should not make two runs choose differently.
_CLEARLY = 0.97
# An engine whose first batch, which includes its start, takes this many times as long as another's is
# given up.
_GIVEN_UP = 2.0

Kind = tuple[int, int, int, int]
"""(height, width) of the scene and of the object. Maps of a kind take about the same time."""


@dataclass(frozen=True)
class Choice:
    """What runs the maps of a kind.

    Attributes:
        engine: Name of the engine.
        batch_size: Positions per forward pass.
        speeds: Positions per second of each engine that was measured, also of one that was given up
            because it had become slower than another; empty if nothing was measured.
    """

    engine: str
    batch_size: int
    speeds: Mapping[str, float]

    def notes(self) -> dict[str, Any]:
        """The attributes for ``scan.json``; nothing if nothing was measured."""
        return {'choice': asdict(self)} if self.speeds else {}

    def summary(self) -> str:
        """The engine and why it was chosen."""
        found = ', '.join(f'{name} {speed:.3g}' for name, speed in self.speeds.items())
        reason = f'positions a second: {found}' if found else 'too few positions to measure'
        return f'{self.engine} ({reason})'


def kind_of(scan_map: ScanMap) -> Kind:
    """The kind of a map."""
    height, width = scan_map.pixels.shape[:2]
    return (*scan_map.scene.size, height, width)


class Chooser:
    """Chooses the engine and the batch size of each kind of map.

    Args:
        task: The task of the scan.
        build: Makes an engine for a map.
    """

    def __init__(self, task: ScanTask, build: Callable[[type[Engine], ScanMap], Engine]) -> None:
        self.task, self.build = task, build
        names = exact_engines(task.space) if task.engine == AUTO else [task.engine]
        self.engines = [find_engine(name, task.space) for name in names]

    @property
    def measures(self) -> bool:
        """Whether anything depends on a measurement."""
        return len(self.engines) > 1 or self.task.settings.batch_size == AUTO

    def choose(self, maps: Sequence[ScanMap]) -> dict[Kind, Choice]:
        """The choice for each kind of map; the first of its maps is measured."""
        by_kind: dict[Kind, list[ScanMap]] = {}
        for scan_map in maps:
            by_kind.setdefault(kind_of(scan_map), []).append(scan_map)
        return {kind: self._choose(of_kind) for kind, of_kind in by_kind.items()}

    def _choose(self, maps: Sequence[ScanMap]) -> Choice:
        size = self.task.settings.batch_size
        fixed = None if size == AUTO else int(size)
        engines = self.engines if sum(map(len, maps)) >= FEWEST else self.engines[:1]
        if fixed is not None and len(engines) == 1:
            return Choice(engines[0].name, fixed, {})
        positions = middle_positions(maps[0])
        sizes: dict[str, int] = {}
        speeds: dict[str, float] = {}
        for engine_class in engines:
            engine, name = self.build(engine_class, maps[0]), engine_class.name
            sizes[name] = engine.batch_size = fixed or fastest_batch_size(engine, positions)
            if len(engines) > 1:
                speeds[name] = measured_speed(engine, positions, max(speeds.values(), default=0))
            del engine  # its feature maps take memory, which the next one needs
        chosen = engines[0].name
        for name, speed in speeds.items():
            if speed * _CLEARLY > speeds[chosen]:
                chosen = name
        return Choice(chosen, sizes[chosen], {k: round(speed, 2) for k, speed in speeds.items()})


def middle_positions(scan_map: ScanMap) -> np.ndarray:
    """(N, 2) positions of one chunk in the middle of a map, every second one.

    At a border an object changes fewer cells than elsewhere. Engines sort a chunk's positions by their
    phase in the detector's grid; every second one has half of the phases, and half as many positions.
    """
    first = max(len(scan_map) // 2 - _TIMED, 0)
    return scan_map.positions(first, first + 2 * _TIMED)[::2]


def measured_speed(engine: Engine, positions: np.ndarray, fastest: float = 0.0) -> float:
    """Positions per second of an engine.

    Args:
        engine: The engine; its ``batch_size`` is used.
        positions: (N, 2) positions to time.
        fastest: Positions per second of another engine. An engine that is slower is given up as soon as
            that is certain; then the speed is what was measured until then.
    """
    size = engine.batch_size
    for first in (1, size):  # a batch takes at least as long as one position
        begin = now()
        engine.detect(positions[:first])
        seconds = now() - begin
        if seconds * fastest > _GIVEN_UP * size:
            return first / seconds
    # Whole at first, since engines make batches of what they are given.
    step = size if fastest else len(positions)
    count, seconds = 0, 0.0
    for start in range(0, len(positions), step):
        begin = now()
        count += len(engine.detect(positions[start : start + step]))
        seconds += now() - begin
        if fastest and seconds * fastest > len(positions):
            break
    return count / seconds


def summary(choices: Iterable[Choice]) -> str:
    """One line on the choices for all kinds of map."""
    return f'engine: {"; ".join(dict.fromkeys(choice.summary() for choice in choices))}'
