"""Time several variants in turn, so that other load affects all of them equally, and parts of one."""

from __future__ import annotations

import contextlib
import functools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import torch

from mindpad_mm.scan.engines.full import now

CLOCKS: dict[str, Callable[[], float]] = {'cpu': time.process_time, 'wall': now}
"""CPU time is the process's own, without waiting for a processor. Wall time waits for the GPU."""


def clock_of(device: str) -> str:
    """The clock for work on a device: CPU time on a CPU, which other programs affect least, else wall."""
    return 'cpu' if torch.device(device).type == 'cpu' else 'wall'


@dataclass
class Turns:
    """Times of several variants.

    Attributes:
        seconds: Clock (a key of :data:`CLOCKS`) -> variant -> seconds per item, one value per turn.
        clock: The clock of ratios.
    """

    seconds: dict[str, dict[str, list[float]]] = field(
        default_factory=lambda: {clock: {} for clock in CLOCKS}
    )
    clock: str = 'cpu'

    def add(self, variant: str, items: int, **seconds: float) -> None:
        """Add one turn of ``items`` items; ``seconds`` are the times by clock."""
        for clock, taken in seconds.items():
            self.seconds[clock].setdefault(variant, []).append(taken / items)

    def speed_ups(self, variant: str, over: str) -> list[float]:
        """Speed-up of a variant over another, one value per turn."""
        seconds = self.seconds[self.clock]
        pairs = zip(seconds[over], seconds[variant])
        return [slow / fast for slow, fast in pairs]

    def milliseconds(self, variant: str, clock: str | None = None) -> float:
        """Median time per item, by default on the clock of ratios."""
        return 1e3 * statistics.median(self.seconds[clock or self.clock][variant])

    def summary(self, *variants: str) -> str:
        """Median times of the variants on both clocks, as text."""
        return ', '.join(
            f'{variant} {self.milliseconds(variant, "cpu"):.1f} ms CPU, '
            f'{self.milliseconds(variant, "wall"):.1f} wall'
            for variant in variants
        )


def in_turns(runs: Mapping[str, Callable[[int], int]], repeats: int, device: str = 'cpu') -> Turns:
    """Time each variant once per turn.

    Args:
        runs: Name -> function that takes the index of the turn and returns the number of items it
            processed. The functions should be warmed up.
        repeats: Number of turns.
        device: Where they run.
    """
    turns = Turns(clock=clock_of(device))
    for turn in range(repeats):
        for name, run in runs.items():
            begin = {clock: now() for clock, now in CLOCKS.items()}
            items = run(turn)
            turns.add(name, items, **{clock: now() - begin[clock] for clock, now in CLOCKS.items()})
    return turns


class Stopwatch:
    """CPU time by part; time in a part within another counts for the inner one alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stack: list[str] = []
        self._since = 0.0

    def _stop(self) -> None:
        now = time.process_time()
        if self._stack:
            part = self._stack[-1]
            self.seconds[part] = self.seconds.get(part, 0.0) + now - self._since
        self._since = now

    @contextlib.contextmanager
    def inside(self, part: str) -> Iterator[None]:
        """Count the time in the context for a part."""
        self._stop()
        self._stack.append(part)
        try:
            yield
        finally:
            self._stop()
            self._stack.pop()

    def watching(self, owner: Any, name: str, part: str) -> Any:
        """A context in which calls of a method count for a part."""
        own: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(own)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.inside(part):
                return own(*args, **kwargs)

        return mock.patch.object(owner, name, timed)
