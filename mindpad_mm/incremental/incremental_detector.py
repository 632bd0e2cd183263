"""A detector that computes only the dirty regions of a batch of images."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mindpad_mm.core.torch_functions import replace
from mindpad_mm.incremental.graph import OperationGraph
from mindpad_mm.incremental.levels import as_lazy_levels
from mindpad_mm.incremental.postprocess import ScoreFloor, fast_postprocess
from mindpad_mm.incremental.windowed import WindowedTensor

_MMCV_OPS = 'mmcv.ops.'


class IncrementalDetector:
    """Runs a detector on images that equal one clean image except for a patch each.

    Before the first batch, one of its images and the clean image run once more, to record the operation
    graph. The detector's own modules compute only the dirty regions and take all other cells from the
    clean run. The result equals a full forward pass within float rounding. Ties are broken as the
    detector breaks them, down to the ``score_floor`` of :meth:`detect`.

    Args:
        model: An MMDetection detector in evaluation mode, channels last.
        clean_input: (1, 3, H, W) the clean image as the network gets it, after preprocessing,
            channels last.
    """

    def __init__(self, model: nn.Module, clean_input: Tensor) -> None:
        self.model = model
        self.clean_input = clean_input
        self._graph = OperationGraph()
        self._samples: list[DetDataSample] = []

    def detect(
        self,
        patches: Tensor,
        corners: np.ndarray,
        data_samples: list[DetDataSample],
        score_floor: ScoreFloor = lambda image, detections: 0.0,
    ) -> list[InstanceData]:
        """Final detections of one batch.

        Args:
            patches: (B, 3, h, w), preprocessed like the clean image, channels last.
            corners: (B, 2) int (row, col) of each patch's top-left pixel in the network's input.
            data_samples: B samples, as the data preprocessor gives them for the clean image.
            score_floor: From the index of an image in the batch and its detections to a score in
                0..1. Ties below this score are broken in any order, and detections below it may be
                missing. The default keeps all detections in the detector's own order.

        Returns:
            The detections of B images, after the detector's own post-processing.

        Raises:
            NotFollowed: The detector does something that windows cannot represent.
        """
        self._samples = self._samples or copy.deepcopy(data_samples[:1])
        if not self._graph.operations:
            # Convolutions do the work of batch norms once the graph is known: not with the first batch
            # of some runs and the second of others, which would differ in the last bits.
            self._run(patches[:1], corners[:1], copy.deepcopy(self._samples), lambda *_: math.inf)
            self._reset_macs()
        return self._run(patches, corners, data_samples, score_floor)

    def _run(
        self,
        patches: Tensor,
        corners: np.ndarray,
        data_samples: list[DetDataSample],
        score_floor: ScoreFloor,
    ) -> list[InstanceData]:
        with (
            torch.inference_mode(),
            fast_postprocess(self.model, score_floor),
            self._lazy_levels_from_heads(),
            whole_maps_for_mmcv_ops(self.model),
        ):
            inputs = self._windowed(patches, corners)
            results = self.model(inputs, data_samples, mode='predict')
        return [result.pred_instances for result in results]

    def _reset_macs(self) -> None:
        self._graph.macs = self._graph.full_macs = 0.0

    def notes(self) -> dict[str, Any]:
        """A summary of the work done so far, JSON types only.

        - ``whole_maps``: functions and modules that fell back to whole maps;
        - ``macs_saved``: share of the multiply-accumulates of full forward passes that was saved, 0..1.
          Those of convolutions and matrix products count (linear layers and attention among them),
          wherever they run; other operations have none.
        """
        graph = self._graph
        recorded = sum(operation.macs for operation in graph.operations)
        saved = 0.0
        if graph.full_macs:
            # What the graph does not follow runs whole for every image.
            images = graph.full_macs / recorded
            outside = images * max(self._macs_of_full_pass() - recorded, 0.0)
            saved = (graph.full_macs - graph.macs) / (graph.full_macs + outside)
        return {'whole_maps': sorted(graph.fallbacks), 'macs_saved': round(saved, 4)}

    def _macs_of_full_pass(self) -> float:
        """Multiply-accumulates of the convolutions and matrix products of a full pass on one image."""
        # Without gradients, but not in inference mode: there, composite operations hide their parts.
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            self.model(self.clean_input.clone(), copy.deepcopy(self._samples), mode='predict')
        return counter.get_total_flops() / 2

    def _windowed(self, patches: Tensor, corners: np.ndarray) -> WindowedTensor:
        """The network's input for a new run."""
        self._graph.rewind()
        return WindowedTensor.pasted(self.clean_input, patches, corners, self._graph)

    @contextlib.contextmanager
    def _lazy_levels_from_heads(self) -> Iterator[None]:
        """While active, dense heads pass lazy levels instead of windows to their post-processing."""
        heads = [getattr(self.model, name, None) for name in ('bbox_head', 'rpn_head')]
        hooks = [
            head.register_forward_hook(lambda module, args, output: as_lazy_levels(output))
            for head in heads
            if isinstance(head, nn.Module)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


@contextlib.contextmanager
def whole_maps_for_mmcv_ops(model: nn.Module) -> Iterator[None]:
    """While active, modules from ``mmcv.ops`` (RoIAlign, deformable convolutions) get whole maps.

    Their compiled functions read a tensor's memory directly and bypass ``__torch_function__``;
    windows have no memory to read.
    """

    def make_whole(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple:
        def whole(value: WindowedTensor) -> Tensor:
            value.graph.fallbacks.add(type(module).__name__)
            value.graph.mark_used_outside(value.clean)
            return value.dense()

        return replace((args, kwargs), WindowedTensor, whole)

    hooks = [
        module.register_forward_pre_hook(make_whole, with_kwargs=True)
        for module in model.modules()
        if any(kind.__module__.startswith(_MMCV_OPS) for kind in type(module).__mro__)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
