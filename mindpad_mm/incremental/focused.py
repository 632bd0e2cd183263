"""The approximate variant: only the priors near the object, on the levels that affect its score."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mindpad_mm.incremental.graph import Cells
from mindpad_mm.incremental.incremental_detector import IncrementalDetector, whole_maps_for_mmcv_ops
from mindpad_mm.incremental.postprocess import ScoreFloor
from mindpad_mm.incremental.single_stage import (
    Outputs,
    PriorGrid,
    SingleStage,
    demand_for,
    restricted,
)

# Reaches that are tried, see :meth:`PriorGrid.cells`. None is below 1: cells within the object cost
# little compared with its surroundings, which the receptive field covers anyway.
REACHES = (1, 2, 5)
# Multiply-accumulates that take about as long as all other work for one image.
_FIXED_MACS = 5e7


@dataclass(frozen=True)
class Focus:
    """Which priors to compute.

    Attributes:
        grids: The prior grids of all levels.
        reaches: The reach of each level in the focus, see :meth:`PriorGrid.cells`.
    """

    grids: tuple[PriorGrid, ...]
    reaches: Mapping[int, float]

    def cells(self, corners: np.ndarray, extent: tuple[int, int]) -> dict[int, Cells]:
        """The cells of each level in the focus; see :meth:`PriorGrid.cells`."""
        return {
            level: self.grids[level].cells(corners, extent, reach)
            for level, reach in self.reaches.items()
        }

    def with_reach(self, level: int, reach: float) -> Focus:
        """The same focus with another reach on one level."""
        return Focus(self.grids, {**self.reaches, level: reach})

    def without(self, level: int) -> Focus:
        """The same focus without one level."""
        return Focus(self.grids, {k: v for k, v in self.reaches.items() if k != level})

    def notes(self) -> list[dict[str, Any]]:
        """The ``level``, ``stride`` (pixels) and ``reach`` of each level, JSON types only."""
        return [
            {'level': level, 'stride': list(self.grids[level].stride), 'reach': reach}
            for level, reach in self.reaches.items()
        ]


def search_focus(
    grids: tuple[PriorGrid, ...], is_accurate: Callable[[Focus], bool]
) -> Focus | None:
    """Search greedily for an accurate focus with few levels and short reaches.

    The coarsest levels are dropped first: they have the largest receptive fields and need the deepest
    feature maps.

    Args:
        grids: The prior grids of all levels.
        is_accurate: Whether a focus gives the right scores. Called at most once for each level and
            once for each level and reach.

    Returns:
        None if even the longest reach on all levels is not accurate.
    """
    tried = (Focus(grids, dict.fromkeys(range(len(grids)), reach)) for reach in REACHES)
    focus = next(filter(is_accurate, tried), None)
    if focus is None:
        return None
    coarsest_first = sorted(focus.reaches, key=lambda level: grids[level].stride, reverse=True)
    for level in coarsest_first[:-1]:
        smaller = focus.without(level)
        if not is_accurate(smaller):
            break
        focus = smaller
    for level in coarsest_first:
        shorter = [reach for reach in REACHES if reach < focus.reaches.get(level, 0)]
        tried = (focus.with_reach(level, reach) for reach in shorter)
        focus = next(filter(is_accurate, tried), focus)
    return focus


class FocusedDetector(IncrementalDetector):
    """An incremental detector that can also compute only a focus: the priors near the object.

    All other priors keep the values of the clean image, and every feature map is computed only where
    the focus needs it. The detector's own post-processing runs on all priors. Call
    :meth:`find_focus` before :meth:`detect_focused`; :meth:`detect` stays exact.

    Args:
        model: See :class:`IncrementalDetector`.
        clean_input: See :class:`IncrementalDetector`.

    Attributes:
        focus: What :meth:`find_focus` found, or None.
    """

    def __init__(self, model: nn.Module, clean_input: Tensor) -> None:
        super().__init__(model, clean_input)
        self.focus: Focus | None = None
        self._outputs: Outputs = ()

    def find_focus(
        self,
        batches: Iterable[tuple[Tensor, np.ndarray]],
        data_samples: list[DetDataSample],
        scores: Callable[[list[InstanceData], np.ndarray], np.ndarray],
        max_difference: float,
    ) -> Focus | None:
        """Find the smallest focus whose scores equal those of the exact run on some batches.

        Args:
            batches: Patches and corners, as for :meth:`detect`.
            data_samples: At least as many as the largest batch has images.
            scores: From the detections of a batch and its corners to an array of the scores to compare.
            max_difference: The largest difference between scores that count as equal, 0..1.

        Returns:
            The focus, also kept in ``focus``; None if no focus is accurate enough.

        Raises:
            NotFocusable: The detector is not of a supported kind.
            NotFollowed: See :meth:`detect`.
        """
        with torch.inference_mode():
            exact: list[Outputs] = []
            places: list[tuple[np.ndarray, tuple[int, int]]] = []
            for patches, corners in batches:
                exact.append(self._run_network(patches, corners))
                places.append((corners, tuple(patches.shape[-2:])))
            self._outputs = exact[0]

            def scores_of(outputs: Outputs, corners: np.ndarray) -> np.ndarray:
                samples = data_samples[: len(corners)]
                return scores(self._single_stage.detections(outputs, samples), corners)

            wanted = [
                scores_of(restricted(outputs), corners)
                for outputs, (corners, _) in zip(exact, places)
            ]

            def is_accurate(focus: Focus) -> bool:
                for outputs, (corners, extent), score in zip(exact, places, wanted):
                    cells = focus.cells(corners, extent)
                    found = scores_of(restricted(outputs, cells), corners)
                    if np.abs(found - score).max() > max_difference:
                        return False
                return True

            self.focus = search_focus(self._single_stage.grids(exact[0]), is_accurate)
        self._reset_macs()
        return self.focus

    def relative_cost(
        self, patches: Tensor, corners: np.ndarray, data_samples: list[DetDataSample]
    ) -> float:
        """The estimated time of :meth:`detect_focused` relative to full forward passes, 0..1.

        It is estimated from the multiply-accumulates of one batch; see :meth:`detect` for the
        arguments.
        """
        self.detect_focused(patches, corners, data_samples)
        graph, fixed = self._graph, len(corners) * _FIXED_MACS
        cost = (graph.macs + fixed) / (graph.full_macs + fixed)
        self._reset_macs()
        return cost

    def detect_focused(
        self,
        patches: Tensor,
        corners: np.ndarray,
        data_samples: list[DetDataSample],
        score_floor: ScoreFloor = lambda image, detections: math.inf,
    ) -> list[InstanceData]:
        """Final detections of one batch, computed in the focus only.

        Args and errors are those of :meth:`detect`, but by default ties are broken in any order.

        Raises:
            RuntimeError: There is no focus: :meth:`find_focus` did not run, or returned None.
        """
        if self.focus is None:
            raise RuntimeError(
                'detect_focused needs a focus; find_focus did not run, or found none'
            )
        self._samples = self._samples or copy.deepcopy(data_samples[:1])
        cells = self.focus.cells(corners, tuple(patches.shape[-2:]))
        graph = self._graph
        with torch.inference_mode():
            graph.demand = demand_for(graph, self._outputs, cells, len(corners))
            try:
                outputs = self._run_network(patches, corners)
            finally:
                graph.demand = None
            return self._single_stage.detections(
                restricted(outputs, cells), data_samples, score_floor
            )

    @functools.cached_property
    def _single_stage(self) -> SingleStage:
        return SingleStage(self.model)

    def _run_network(self, patches: Tensor, corners: np.ndarray) -> Outputs:
        with whole_maps_for_mmcv_ops(self.model):
            return self._single_stage.outputs(self._windowed(patches, corners))
