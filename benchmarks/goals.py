"""Measured metrics with their goals, and a table of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mindpad_mm.core.tables import Table


@dataclass(frozen=True)
class Metric:
    """A measured metric and its goal.

    Attributes:
        name: Name of the metric.
        goal: Limit that the median should keep.
        at_least: Whether the goal is a lower limit; otherwise it is an upper limit.
        values: One value per repeat.
        unit: Unit of goal and values.
        note: Additional information, shown in the table.
    """

    name: str
    goal: float
    at_least: bool
    values: Sequence[float]
    unit: str = 'x'
    note: str = ''

    @property
    def measured(self) -> float:
        """The median of the values."""
        return statistics.median(self.values)

    @property
    def missed_by(self) -> float:
        """Relative distance to the goal; 0 if it is met."""
        beyond = self.measured / self.goal - 1
        return max(0.0, -beyond if self.at_least else beyond)

    def spread(self) -> tuple[float, float]:
        """The quartiles, or the extremes of fewer than four values."""
        if len(self.values) < 4:
            return min(self.values), max(self.values)
        lower, _, upper = statistics.quantiles(self.values, n=4, method='inclusive')
        return lower, upper

    def verdict(self) -> str:
        """``met``, or by how much the goal was missed."""
        return f'missed by {self.missed_by:.1%}' if self.missed_by else 'met'

    def row(self) -> list[str]:
        """The metric's cells in the table."""
        # Ratios near 1, such as a goal of 1.05, need more digits.
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
        """All fields and the verdict as JSON types."""
        return {
            'figure': self.name,
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
    """One row per metric."""
    columns = ('metric', 'goal', 'measured', 'spread', '', 'note')
    return Table(columns, [metric.row() for metric in metrics], title)
