"""The settings of a diagnosis, for Python and the command line alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.settings import option
from mindpad_mm.diagnose.checks.registry import CHECKS, CheckSettings
from mindpad_mm.padding.modes import get_modes


@dataclass(frozen=True)
class DiagnoseSettings(CheckSettings):
    """What :func:`mindpad_mm.diagnose.diagnose` runs.

    Attributes:
        checks: Keys of :data:`mindpad_mm.diagnose.CHECKS`; None runs all.
        max_photos: Maximum number of photos that the command line reads. ``diagnose`` uses all arrays
            it is given.

    Raises:
        UserError: An unknown check or padding mode, a number out of range, or settings that
            contradict each other.
    """

    checks: Sequence[str] | None = option(
        None, f'checks to run (all): {", ".join(CHECKS)}', metavar='CHECK'
    )
    max_photos: int = option(8, 'use the first N photos', metavar='N')

    def __post_init__(self) -> None:
        unknown = [key for key in self.checks or () if key not in CHECKS]
        if unknown:
            raise UserError(f'`checks`: no check {unknown[0]!r}; choose from {", ".join(CHECKS)}')
        for mode in self.modes or ():
            get_modes(mode)
        if self.max_photos < 1:
            raise UserError(f'`max_photos` {self.max_photos}: it must be at least 1')
        if self.chooses_object and self.checks and 'shift' not in self.checks:
            raise UserError(
                '`label`, `from_coco` and `ann_id` are for the check shift: add it to `checks`'
            )
        if (self.from_coco is None) != (self.ann_id is None):
            raise UserError('an annotated object needs both `from_coco` and `ann_id`')

    @property
    def chooses_object(self) -> bool:
        """Whether an object for the shift check is named."""
        return any(value is not None for value in (self.label, self.from_coco, self.ann_id))

    @property
    def required(self) -> list[str]:
        """Keys of the checks that were requested by name or by naming an object."""
        return [*(self.checks or ()), *(['shift'] if self.chooses_object else [])]
