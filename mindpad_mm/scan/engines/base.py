"""The base class of engines, and their registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from mmengine.registry import Registry
from mmengine.structures import InstanceData
from torch import nn

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.scenes import Scene, paste

ENGINES = Registry('scan engine')


class Engine(ABC):
    """Runs a detector with an object at many positions of a scene.

    Subclasses are registered with ``@ENGINES.register_module(name='...')``.

    Args:
        model: The detector in evaluation mode. An engine may change its memory format.
        scene: The scene to paste into.
        pixels: (h, w, 4) uint8 BGRA, the object as pasted.
        batch_size: Positions per forward pass. Default: 8.
        label: Index of the object's class.
        iou_thr: Smallest IoU of a match with the pasted box, in 0..1.
        tolerance: Largest difference in score that an approximate engine may have at its checks.
            Exact engines ignore it.

    Attributes:
        score_floor: Detections of at least this score must be the detector's own, even those below the
            best match. Default: 1, which leaves that to the best match.
        name: Name of the engine in the registry.
        spaces: Spaces that the engine supports.
        chunk_size: Positions per call of :meth:`detect` in a scan. A killed scan loses at most one
            such chunk per process.
        complete: Whether :meth:`detect` gives all detections, also those far from the object.
        exact: Whether scores equal those of the full engine within float rounding. ``engine='auto'``
            chooses among these.
    """

    name: ClassVar[str]
    spaces: ClassVar[tuple[str, ...]] = ('input',)
    chunk_size: ClassVar[int] = 64
    complete: ClassVar[bool] = True
    exact: ClassVar[bool] = False

    def __init__(
        self,
        model: nn.Module,
        scene: Scene,
        pixels: np.ndarray,
        batch_size: int = 8,
        label: int = 0,
        iou_thr: float = 0.5,
        tolerance: float = 1e-3,
    ) -> None:
        self.model = model
        self.scene = scene
        self.pixels = pixels
        self.batch_size = batch_size
        self.label = label
        self.iou_thr = iou_thr
        self.tolerance = tolerance
        self.score_floor = 1.0
        self.checking = 0.08

    @abstractmethod
    def detect(self, positions: np.ndarray) -> list[InstanceData]:
        """Final detections with the object at each position.

        The result for a position may depend on ``positions`` (which of them share a batch), but not on
        earlier calls.

        Args:
            positions: (N, 2) int (row, col) of the object's top-left pixel. N may be any number.

        Returns:
            For each position the detections after the detector's own post-processing: ``bboxes``
            (M, 4) ``x1, y1, x2, y2`` in pixels of the scene, ``scores`` (M,) in 0..1 and ``labels``
            (M,). Detections that score lower than the best match or ``score_floor`` may differ from the
            detector's or be missing, because they cannot change the score.
        """

    def image(self, row: int, col: int) -> np.ndarray:
        """The scene with the object pasted at (row, col)."""
        return paste(self.scene.pixels, self.pixels, row, col)

    def notes(self) -> dict[str, Any]:
        """Notes on the run for ``scan.json``, as JSON types."""
        return {}


def find_engine(name: str, space: str = 'input') -> type[Engine]:
    """Find the class of an engine.

    Args:
        name: Name of the engine. ``'auto'``: the first of :func:`exact_engines`.
        space: Space to paste in, ``'input'`` (default) or ``'image'``.

    Raises:
        UserError: There is no such engine, or it does not support the space.
    """
    engines = ENGINES.module_dict
    if name == 'auto':
        name = exact_engines(space)[0]
    engine = engines.get(name)
    if engine is None:
        choices = ', '.join(['auto', *sorted(engines)])
        raise UserError(f'`engine`: there is no {name!r}; choose one of: {choices}')
    if space not in engine.spaces:
        raise UserError(
            f'`engine={name!r}` only supports space {" or ".join(engine.spaces)}, not {space!r}: use '
            f"`engine='full'`"
        )
    return engine


def exact_engines(space: str) -> list[str]:
    """Names of the exact engines that support a space; first the one that is usually the fastest."""
    names = [n for n, kind in ENGINES.module_dict.items() if kind.exact and space in kind.spaces]
    return sorted(names, key=lambda name: name != 'incremental')
