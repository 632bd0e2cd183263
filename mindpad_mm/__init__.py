"""Padding modes for MMDetection, and maps of where a detector goes blind.

Where MMEngine is installed, importing this package is all the set-up there is: it makes MMDetection
work on the installed stack (:mod:`mindpad_mm.compat`) and lets every config say ``padding_cfg``
(:mod:`mindpad_mm.padding.mmdet`). Without it, :mod:`mindpad_mm.padding` works with torch alone.
"""

import importlib.util
from typing import Any

from mindpad_mm.padding import PADDING_MODES, SwapReport, swap_padding
from mindpad_mm.version import __version__

__all__ = ['PADDING_MODES', 'SwapReport', '__version__', 'swap_padding']
_NEEDS_MMDET = (
    'BorderSettings',
    'CallableDetector',
    'DiagnoseHook',
    'ScanSettings',
    'SpatialCocoMetric',
    'blindspot_scan',
    'border_loss',
)

if importlib.util.find_spec('mmengine') is not None:
    from mindpad_mm import compat

    compat.apply()  # before anything imports mmdet

    from mindpad_mm.padding import mmdet

    mmdet.install()

    from mmengine.config.utils import MODULE2PACKAGE

    # MMEngine knows a fixed list of packages; this makes `_base_ = 'mindpad_mm::...'` work.
    MODULE2PACKAGE.setdefault('mindpad_mm', 'mindpad_mm')

    # The hook and the metric register themselves.
    from mindpad_mm.border import BorderSettings, border_loss
    from mindpad_mm.core.callable_detector import CallableDetector
    from mindpad_mm.diagnose.hook import DiagnoseHook
    from mindpad_mm.evaluation import SpatialCocoMetric
    from mindpad_mm.scan import ScanSettings, blindspot_scan

    __all__ += [
        'BorderSettings',
        'CallableDetector',
        'DiagnoseHook',
        'ScanSettings',
        'SpatialCocoMetric',
        'blindspot_scan',
        'border_loss',
    ]


def __getattr__(name: str) -> Any:
    if name in _NEEDS_MMDET:
        # Not AttributeError, whose text `from mindpad_mm import ...` drops.
        raise ImportError(f'mindpad_mm.{name} needs MMDetection: pip install "mindpad-mm[lite]"')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
