"""Padding modes, the layers that run in them, and the surgery that swaps them in."""

from mindpad_mm.padding.functional import pad2d
from mindpad_mm.padding.modes import NOTHING, PADDING_MODES, PaddingMode, get_modes
from mindpad_mm.padding.swap import PaddingCfg, SwapReport, swap_padding

__all__ = [
    'NOTHING',
    'PADDING_MODES',
    'PaddingCfg',
    'PaddingMode',
    'SwapReport',
    'get_modes',
    'pad2d',
    'swap_padding',
]
