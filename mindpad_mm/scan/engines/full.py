"""The plain engine: a whole forward pass of the detector for every position."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData

from mindpad_mm.core.scenes import SPACES, detect_images
from mindpad_mm.scan.engines.base import ENGINES, Engine

AUTO_BATCH_SIZES = (1, 2, 4, 8, 16, 32)
# A larger batch must be this much faster per image to be preferred; less is noise.
_WORTHWHILE = 0.97


@ENGINES.register_module(name='full')
class FullEngine(Engine):
    """Exact by construction, and what the other engines are measured against."""

    name = 'full'
    spaces = SPACES

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # oneDNN and cuDNN run convolutions up to five times faster in this format.
        self.model.to(memory_format=torch.channels_last)

    def detect(self, positions: np.ndarray) -> list[InstanceData]:
        detections: list[InstanceData] = []
        for start in range(0, len(positions), self.batch_size):
            batch = positions[start : start + self.batch_size]
            images = [self.image(row, col) for row, col in batch]
            detections += detect_images(self.model, self.scene, images)
        return detections


def fastest_batch_size(engine: Engine, positions: np.ndarray) -> int:
    """The batch size at which an engine is fastest per position, warm.

    Sizes double from 1 while that pays, to at most 32 and never beyond the number of positions.
    The choice depends on timing: two runs may choose differently, and scores may then differ in
    their last bits.
    """
    best, best_seconds = AUTO_BATCH_SIZES[0], float('inf')
    for size in AUTO_BATCH_SIZES:
        if size > len(positions):
            break
        engine.batch_size = size
        engine.detect(positions[:size])
        start = time.perf_counter()
        engine.detect(positions[:size])
        seconds = (time.perf_counter() - start) / size
        if seconds > best_seconds * _WORTHWHILE:
            break
        best, best_seconds = size, seconds
    engine.batch_size = best
    return best
