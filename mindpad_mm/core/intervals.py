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


def unit_interval(values: np.ndarray, confidence: float = 0.95) -> list[float] | None:
    """An interval of the mean of independent values in 0..1, which stays in 0..1.

    Student's t interval of the arcsines of the square roots, transformed back. Near 0 and 1, where shares
    vary less, it is narrower.

    Args:
        values: (N,) independent values in 0..1.
        confidence: Confidence level in 0..1. Default: 0.95.

    Returns:
        ``[low, high]``, rounded to six decimals, around the mean. None for fewer than two values, or if
        all are equal: then nothing is known of their spread.
    """
    if len(values) < 2 or np.ptp(values) == 0:
        return None
    angles = np.arcsin(np.sqrt(np.clip(values, 0, 1)))
    low, high = stats.t.interval(confidence, len(angles) - 1, angles.mean(), stats.sem(angles))
    ends = np.sin(np.clip([low, high], 0, np.pi / 2)) ** 2
    mean = np.mean(values)
    # The transformed mean is not the mean; the interval always contains both.
    return [round(float(min(ends[0], mean)), 6), round(float(max(ends[1], mean)), 6)]
