"""What a scan asks of an engine, and the registry that engines are found in."""

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
    """Runs one detector on one object at many positions in one scene.

    Subclasses register themselves: ``@ENGINES.register_module(name='...')``.

    Args:
        model: The detector in evaluation mode. An engine may change its memory format.
        scene: What is pasted into.
        pixels: (h, w, 4) uint8 BGRA, the object as it is pasted.
        batch_size: Positions that go through the network at once.
        label: Index of the asked class.
        iou_thr: In 0..1, a detection counts where its IoU with the pasted box is at least this.
        tolerance: The largest difference in score that an approximate engine may show at its
            checks; an exact engine has no need of it.

    Attributes:
        name: The engine's name in the registry.
        spaces: The spaces it can paste in.
        chunk_size: Positions the scan asks for at a time: what a killed scan can lose.
    """

    name: ClassVar[str]
    spaces: ClassVar[tuple[str, ...]] = ('input',)
    chunk_size: ClassVar[int] = 64

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

    @abstractmethod
    def detect(self, positions: np.ndarray) -> list[InstanceData]:
        """Final detections with the object at each position.

        Args:
            positions: (N, 2) int (row, col) of the object's top-left pixel; N is free.

        Returns:
            N detections: ``bboxes`` (M, 4) ``x1, y1, x2, y2`` in scene pixels, ``scores`` (M,)
            in 0..1 and ``labels`` (M,), after the detector's own post-processing. Only those of no
            lower score than the best of the asked class that counts are of consequence: below it,
            which of equal scores comes first may be settled otherwise than by the detector. Which of
            the positions share a batch may depend on nothing but ``positions``.
        """

    def image(self, row: int, col: int) -> np.ndarray:
        """The scene with the object pasted at (row, col)."""
        return paste(self.scene.pixels, self.pixels, row, col)

    def notes(self) -> dict[str, Any]:
        """What a reader of ``scan.json`` should know of the run; JSON types only."""
        return {}


def find_engine(name: str, space: str = 'input') -> type[Engine]:
    """The engine class of a name; ``auto`` is the fastest exact one for the space.

    Raises:
        UserError: There is no such engine, or it cannot paste in this space.
    """
    engines = ENGINES.module_dict
    if name == 'auto':
        exact = [n for n in ('incremental', 'full') if n in engines]
        name = next(n for n in exact if space in engines[n].spaces)
    engine = engines.get(name)
    if engine is None:
        choices = ', '.join(['auto', *sorted(engines)])
        raise UserError(f'there is no engine {name!r}; choose one of: {choices}')
    if space not in engine.spaces:
        raise UserError(
            f'engine {name!r} pastes in space {" or ".join(engine.spaces)} only, not {space!r}: '
            f'set `engine` to full'
        )
    return engine
