"""The full engine: a whole forward pass of the detector for every position."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData

from mindpad_mm.core.detector import in_channels_last
from mindpad_mm.core.names import SPACES
from mindpad_mm.core.scenes import detect_images
from mindpad_mm.scan.engines.base import ENGINES, Engine

AUTO_BATCH_SIZES = (1, 2, 4, 8, 16, 32)
# A larger batch is preferred if it takes at most this share of the time per image. Smaller differences
# are noise of the measurement.
_WORTHWHILE = 0.97


@ENGINES.register_module(name='full')
class FullEngine(Engine):
    """Runs the detector's test step on every pasted image. Other engines are compared to this one."""

    name = 'full'
    exact = True
    spaces = SPACES

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Convolutions of oneDNN and cuDNN are up to five times faster in this format.
        in_channels_last(self.model)

    def detect(self, positions: np.ndarray) -> list[InstanceData]:
        detections: list[InstanceData] = []
        for start in range(0, len(positions), self.batch_size):
            batch = positions[start : start + self.batch_size]
            images = [self.image(row, col) for row, col in batch]
            detections += detect_images(self.model, self.scene, images)
        return detections


def now() -> float:
    """Seconds on a clock, once all work on the GPU is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def fastest_batch_size(engine: Engine, positions: np.ndarray) -> int:
    """Measure at which batch size an engine is fastest per position.

    Sizes are doubled from 1 to at most 32 and at most the number of positions, as long as the speed
    increases. Two runs may choose differently because the choice depends on timing. Then scores may
    differ in their last bits.

    Args:
        engine: The engine; its ``batch_size`` is set to the result.
        positions: (N, 2) positions to measure at.

    Returns:
        The batch size.
    """
    best, best_seconds = AUTO_BATCH_SIZES[0], float('inf')
    for size in AUTO_BATCH_SIZES:
        if size > len(positions):
            break
        engine.batch_size = size
        engine.detect(positions[:size])
        start = now()
        engine.detect(positions[:size])
        seconds = (now() - start) / size
        if seconds > best_seconds * _WORTHWHILE:
            break
        best, best_seconds = size, seconds
    engine.batch_size = best
    return best
