"""Rivals timed in turns, so that what else the machine does meets all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

CLOCKS: dict[str, Callable[[], float]] = {'cpu': time.process_time, 'wall': time.perf_counter}
"""CPU time is the process's own: waiting for a processor that others use does not add to it."""


@dataclass
class Turns:
    """What the rivals took, turn by turn.

    Attributes:
        seconds: By clock (:data:`CLOCKS`) and rival, seconds an item, one a turn.
    """

    seconds: dict[str, dict[str, list[float]]] = field(
        default_factory=lambda: {clock: {} for clock in CLOCKS}
    )

    def add(self, rival: str, items: int, **seconds: float) -> None:
        """Note a turn of ``items`` items, the seconds by clock."""
        for clock, taken in seconds.items():
            self.seconds[clock].setdefault(rival, []).append(taken / items)

    def speed_ups(self, rival: str, over: str, clock: str = 'cpu') -> list[float]:
        """How many times as fast as another a rival was, each turn by itself."""
        pairs = zip(self.seconds[clock][over], self.seconds[clock][rival])
        return [slow / fast for slow, fast in pairs]

    def milliseconds(self, rival: str, clock: str = 'cpu') -> float:
        """The median of an item."""
        return 1e3 * statistics.median(self.seconds[clock][rival])

    def summary(self, *rivals: str) -> str:
        """Both clocks of each rival, for people."""
        return ', '.join(
            f'{rival} {self.milliseconds(rival):.1f} ms CPU, '
            f'{self.milliseconds(rival, "wall"):.1f} wall'
            for rival in rivals
        )


def in_turns(runs: Mapping[str, Callable[[int], int]], repeats: int) -> Turns:
    """Time each run once a turn, all of them every turn.

    Args:
        runs: By name; called with the number of the turn, they return how many items they did.
            They should be warm.
        repeats: Turns.
    """
    turns = Turns()
    for turn in range(repeats):
        for name, run in runs.items():
            begin = {clock: now() for clock, now in CLOCKS.items()}
            items = run(turn)
            turns.add(name, items, **{clock: now() - begin[clock] for clock, now in CLOCKS.items()})
    return turns
