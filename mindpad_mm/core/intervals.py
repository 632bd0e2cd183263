"""Confidence intervals of means."""

from __future__ import annotations

import numpy as np
from scipy import stats


def t_interval(values: np.ndarray, confidence: float = 0.95) -> list[float] | None:
    """Student's t interval of the mean of independent values.

    Args:
        values: (N,) independent values.
        confidence: Confidence level in 0..1. Default: 0.95.

    Returns:
        ``[low, high]``, rounded to six decimals, or None for fewer than two values.
    """
    if len(values) < 2:
        return None
    # Scaled here: given a standard error of 0 (equal values), scipy would return NaN.
    low, high = stats.t.interval(confidence, len(values) - 1)
    mean, error = np.mean(values), stats.sem(values)
    return [round(float(mean + low * error), 6), round(float(mean + high * error), 6)]
