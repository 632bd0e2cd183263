"""Arrays in a page: deflated bytes in base64, which its script unpacks to typed arrays."""

from __future__ import annotations

import base64
import zlib

import numpy as np

# Values in 0..1 are stored as uint16 with 4 decimals; 65535 where there is none.
_STEPS = 10_000
_NONE = 65_535


def packed(values: np.ndarray) -> str:
    """Little-endian bytes for a JavaScript typed array, deflated, in base64."""
    data = values.astype(values.dtype.newbyteorder('<')).tobytes()
    return base64.b64encode(zlib.compress(data, 9)).decode()


def fixed_point(values: np.ndarray) -> np.ndarray:
    """Values in 0..1 as uint16 with 4 decimals; 65535 for NaN."""
    steps = np.rint(values.astype(np.float64) * _STEPS)
    return np.where(np.isnan(values), _NONE, steps).astype(np.uint16)
