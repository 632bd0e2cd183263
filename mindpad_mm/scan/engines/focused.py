"""The approximate fast engine: only the priors that can match the object, checked as it goes."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from mmengine.structures import InstanceData

from mindpad_mm.core.matching import match_each
from mindpad_mm.incremental import NotFollowed
from mindpad_mm.incremental.focus import Focus, find_focus
from mindpad_mm.incremental.heads import (
    NotFocusable,
    Outputs,
    SingleStage,
    demand,
    restricted,
)
from mindpad_mm.scan.engines.base import ENGINES
from mindpad_mm.scan.engines.full import FullEngine
from mindpad_mm.scan.engines.incremental import IncrementalEngine
from mindpad_mm.scan.positions import position_boxes

# Positions of one batch while the focus is sought, whatever the scan's batches: it must not depend
# on them.
_BATCH = 8
# While the focus is sought, scores must be right at all these multiples of the IoU threshold, because
# at other positions other boxes come to lie on either side of it.
_STRICTNESS = (0.4, 0.6, 0.8, 1, 1.2, 1.4)
# And off by no more than this share of the tolerance.
_CAUTION = 0.1
# The share of the time that may go into checks, where one a chunk takes less.
_CHECKING = 0.08
# To tell time by: multiply-accumulates that take as long as a position does besides its convolutions.
_FIXED = 5e7


@ENGINES.register_module(name='focused')
class FocusedEngine(IncrementalEngine):
    """Within a tolerance of the full engine, as far as it looks, and many times as fast.

    Before the first positions it finds out, at a few places of the map, which priors decide the score.
    From then on it computes those, and of every map what they need; all other priors keep the values
    of the clean scene. The detector's own post-processing runs on all of them.

    At some positions of every chunk its score is held against that of a full forward pass. Where one
    differs by more than the tolerance, the chunk is left to the exact engine, and where no choice of
    priors will do, the whole map is; :meth:`notes` say so. What is computed depends on the scene, the
    object and the chunk's positions, never on what was scanned before.

    Attributes:
        places: Positions at which the focus is sought.
    """

    name = 'focused'
    chunk_size = 512
    places: ClassVar[int] = 64

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._detector: SingleStage | None = None
        self._focus: Focus | None = None
        self._outputs: Outputs = ()
        self._unfocused_because = ''
        self._share = 0.0
        # By position, so that one that is asked for twice counts once.
        self._checks: dict[tuple[int, int], float] = {}
        self._left_to_exact: set[tuple[int, int]] = set()

    def detect(self, positions: np.ndarray) -> list[InstanceData]:
        if self._focus is None and not self._unfocused_because:
            self._seek_focus()
        if self._focus is None or not len(positions):
            return super().detect(positions)
        try:
            detections = self._in_batches(self._detect_focused, positions)
        except NotFollowed as reason:
            self._focus, self._unfocused_because = None, str(reason)
            return super().detect(positions)
        chosen = self._to_check(positions)
        full = FullEngine(self.model, self.scene, self.pixels, _BATCH).detect(positions[chosen])
        found = [detections[index] for index in chosen]
        wanted, given = (
            self._scores(each, positions[chosen], self.iou_thr) for each in (full, found)
        )
        differences = np.abs(given - wanted)
        self._checks.update(zip(map(tuple, positions[chosen].tolist()), differences.tolist()))
        if differences.max() > self.tolerance:
            self._left_to_exact.update(map(tuple, positions.tolist()))
            return super().detect(positions)
        return detections

    def _to_check(self, positions: np.ndarray) -> np.ndarray:
        """Which positions of a chunk to check, the same whenever it is asked for."""
        count = int(_CHECKING * self._share * len(positions))
        rng = np.random.default_rng(positions.ravel())
        return rng.choice(len(positions), max(count, 1), replace=False)

    def notes(self) -> dict[str, Any]:
        """What the incremental engine says of the work, and

        - ``unfocused_because``: why all was left to the exact engine; or else
        - ``focus``: each ``level`` that was computed, its ``stride`` (vertical, horizontal) in pixels
          and the ``reach`` about the object, see :meth:`Grid.cells`;
        - ``checks``: at how many positions it was held against a full forward pass;
        - ``largest_difference``: of the scores there;
        - ``left_to_exact``: at how many positions the exact engine's result is given, because the
          check of their chunk showed more than the tolerance.
        """
        notes = super().notes()
        if self._focus is None:
            return {**notes, 'unfocused_because': self._unfocused_because}
        return {
            **notes,
            'focus': self._focus.notes(),
            'tolerance': self.tolerance,
            'checks': len(self._checks),
            'largest_difference': max(self._checks.values(), default=0.0),
            'left_to_exact': len(self._left_to_exact),
        }

    def _scores(
        self, detections: list[InstanceData], positions: np.ndarray, iou_thr: float
    ) -> np.ndarray:
        boxes = position_boxes(positions, self.pixels.shape[:2])
        return match_each(detections, self.label, boxes, iou_thr).scores

    def _detect_focused(self, corners: np.ndarray) -> list[InstanceData]:
        """Final detections of one batch, of which only the focus is new."""
        cells = self._focus.cells(corners, self.pixels.shape[:2])
        with torch.inference_mode():
            inputs = self._inputs(corners)
            self._tape.demand = demand(self._tape, self._outputs, cells, len(corners))
            try:
                outputs = self._detector.outputs(inputs)
            finally:
                self._tape.demand = None
            outputs = restricted(outputs, cells)
            return self._detector.detections(outputs, self._data_samples(len(corners)))

    def _seek_focus(self) -> None:
        try:
            self._detector = SingleStage(self.model)
            with torch.inference_mode():
                self._focus = self._find_focus()
            self._count_from_here()
            if self._focus is not None:
                self._detect_focused(self._places()[:_BATCH])
                each = _BATCH * _FIXED
                self._share = (self._tape.macs + each) / (self._tape.full_macs + each)
                self._count_from_here()
        except (NotFocusable, NotFollowed) as reason:
            self._unfocused_because = str(reason)
        else:
            if self._focus is None:
                self._unfocused_because = 'priors far from the object change the score'

    def _count_from_here(self) -> None:
        self._tape.macs = self._tape.full_macs = 0.0

    def _find_focus(self) -> Focus | None:
        """The focus that gives what the exact engine gives, at a few positions."""
        positions = self._places()
        batches = [positions[k : k + _BATCH] for k in range(0, len(positions), _BATCH)]
        exact = [self._detector.outputs(self._inputs(batch)) for batch in batches]
        self._outputs = exact[0]

        def scores(outputs: Outputs, batch: np.ndarray) -> np.ndarray:
            found = self._detector.detections(outputs, self._data_samples(len(batch)))
            return np.stack([self._scores(found, batch, self.iou_thr * k) for k in _STRICTNESS])

        wanted = [scores(restricted(outputs), batch) for outputs, batch in zip(exact, batches)]

        def does(focus: Focus) -> bool:
            for outputs, batch, score in zip(exact, batches, wanted):
                cells = focus.cells(batch, self.pixels.shape[:2])
                found = scores(restricted(outputs, cells), batch)
                if np.abs(found - score).max() > _CAUTION * self.tolerance:
                    return False
            return True

        return find_focus(self._detector.grids(exact[0]), does)

    def _places(self) -> np.ndarray:
        """Positions spread at random over the map, its corners among them, (N, 2)."""
        last = np.subtract(self.scene.size, self.pixels.shape[:2])
        rng = np.random.default_rng([*self.scene.size, *self.pixels.shape[:2]])
        corners = [(0, 0), (0, last[1]), (last[0], 0), last]
        spread = rng.integers(0, last + 1, (self.places - len(corners), 2))
        return np.concatenate([corners, spread])
