"""A single-stage detector in its two halves: network and post-processing, with windows between."""

from __future__ import annotations

import math

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.detectors import SingleStageDetector
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mindpad_mm.incremental.compiled import whole_maps_for_compiled
from mindpad_mm.incremental.demand import Cells, Demand
from mindpad_mm.incremental.focus import Grid, prior_grids
from mindpad_mm.incremental.levels import as_levels
from mindpad_mm.incremental.shortcuts import shortcuts
from mindpad_mm.incremental.tape import Step, Tape
from mindpad_mm.incremental.windowed import Windowed

Outputs = tuple[tuple[Tensor, ...], ...]
"""What a dense head gives: a few things, such as scores and boxes, of each level."""


class NotFocusable(Exception):
    """It is not known which cells of which maps a detector's priors are."""


class SingleStage:
    """A single-stage detector whose head predicts as MMDetection's dense heads do.

    Args:
        model: The detector.

    Raises:
        NotFocusable: It is of another kind.
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
        """What the head gives for (B, 3, H, W)."""
        with whole_maps_for_compiled(self.model):
            outputs = self.head(self.model.extract_feat(inputs))
        kinds = [kind for kind in outputs if isinstance(kind, (list, tuple))]
        if len(kinds) < len(outputs) or len({len(kind) for kind in kinds}) != 1:
            raise NotFocusable(f'{type(self.head).__name__} does not give one map a level')
        return tuple(map(tuple, kinds))

    def grids(self, outputs: Outputs) -> tuple[Grid, ...]:
        """Where the priors of each level lie."""
        sizes = [tuple(level.shape[-2:]) for level in outputs[0]]
        grids = prior_grids(self.head, sizes)
        if grids is None:
            raise NotFocusable(f'{type(self.head).__name__} does not say where its priors lie')
        return grids

    def detections(self, outputs: Outputs, samples: list[DetDataSample]) -> list[InstanceData]:
        """The detector's own post-processing of what its head gives, equal scores in any order."""
        with shortcuts(self.model, floor=lambda *_: math.inf):
            return self.head.predict_by_feat(
                *map(list, as_levels(outputs)),
                batch_img_metas=[sample.metainfo for sample in samples],
                rescale=True,
            )


def demand(tape: Tape, outputs: Outputs, cells: dict[int, Cells], batch: int) -> Demand:
    """What a batch needs of each map for these cells of each level, and none of other levels.

    Args:
        tape: The clean run.
        outputs: Of any batch that ran on the tape.
        cells: By level.
        batch: Samples.
    """
    wanted: dict[Step, Cells] = {}
    for kind in outputs:
        for level, value in enumerate(kind):
            step = tape.maker(value.clean) if isinstance(value, Windowed) else None
            if step is not None and level in cells:
                wanted[step] = cells[level]
    return Demand(tape, wanted, batch)


def restricted(outputs: Outputs, cells: dict[int, Cells] | None = None) -> Outputs:
    """Outputs of which these cells of each level are new, and all others those of the clean run.

    Args:
        outputs: They are left as they are, whatever is written to the result.
        cells: By level; None stands for all that can have changed.
    """

    def restrict(value: Tensor, level: int) -> Tensor:
        if not isinstance(value, Windowed):
            return value.clone()
        if cells is not None and level not in cells:
            equal = Windowed.equal(value.clean, len(value), value.tape)
            return Windowed(value.clean, equal.patch.clone(), equal.rows, equal.cols, value.tape)
        rows, cols = value.rows, value.cols
        if cells is not None:
            rows, cols = (span.within(*each) for span, each in zip((rows, cols), cells[level]))
        patch = value.at(rows, cols).clone()
        # Windows of one batch are of one length: those of fewer cells hold others besides.
        beyond = ~(rows.changed[:, :, None] & cols.changed[:, None, :])
        if cells is not None and beyond.any():
            beyond = torch.from_numpy(beyond[:, None]).to(patch.device)
            patch = patch.where(~beyond, Windowed.unchanged(value.clean, rows, cols))
        return Windowed(value.clean, patch, rows, cols, value.tape)

    return tuple(tuple(restrict(v, level) for level, v in enumerate(kind)) for kind in outputs)
