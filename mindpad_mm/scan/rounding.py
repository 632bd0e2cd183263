"""Means and numbers for statistics, as JSON types."""

from __future__ import annotations

from typing import Any

import numpy as np


def nanmean(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    """numpy.nanmean without its warning if all values are NaN."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis)
    count = known.sum(axis)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def rounded(value: Any) -> float:
    return round(float(value), 6)


def rounded_or_none(value: Any) -> float | None:
    return None if np.isnan(value) else rounded(value)
