"""A single-stage detector split into its network and its post-processing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.detectors import SingleStageDetector
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from mindpad_mm.incremental.graph import Cells, Demand, Operation, OperationGraph
from mindpad_mm.incremental.levels import as_lazy_levels
from mindpad_mm.incremental.postprocess import ScoreFloor, fast_postprocess
from mindpad_mm.incremental.windowed import WindowedTensor

Outputs = tuple[tuple[Tensor, ...], ...]
"""The outputs of a dense head: for each kind (class scores, box deltas) one map for each level."""


class NotFocusable(Exception):
    """It is unknown which cells of the head outputs belong to which priors, so there is no focus."""


@dataclass(frozen=True)
class PriorGrid:
    """The grid of prior centres of one level. Each pair is (vertical, horizontal).

    Attributes:
        size: Cells.
        first: Centre of the first cell's priors, input pixels.
        stride: Distance between neighbouring cells, input pixels.
    """

    size: tuple[int, int]
    first: tuple[float, float]
    stride: tuple[float, float]

    def cells(self, corners: np.ndarray, extent: tuple[int, int], reach: float) -> Cells:
        """The cells near each object.

        Args:
            corners: (B, 2) (row, col) of the objects' top-left pixels.
            extent: (height, width) of the objects, pixels.
            reach: How far from the object's centre cells are included, in halves of its extent. 0
                is only the cell whose priors are nearest to the centre.
        """
        rows, cols = (self._axis(axis, corners[:, axis], extent[axis], reach) for axis in (0, 1))
        return rows, cols

    def _axis(
        self, axis: int, corner: np.ndarray, extent: int, reach: float
    ) -> tuple[np.ndarray, np.ndarray]:
        size, stride = self.size[axis], self.stride[axis]
        centre = (corner + extent / 2 - self.first[axis]) / stride
        margin = 0.5 + reach * extent / 2 / stride
        low = np.ceil(centre - margin).astype(int).clip(0, size - 1)
        # For an object beyond the last cell, the last cell is still the nearest one.
        return low, np.maximum(np.ceil(centre + margin).astype(int).clip(0, size), low + 1)


class SingleStage:
    """A single-stage detector whose head predicts as MMDetection's dense heads do.

    Args:
        model: The detector.

    Raises:
        NotFocusable: It is a detector of another kind.
    """

    def __init__(self, model: nn.Module) -> None:
        if not isinstance(model, SingleStageDetector):
            raise NotFocusable('the detector has more than one stage')
        if type(model).predict is not SingleStageDetector.predict:
            raise NotFocusable(f'{type(model).__name__} predicts in its own way')
        if not isinstance(model.bbox_head, BaseDenseHead) or (
            type(model.bbox_head).predict is not BaseDenseHead.predict
        ):
            raise NotFocusable(f'{type(model.bbox_head).__name__} predicts in its own way')
        self.model = model
        self.head = model.bbox_head

    def outputs(self, inputs: Tensor) -> Outputs:
        """The head outputs for inputs (B, 3, H, W).

        Raises:
            NotFocusable: The head does not return one map for each level.
        """
        outputs = self.head(self.model.extract_feat(inputs))
        kinds = [kind for kind in outputs if isinstance(kind, (list, tuple))]
        if len(kinds) < len(outputs) or len({len(kind) for kind in kinds}) != 1:
            raise NotFocusable(f'{type(self.head).__name__} does not give one map for each level')
        return tuple(map(tuple, kinds))

    def grids(self, outputs: Outputs) -> tuple[PriorGrid, ...]:
        """The prior grid of each level.

        Raises:
            NotFocusable: The head has no MMDetection prior generator for these levels.
        """
        sizes = [tuple(level.shape[-2:]) for level in outputs[0]]
        generator: Any = getattr(self.head, 'prior_generator', None)
        if getattr(generator, 'num_levels', None) != len(sizes):
            raise NotFocusable(f'{type(self.head).__name__} does not say where its priors lie')
        grids = []
        for (height, width), stride, priors in zip(
            sizes, generator.strides, generator.grid_priors(sizes, device='cpu')
        ):
            cell = priors.reshape(height * width, -1, priors.shape[-1])[0].double()
            # Boxes x1, y1, x2, y2, or points x, y.
            centre = (cell[:, :2] + cell[:, 2:]) / 2 if priors.shape[-1] == 4 else cell[:, :2]
            (x, y), (stride_x, stride_y) = centre.mean(0).tolist(), _pair(stride)
            grids.append(PriorGrid((height, width), (y, x), (stride_y, stride_x)))
        return tuple(grids)

    def detections(
        self,
        outputs: Outputs,
        samples: list[DetDataSample],
        score_floor: ScoreFloor = lambda image, detections: math.inf,
    ) -> list[InstanceData]:
        """The detector's own post-processing; by default, ties are broken in any order."""
        with fast_postprocess(self.model, score_floor):
            return self.head.predict_by_feat(
                *map(list, as_lazy_levels(outputs)),
                batch_img_metas=[sample.metainfo for sample in samples],
                rescale=True,
            )


def demand_for(
    graph: OperationGraph, outputs: Outputs, cells: dict[int, Cells], batch: int
) -> Demand:
    """The cells of each feature map that a batch needs for some cells of some levels.

    Args:
        graph: The recorded clean run.
        outputs: Head outputs of any batch that ran on this graph.
        cells: By level; levels that are missing are not needed.
        batch: Number of images.
    """
    wanted: dict[Operation, Cells] = {}
    for kind in outputs:
        for level, value in enumerate(kind):
            operation = (
                graph.operation_of(value.clean) if isinstance(value, WindowedTensor) else None
            )
            if operation is not None and level in cells:
                wanted[operation] = cells[level]
    return Demand(graph, wanted, batch)


def restricted(outputs: Outputs, cells: dict[int, Cells] | None = None) -> Outputs:
    """Copies of head outputs that differ from the clean run only in some cells.

    Args:
        outputs: The outputs to copy. Writing to the copies does not change them.
        cells: By level, the cells that keep their new values; levels that are missing keep none.
            None: all dirty cells of all levels.
    """

    def restrict(value: Tensor, level: int) -> Tensor:
        if not isinstance(value, WindowedTensor):
            return value.clone()
        clean, graph = value.clean, value.graph
        if cells is not None and level not in cells:
            same = WindowedTensor.all_clean(clean, len(value), graph)
            return WindowedTensor(clean, same.patch.clone(), same.rows, same.cols, graph)
        rows, cols = value.rows, value.cols
        if cells is not None:
            rows, cols = (span.within(*each) for span, each in zip((rows, cols), cells[level]))
        patch = value.at(rows, cols).clone()
        # All windows of a batch have one length, so some contain cells that are not wanted.
        unwanted = ~(rows.dirty[:, :, None] & cols.dirty[:, None, :])
        if cells is not None and unwanted.any():
            unwanted = torch.from_numpy(unwanted[:, None]).to(patch.device)
            patch = patch.where(~unwanted, WindowedTensor.clean_windows(clean, rows, cols))
        return WindowedTensor(clean, patch, rows, cols, graph)

    return tuple(tuple(restrict(v, level) for level, v in enumerate(kind)) for kind in outputs)
