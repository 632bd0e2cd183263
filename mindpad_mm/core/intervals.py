"""Confidence intervals of means."""

from __future__ import annotations

import numpy as np
from scipy import stats


def t_interval(values: np.ndarray, confidence: float = 0.95) -> list[float] | None:
    """Student's t interval of a mean.

    Args:
        values: (N,) independent values.
        confidence: In 0..1, default 0.95.

    Returns:
        ``[low, high]``, rounded to six decimals; None for fewer than two values.
    """
    if len(values) < 2:
        return None
    half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * stats.sem(values)
    return [round(float(np.mean(values) + sign * half), 6) for sign in (-1, 1)]
