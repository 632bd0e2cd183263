"""The focused engine: approximate, computes only priors near the object, and checks some positions."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from mmengine.structures import InstanceData

from mindpad_mm.core.matching import match_each
from mindpad_mm.incremental import FocusedDetector, NotFollowed
from mindpad_mm.incremental.focused import Focus
from mindpad_mm.incremental.single_stage import NotFocusable
from mindpad_mm.scan.bound import off_at_most
from mindpad_mm.scan.engines.base import ENGINES
from mindpad_mm.scan.engines.full import FullEngine, now
from mindpad_mm.scan.engines.incremental import IncrementalEngine
from mindpad_mm.scan.positions import position_boxes

# Batch size of the search for the focus and of the checks. It is fixed so that results do not depend
# on the scan's own batch size.
_BATCH = 8
# The search for the focus compares scores at all these multiples of the IoU threshold, because at
# other positions other boxes lie above or below the threshold.
_IOU_MULTIPLES = (0.4, 0.6, 0.8, 1, 1.2, 1.4)
# In the search, scores may differ by at most this share of the tolerance.
_SEARCH_TOLERANCE = 0.1


@ENGINES.register_module(name='focused')
class FocusedEngine(IncrementalEngine):
    """Computes only the priors that decide the score. Much faster, and approximate.

    Before the first positions, the engine searches at some positions of the map for a focus: the
    levels, and the distances from the object, whose priors decide the score. Then it computes only
    these priors; see :class:`FocusedDetector`.

    Some positions of every chunk are checked against a full forward pass. If a score differs by more
    than the tolerance, the incremental engine runs the chunk again. If no focus is accurate enough, the
    incremental engine runs the whole map. :meth:`notes` reports both. Results depend on the scene, the
    object and the positions of the chunk, not on earlier chunks.

    Attributes:
        places: Number of positions at which the focus is searched.
    """

    name = 'focused'
    chunk_size = 512
    complete = False
    exact = False
    detector_class = FocusedDetector
    _detector: FocusedDetector
    places: ClassVar[int] = 64

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._focus: Focus | None = None
        self._unfocused_because = ''
        self._relative_cost = 0.0
        # By position, because the scan runs some positions twice.
        self._checks: dict[tuple[int, int], float] = {}
        self._left_to_exact: set[tuple[int, int]] = set()
        self._seconds, self._check_seconds = 0.0, 0.0

    def detect(self, positions: np.ndarray) -> list[InstanceData]:
        if self._focus is None and not self._unfocused_because:
            self._search_focus()
        if self._focus is None or not len(positions):
            return super().detect(positions)
        begin = now()
        try:
            detections = self._in_batches(self._detect_focused, positions)
        except NotFollowed as reason:
            self._focus, self._unfocused_because = None, str(reason)
            return super().detect(positions)
        focused = now()
        chosen = self._to_check(positions)
        full = FullEngine(self.model, self.scene, self.pixels, _BATCH).detect(positions[chosen])
        found = [detections[index] for index in chosen]
        wanted, given = (
            self._scores(each, positions[chosen], self.iou_thr) for each in (full, found)
        )
        differences = np.abs(given - wanted)
        self._seconds += focused - begin
        self._check_seconds += now() - focused
        self._checks.update(zip(map(tuple, positions[chosen].tolist()), differences.tolist()))
        if differences.max() > self.tolerance:
            self._left_to_exact.update(map(tuple, positions.tolist()))
            return super().detect(positions)
        return detections

    def _to_check(self, positions: np.ndarray) -> np.ndarray:
        """Indices of the positions of a chunk to check; always the same for the same chunk."""
        count = int(self.checking * self._relative_cost * len(positions))
        rng = np.random.default_rng(positions.ravel())
        return rng.choice(len(positions), min(max(count, 1), len(positions)), replace=False)

    def notes(self) -> dict[str, Any]:
        """The notes of the incremental engine, and more.

        If the incremental engine ran all positions, ``unfocused_because`` is the reason. If not:

        - ``focus``: each ``level`` that was computed, its ``stride`` (vertical, horizontal) in pixels
          and its ``reach`` around the object, see :meth:`PriorGrid.cells`;
        - ``tolerance``: the largest difference in score that a check may find;
        - ``checks``: number of positions checked against a full forward pass;
        - ``seconds``, ``check_seconds``: time of the focused passes, and of the checks;
        - ``largest_difference``: largest difference in score at the checks;
        - ``checks_off``: number of checks that found a difference above the tolerance;
        - ``off_at_most``: upper limit of the share of positions with such a difference, see
          :func:`mindpad_mm.scan.bound.off_at_most`;
        - ``left_to_exact``: number of positions that the incremental engine ran because the check of
          their chunk found a difference above the tolerance.
        """
        notes = super().notes()
        if self._focus is None:
            return {**notes, 'unfocused_because': self._unfocused_because}
        off = sum(difference > self.tolerance for difference in self._checks.values())
        return {
            **notes,
            'focus': self._focus.notes(),
            'tolerance': self.tolerance,
            'checks': len(self._checks),
            'seconds': round(self._seconds, 3),
            'check_seconds': round(self._check_seconds, 3),
            'largest_difference': max(self._checks.values(), default=0.0),
            'checks_off': off,
            'off_at_most': round(off_at_most(off, len(self._checks)), 6),
            'left_to_exact': len(self._left_to_exact),
        }

    def _scores(
        self, detections: list[InstanceData], positions: np.ndarray, iou_thr: float
    ) -> np.ndarray:
        boxes = position_boxes(positions, self.pixels.shape[:2])
        return match_each(detections, self.label, boxes, iou_thr).scores

    def _detect_focused(self, corners: np.ndarray) -> list[InstanceData]:
        """Final detections of one batch, from the priors in the focus."""
        with torch.inference_mode():
            patches = self._patches(corners)
            samples = self._data_samples(len(corners))
            return self._detector.detect_focused(patches, corners, samples, self._floor_at(corners))

    def _search_focus(self) -> None:
        """Set the focus and its cost, or the reason why there is none."""
        if self._full is not None:
            self._unfocused_because = self._reason
            return
        positions = self._places()
        batches = [positions[k : k + _BATCH] for k in range(0, len(positions), _BATCH)]

        def scores(found: list[InstanceData], corners: np.ndarray) -> np.ndarray:
            thresholds = [self.iou_thr * k for k in _IOU_MULTIPLES]
            return np.stack([self._scores(found, corners, each) for each in thresholds])

        detector = self._detector
        try:
            # A detector of an unsupported kind is refused before any patch is made.
            patches = ((self._patches(batch), batch) for batch in batches)
            samples = self._data_samples(_BATCH)
            allowed = _SEARCH_TOLERANCE * self.tolerance
            focus = detector.find_focus(patches, samples, scores, allowed)
            if focus is None:
                self._unfocused_because = 'priors far from the object change the score'
                return
            with torch.inference_mode():
                first = self._patches(batches[0])
            samples = samples[: len(batches[0])]
            self._relative_cost = detector.relative_cost(first, batches[0], samples)
            self._focus = focus
        except (NotFocusable, NotFollowed) as reason:
            self._unfocused_because = str(reason)

    def _places(self) -> np.ndarray:
        """(N, 2) random positions to search the focus at, and the corners of the map."""
        photo = self.scene.photo
        last = np.subtract(photo.lengths, self.pixels.shape[:2])
        rng = np.random.default_rng([*self.scene.size, *self.pixels.shape[:2]])
        corners = [(0, 0), (0, last[1]), (last[0], 0), last]
        spread = rng.integers(0, last + 1, (self.places - len(corners), 2))
        return np.concatenate([corners, spread]) + photo.starts
