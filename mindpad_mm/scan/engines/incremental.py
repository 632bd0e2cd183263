"""The exact fast engine: the detector's own modules, run on what the pasted object can have changed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from mmdet.models.detectors.base import BaseDetector
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mindpad_mm.core.matching import match_each
from mindpad_mm.core.scenes import paste
from mindpad_mm.incremental import NotFollowed, Tape, Windowed
from mindpad_mm.incremental.compiled import whole_maps_for_compiled
from mindpad_mm.incremental.levels import as_levels
from mindpad_mm.incremental.shortcuts import shortcuts
from mindpad_mm.scan.engines.base import ENGINES, Engine
from mindpad_mm.scan.engines.full import FullEngine
from mindpad_mm.scan.positions import position_boxes

# Positions are gathered into batches of one phase of this grid, so that their windows are alike
# through all strides up to it.
_PHASES = 16


@ENGINES.register_module(name='incremental')
class IncrementalEngine(Engine):
    """Equal to the full engine within float rounding, several times as fast.

    The detector runs once on the clean scene. For every batch of positions its own modules then run on
    :class:`Windowed` maps, which compute what the object can have changed and take the rest from the
    clean run; its own post-processing makes the detections, and goes through an image once more where
    the asked score hangs on the order of equal ones, see :func:`shortcuts`. A detector that does what
    windows cannot follow is left to the full engine, and :meth:`notes` say so.
    """

    name = 'incremental'

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.model.to(memory_format=torch.channels_last)
        self._tape = Tape()
        self._samples: list[Any] = []
        self._checked = False
        self._full: FullEngine | None = None
        if not isinstance(self.model, BaseDetector):
            self._give_up('the model is not one of MMDetection')
            return
        with torch.inference_mode():
            self._clean = self._preprocess(self.scene.pixels)

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
        if self._full is None:
            try:
                return self._detect_by_windows(positions)
            except NotFollowed as reason:
                self._give_up(str(reason))
        self._full.batch_size = self.batch_size
        return self._full.detect(positions)

    def _give_up(self, reason: str) -> None:
        """Leave all from here on to the full engine."""
        self._full = FullEngine(self.model, self.scene, self.pixels, self.batch_size)
        self._reason = reason

    def order(self, positions: np.ndarray) -> np.ndarray:
        """The order (N,) in which positions fill the batches: those of like windows together."""
        rows, cols = positions.T
        # Near a border windows are cut short, or go on at the other side.
        far = np.minimum(cols, self.scene.size[1] - self.pixels.shape[1] - cols)
        return np.lexsort((cols, far, cols % _PHASES, rows % _PHASES))

    def notes(self) -> dict[str, Any]:
        """``whole_maps``, the functions that fell back to whole maps; ``macs_saved``, the share of the
        convolutions' multiply-accumulates that was saved; or why all ran on the full engine."""
        if self._full is not None:
            return {'full_engine_because': self._reason}
        tape = self._tape
        saved = 1 - tape.macs / tape.full_macs if tape.full_macs else 0.0
        return {'whole_maps': sorted(tape.fallbacks), 'macs_saved': round(saved, 4)}

    def _detect_by_windows(self, corners: np.ndarray) -> list[InstanceData]:
        boxes = position_boxes(corners, self.pixels.shape[:2])

        def score(image: int, found: InstanceData) -> float:
            return float(match_each([found], self.label, boxes[[image]], self.iou_thr).scores[0])

        with torch.inference_mode(), shortcuts(self.model, floor=score), self._levels_from_heads():
            samples = self._data_samples(len(corners))
            with whole_maps_for_compiled(self.model):
                results = self.model(self._inputs(corners), samples, mode='predict')
        return [result.pred_instances for result in results]

    def _inputs(self, corners: np.ndarray) -> Windowed:
        """The network's input with the object at each of (B, 2) corners, for a new run."""
        self._tape.rewind()
        return Windowed.pasted(self._clean, self._patches(corners), corners, self._tape)

    @contextlib.contextmanager
    def _levels_from_heads(self) -> Iterator[None]:
        """While active, dense heads give levels instead of windows to their post-processing."""
        heads = [getattr(self.model, name, None) for name in ('bbox_head', 'rpn_head')]
        hooks = [
            head.register_forward_hook(lambda module, args, output: as_levels(output))
            for head in heads
            if isinstance(head, nn.Module)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _patches(self, corners: np.ndarray) -> Tensor:
        """The network's input where the object is pasted, (B, 3, h, w)."""
        height, width = self.pixels.shape[:2]
        pasted = [
            paste(self.scene.pixels[row : row + height, col : col + width], self.pixels, 0, 0)
            for row, col in corners
        ]
        # One image of them all: preprocessing takes each pixel by itself, which is checked below.
        tall = self._preprocess(np.concatenate(pasted))
        tall = tall[:, :, : len(corners) * height, :width]
        patches = tall.reshape(tall.shape[1], len(corners), height, width).transpose(0, 1)
        patches = patches.contiguous(memory_format=torch.channels_last)
        if not self._checked:
            row, col = corners[0]
            expected = self._clean.clone()
            expected[:, :, row : row + height, col : col + width] = patches[0]
            if not torch.equal(expected, self._preprocess(self.image(row, col))):
                raise NotFollowed('the data preprocessor does not take each pixel by itself')
            self._checked = True
        return patches

    def _preprocess(self, pixels: np.ndarray) -> Tensor:
        data = self.model.data_preprocessor(self.scene.pack([pixels]), False)
        return data['inputs'].contiguous(memory_format=torch.channels_last)

    def _data_samples(self, count: int) -> list[Any]:
        while len(self._samples) < count:
            data = self.model.data_preprocessor(self.scene.pack([self.scene.pixels]), False)
            self._samples += data['data_samples']
        return self._samples[:count]
