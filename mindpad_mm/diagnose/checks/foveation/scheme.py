"""The usage of a network's pixels under one padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mindpad_mm.diagnose.checks.foveation.usage import Usage


@dataclass
class Scheme:
    """A network under one padding.

    Attributes:
        label: The padding.
        usage: Uses of each pixel; None if the network cannot run with this padding.
        problem: Why it cannot run.
        stride: The network's total stride, pixels.
        depth: (number in order of execution, name, disparity of the uses up to there) for at most 16
            layers, spread evenly over those with a kernel larger than 1 x 1.
    """

    label: str
    usage: Usage | None
    problem: str = ''
    stride: int = 1
    depth: Sequence[tuple[int, str, float]] = ()


def number_text(value: float | None) -> str:
    """A ratio as text with three digits; ``-`` for None."""
    if value is None:
        return '-'
    if np.isinf(value):
        return 'unbounded'
    return f'{value:.3g}' if value < 1000 or value >= 1e6 else f'{value:,.0f}'
