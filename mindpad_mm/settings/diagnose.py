"""The settings of a diagnosis, for Python and the command line alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.names import ModeSpec, PathLike, parse_modes
from mindpad_mm.core.settings import option


@dataclass(frozen=True)
class DiagnoseSettings:
    """What :func:`mindpad_mm.diagnose.diagnose` runs.

    Attributes:
        checks: Keys of :data:`mindpad_mm.diagnose.CHECKS`; None runs all.
        max_photos: Maximum number of photos that the command line reads. ``diagnose`` uses all arrays
            it is given.
        modes: Padding modes to compare; None leaves the choice to each check.
        label: The class that the shift check follows.
        from_coco, ann_id, photo_root: The annotated object that it follows, see
            :func:`mindpad_mm.diagnose.check_shift`.
        seed: Seed of drawn streets, the drawn object and random images.

    Raises:
        UserError: A number is out of range, or settings contradict each other.
    """

    checks: Sequence[str] | None = option(
        None,
        'checks to run (all): evenness, artifacts, foveation, filters, shift, padding_error',
        metavar='CHECK',
    )
    max_photos: int = option(8, 'use the first N photos', metavar='N')
    modes: Sequence[ModeSpec] | None = option(
        None,
        'padding modes to compare (all; artifacts: one), or pairs such as reflect/circular, vertical '
        'first',
        type=parse_modes,
        nargs='+',
        metavar='MODE',
    )
    label: str | None = option(
        None,
        "class of the object that the shift check follows ('traffic light' if there is one, else the "
        "only class; a classifier's: a number)",
    )
    from_coco: PathLike | None = option(
        None,
        'COCO file: the shift check follows an annotated object in its own photo (a drawn light)',
        metavar='JSON',
    )
    ann_id: int | None = option(None, 'annotation id of that object', metavar='ID')
    photo_root: PathLike | None = option(
        None, 'folder of the photos of the COCO file', metavar='DIR'
    )
    seed: int = option(0, 'seed of drawn streets, drawn object and random images')

    def __post_init__(self) -> None:
        if self.max_photos < 1:
            raise UserError(f'`max_photos` {self.max_photos}: it must be at least 1')
        if self.seed < 0:
            raise UserError(f'`seed` {self.seed}: it must be at least 0')
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
