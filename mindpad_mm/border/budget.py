"""The time of a measurement: what a probe takes, and how many probes it is enough for."""

from __future__ import annotations

import time
from collections.abc import Sequence

from mmengine.dist import get_rank, get_world_size

from mindpad_mm.border.measure import Subject, seconds_per_probe
from mindpad_mm.border.variants import Variant
from mindpad_mm.core.journal import Journal
from mindpad_mm.core.processes import gathered

# Objects are looked for in further photos until each would be scored this often: photos vary more than
# the objects in them.
_PROBES_A_PHOTO = 8


class Budget:
    """The time of a measurement, which begins now.

    Args:
        minutes: 0 is enough for everything.
        journal: Keeps the numbers of probes, so that a resumed measurement scores as many.
    """

    def __init__(self, minutes: float, journal: Journal | None) -> None:
        self.minutes, self._journal = minutes, journal
        self._deadline = time.perf_counter() + minutes * 60
        self._seconds: dict[tuple[str, ...], float] = {}

    @property
    def left(self) -> float:
        """Seconds until the time is over; below 0 after that."""
        return self._deadline - time.perf_counter()

    def takes(self, subject: Subject, variants: Sequence[Variant]) -> float:
        """Seconds that a probe takes under some variants, by all processes; measured once."""
        names = tuple(variant.name for variant in variants)
        if names not in self._seconds:
            self._seconds[names] = seconds_per_probe(subject, variants)
        return self._seconds[names] / get_world_size()

    def affordable(
        self, subject: Subject, variants: Sequence[Variant], seconds: float, name: str
    ) -> int:
        """How many probes can be scored in some seconds; at least one. The same on all processes.

        Args:
            subject: With all probes.
            variants: What each is scored under.
            seconds: The time.
            name: Name of the number in the journal.
        """
        count = len(subject.probes)
        if self.minutes and get_rank() == 0:
            kept = None if self._journal is None else self._journal.read_value(name)
            if kept is None:
                kept = max(1, min(count, int(seconds / self.takes(subject, variants))))
                if self._journal is not None:
                    self._journal.write_value(name, kept)
            count = kept
        return gathered(count)[0]

    def is_filled_by(self, subject: Subject, variants: Sequence[Variant]) -> bool:
        """Whether scoring probes of the photos so far will take the rest of the time, if that ends."""
        if not self.minutes:
            return False
        if self.left <= 0:
            return True
        if not subject.probes:
            return False
        wanted = _PROBES_A_PHOTO * len({probe.photo for probe in subject.probes})
        return min(wanted, len(subject.probes)) * self.takes(subject, variants) >= self.left
