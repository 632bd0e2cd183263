"""Which cells of each map are needed for a few cells of the last ones: windows, going backward."""

from __future__ import annotations

import numpy as np

from mindpad_mm.incremental.tape import Step, Tape

Interval = tuple[np.ndarray, np.ndarray]
"""Along one axis: first cell (B,) and one past the last (B,); none where that is not more."""

Cells = tuple[Interval, Interval]
"""A (vertical, horizontal) rectangle of cells in each map of a batch."""


class Demand:
    """What a batch needs of each step's result.

    Attributes:
        needs: A rectangle for each step of which anything is needed.
    """

    def __init__(self, tape: Tape, wanted: dict[Step, Cells], batch: int) -> None:
        """Follow the tape backward from what is wanted.

        Args:
            tape: A clean run.
            wanted: Cells of some steps' results, clipped to their maps.
            batch: Samples.
        """
        self.needs = dict(wanted)
        for step in reversed(tape.steps):
            if step.escapes:
                self.needs[step] = _all_cells(step, batch)
            need = self.needs.get(step)
            if need is None:
                continue
            for made in step.inputs:
                reads = _reads(step, made, need, batch)
                known = self.needs.get(made)
                self.needs[made] = reads if known is None else _both(known, reads)


def _reads(step: Step, made: Step, need: Cells, batch: int) -> Cells:
    """What cells ``need`` of a step's result read of one of its inputs."""
    if step.whole:
        return _all_cells(made, batch)
    if step.readings is None:
        return need
    rows, cols = (reading.inputs(*each) for reading, each in zip(step.readings, need))
    return rows, cols


def _all_cells(step: Step, batch: int) -> Cells:
    rows, cols = (
        (np.zeros(batch, int), np.full(batch, size, int)) for size in step.clean.shape[-2:]
    )
    return rows, cols


def _both(first: Cells, second: Cells) -> Cells:
    rows, cols = (_hull(*axes) for axes in zip(first, second))
    return rows, cols


def _hull(first: Interval, second: Interval) -> Interval:
    """The shortest intervals that hold both."""
    if first is second:
        return first
    (low, high), (other_low, other_high) = first, second
    none, other_none = low >= high, other_low >= other_high
    least = np.where(other_none, low, np.where(none, other_low, np.minimum(low, other_low)))
    most = np.where(other_none, high, np.where(none, other_high, np.maximum(high, other_high)))
    return least, most
