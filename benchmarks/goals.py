"""A measured metric beside its goal, and the table of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mindpad_mm.core.tables import Table


@dataclass(frozen=True)
class Metric:
    """What was measured of one thing.

    Attributes:
        name: What it is.
        goal: What it should be.
        at_least: Whether it should be that or more; else that or less.
        values: One a repeat.
        unit: Behind the number.
        note: What a reader should know beside it.
    """

    name: str
    goal: float
    at_least: bool
    values: Sequence[float]
    unit: str = 'x'
    note: str = ''

    @property
    def measured(self) -> float:
        """The median."""
        return statistics.median(self.values)

    @property
    def missed_by(self) -> float:
        """By what share of the goal it was missed; 0 where it is met."""
        beyond = self.measured / self.goal - 1
        return max(0.0, -beyond if self.at_least else beyond)

    def spread(self) -> tuple[float, float]:
        """The quartiles; the extremes where there are fewer than four values."""
        if len(self.values) < 4:
            return min(self.values), max(self.values)
        lower, _, upper = statistics.quantiles(self.values, n=4, method='inclusive')
        return lower, upper

    def verdict(self) -> str:
        """``met``, or by how much it was missed."""
        return f'missed by {self.missed_by:.1%}' if self.missed_by else 'met'

    def row(self) -> list[str]:
        """Its cells in the table."""
        # A goal of 1.05 needs more digits than one of 25.
        digits = 3 if self.goal < 2 else 2
        low, high = self.spread()
        goal = f'{">=" if self.at_least else "<="} {self.goal:g} {self.unit}'
        spread = f'{low:.{digits}f} to {high:.{digits}f}, n={len(self.values)}'
        return [
            self.name,
            goal,
            f'{self.measured:.{digits}f} {self.unit}',
            spread,
            self.verdict(),
            self.note,
        ]

    def to_json(self) -> dict[str, Any]:
        """JSON types only."""
        return {
            'metric': self.name,
            'goal': self.goal,
            'at_least': self.at_least,
            'measured': self.measured,
            'spread': list(self.spread()),
            'values': list(self.values),
            'unit': self.unit,
            'met': not self.missed_by,
            'missed_by': self.missed_by,
            'note': self.note,
        }


def metrics_table(metrics: Sequence[Metric], title: str = '') -> Table:
    """All metrics, a row each."""
    columns = ('metric', 'goal', 'measured', 'spread', '', 'beside it')
    return Table(columns, [metric.row() for metric in metrics], title)
