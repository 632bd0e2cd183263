"""The incremental engine: exact, computes only what the pasted object changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmdet.models.detectors.base import BaseDetector
from mmengine.structures import InstanceData
from torch import Tensor

from mindpad_mm.core.detector import in_channels_last
from mindpad_mm.core.matching import match_each
from mindpad_mm.core.scenes import paste
from mindpad_mm.incremental import IncrementalDetector, NotFollowed
from mindpad_mm.scan.engines.base import ENGINES, Engine
from mindpad_mm.scan.engines.full import FullEngine
from mindpad_mm.scan.positions import position_boxes

# Positions with the same row and column modulo this number share a batch: their dirty regions have
# the same size on all feature maps of up to this stride.
_PHASES = 16


@ENGINES.register_module(name='incremental')
class IncrementalEngine(Engine):
    """Equal to the full engine within float rounding, several times as fast.

    Pastes, preprocesses and batches the object's positions for :class:`IncrementalDetector`. If the
    detector does something that cannot run on windows, the full engine takes over, and :meth:`notes`
    gives the reason.
    """

    name = 'incremental'
    exact = True
    detector_class = IncrementalDetector

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        in_channels_last(self.model)
        self._samples: list[Any] = []
        self._preprocessing_checked = False
        self._full: FullEngine | None = None
        if not isinstance(self.model, BaseDetector):
            self._use_full_engine('the model is not an MMDetection detector')
            return
        with torch.inference_mode():
            clean_input = self._preprocess(self.scene.pixels)
        self._detector = self.detector_class(self.model, clean_input)

    def detect(self, positions: np.ndarray) -> list[InstanceData]:
        return self._in_batches(self._detect, positions)

    def _in_batches(
        self, detect: Callable[[np.ndarray], list[InstanceData]], positions: np.ndarray
    ) -> list[InstanceData]:
        detections: list[Any] = [None] * len(positions)
        order = self.order(positions)
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            for index, found in zip(batch, detect(positions[batch])):
                detections[index] = found
        return detections

    def _detect(self, positions: np.ndarray) -> list[InstanceData]:
        """Final detections of one batch."""
        full = self._full
        if full is None:
            try:
                return self._detect_incrementally(positions)
            except NotFollowed as reason:
                full = self._use_full_engine(str(reason))
        full.batch_size = self.batch_size
        return full.detect(positions)

    def _use_full_engine(self, reason: str) -> FullEngine:
        """Run all further positions on the full engine, which is returned."""
        self._full = FullEngine(self.model, self.scene, self.pixels, self.batch_size)
        self._reason = reason
        return self._full

    def order(self, positions: np.ndarray) -> np.ndarray:
        """(N,) indices that sort positions by the size of their dirty regions, for batches."""
        rows, cols = positions.T
        # Near a border, dirty regions are cut off, or continue at the opposite side if padding is
        # circular.
        far = np.minimum(cols, self.scene.size[1] - self.pixels.shape[1] - cols)
        return np.lexsort((cols, far, cols % _PHASES, rows % _PHASES))

    def notes(self) -> dict[str, Any]:
        """Notes on the run.

        ``full_engine_because`` is the reason why the full engine took over. If it did not, the notes are
        those of :meth:`IncrementalDetector.notes`.
        """
        if self._full is not None:
            return {'full_engine_because': self._reason}
        return self._detector.notes()

    def _detect_incrementally(self, corners: np.ndarray) -> list[InstanceData]:
        with torch.inference_mode():
            return self._detector.detect(
                self._patches(corners),
                corners,
                self._data_samples(len(corners)),
                self._floor_at(corners),
            )

    def _floor_at(self, corners: np.ndarray) -> Callable[[int, InstanceData], float]:
        """What gives the score of the best match in an image; lower detections do not matter."""
        boxes = position_boxes(corners, self.pixels.shape[:2])

        def floor(image: int, found: InstanceData) -> float:
            matches = match_each([found], self.label, boxes[[image]], self.iou_thr)
            return min(float(matches.scores[0]), self.score_floor)

        return floor

    def _patches(self, corners: np.ndarray) -> Tensor:
        """The network's input at the pasted objects, (B, 3, h, w)."""
        height, width = self.pixels.shape[:2]
        pasted = [
            paste(self.scene.pixels[row : row + height, col : col + width], self.pixels, 0, 0)
            for row, col in corners
        ]
        # All patches are preprocessed as one tall image. This is correct if preprocessing treats each
        # pixel independently, which is checked once below.
        tall = self._preprocess(np.concatenate(pasted))
        tall = tall[:, :, : len(corners) * height, :width]
        patches = tall.reshape(tall.shape[1], len(corners), height, width).transpose(0, 1)
        patches = patches.contiguous(memory_format=torch.channels_last)
        if not self._preprocessing_checked:
            row, col = corners[0]
            expected = self._detector.clean_input.clone()
            expected[:, :, row : row + height, col : col + width] = patches[0]
            if not torch.equal(expected, self._preprocess(self.image(row, col))):
                raise NotFollowed('the data preprocessor does not treat each pixel independently')
            self._preprocessing_checked = True
        return patches

    def _preprocess(self, pixels: np.ndarray) -> Tensor:
        data = self.model.data_preprocessor(self.scene.pack([pixels]), False)
        return data['inputs'].contiguous(memory_format=torch.channels_last)

    def _data_samples(self, count: int) -> list[Any]:
        while len(self._samples) < count:
            data = self.model.data_preprocessor(self.scene.pack([self.scene.pixels]), False)
            self._samples += data['data_samples']
        return self._samples[:count]
