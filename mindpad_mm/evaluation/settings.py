"""Settings of a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import CfgOptions
from mindpad_mm.core.settings import option
from mindpad_mm.evaluation.regions import BORDER_PX, BorderBins
from mindpad_mm.padding.modes import ModeSpec, get_modes, parse_modes


@dataclass(frozen=True)
class CompareSettings:
    """Options of :func:`mindpad_mm.evaluation.compare.compare`; see the help text of each field.

    Attributes:
        cfg_options: Overrides of every config. A run's own overrides take precedence.
        device: Torch device.
        modes: Padding modes that every run is also evaluated under, without training.
        recalibrate: Numbers of training images, one swapped run each; 0 keeps the checkpoint's
            batch-norm statistics.
        draws: Bootstrap draws over the images. Below 40 there are no intervals.
        seed: Seed of the draws.
        border_px: Bin edges of the distance to the border, pixels of the original image.

    Raises:
        UserError: A value is not possible.
    """

    # Always a dict once the settings are made.
    cfg_options: dict[str, Any] = option(
        None,
        'overrides of every config, key=value',
        nargs='+',
        metavar='KEY=VALUE',
        action=CfgOptions,
    )
    device: str = option('cpu', 'torch device, e.g. cuda:0', metavar='DEVICE')
    modes: tuple[ModeSpec, ...] | Literal['all'] = option(
        (),
        "also evaluate every run under these padding modes: 'all', names, or pairs such as "
        'reflect/circular (vertical/horizontal)',
        nargs='+',
        metavar='MODE',
        type=parse_modes,
    )
    recalibrate: tuple[int, ...] = option(
        (0,),
        'after the swap, estimate batch-norm statistics on N training images; 0 keeps those of the '
        'checkpoint, several numbers give one row each',
        metavar='N',
    )
    draws: int = option(1000, 'bootstrap draws; below 40 there are no intervals', metavar='N')
    seed: int = option(0, 'seed of the draws', metavar='N')
    border_px: tuple[float, ...] = option(
        BORDER_PX, 'bin edges of the distance to the border, pixels', metavar='PX'
    )

    def __post_init__(self) -> None:
        modes = [self.modes] if isinstance(self.modes, str) else list(self.modes)
        # A mode may be a dict, which cannot be hashed.
        modes = [mode for index, mode in enumerate(modes) if mode not in modes[:index]]
        self._set('modes', 'all' if modes == ['all'] else tuple(modes))
        self._set('recalibrate', tuple(dict.fromkeys(self.recalibrate)))
        self._set('border_px', tuple(self.border_px))
        self._set('cfg_options', dict(self.cfg_options or {}))
        if self.draws < 1:
            raise UserError(f'`draws` must be at least 1, not {self.draws}')
        if self.seed < 0:
            raise UserError(f'`seed` must be at least 0, not {self.seed}')
        if self.recalibrate != (0,) and not self.modes:
            raise UserError('`recalibrate` is for swapped padding: give `modes` as well')
        if self.modes != 'all':
            for mode in self.modes:
                get_modes(mode)
        BorderBins(self.border_px)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
