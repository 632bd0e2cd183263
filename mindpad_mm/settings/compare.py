"""Settings of a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.names import ModeSpec, parse_modes
from mindpad_mm.core.settings import option

BORDER_PX = (8, 16, 32, 64, 128)
"""Default bin edges of the distance to the border, pixels of the original image."""


@dataclass(frozen=True)
class CompareSettings:
    """Settings of :func:`mindpad_mm.evaluation.compare.compare`.

    Attributes:
        cfg_options: Overrides of every config. A run's own take precedence. Default: none.
        device: Torch device. Default: ``'cpu'``.
        modes: Padding modes with which every run is evaluated as well, without training. ``'all'``: all
            registered ones. Default: none.
        recalibrate: Numbers of training images to estimate batch-norm statistics on after the swap, one
            run for each. 0 (default) keeps the checkpoint's statistics.
        draws: Number of bootstrap draws. Below 40, there are no intervals. Default: 1000.
        seed: Seed of the draws. Default: 0.
        border_px: Bin edges of the distance to the border, pixels of the original image. Default:
            (8, 16, 32, 64, 128).

    Raises:
        UserError: A value is not valid.
    """

    # None is replaced by an empty dict in __post_init__.
    cfg_options: dict[str, Any] = option(None, 'overrides of every config', flag=None)
    device: str = option('cpu', 'torch device, e.g. cuda:0', metavar='DEVICE')
    modes: tuple[ModeSpec, ...] | Literal['all'] = option(
        (),
        "also evaluate every run with these padding modes: 'all', names, or pairs such as "
        'reflect/circular (vertical/horizontal)',
        nargs='+',
        metavar='MODE',
        type=parse_modes,
    )
    recalibrate: tuple[int, ...] = option(
        (0,),
        'after the swap, estimate batch-norm statistics on N training images, one run for each number; '
        '0 keeps those of the checkpoint',
        metavar='N',
    )
    draws: int = option(1000, 'bootstrap draws; below 40 there are no intervals', metavar='N')
    seed: int = option(0, 'seed of the draws', metavar='N')
    border_px: tuple[float, ...] = option(
        BORDER_PX, 'bin edges of the distance to the border, pixels', metavar='PX'
    )

    def __post_init__(self) -> None:
        modes = [self.modes] if isinstance(self.modes, str) else list(self.modes)
        # Not dict.fromkeys: a mode may be a dict, which is not hashable.
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
            raise UserError('`recalibrate` needs swapped padding: give `modes` as well')

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
