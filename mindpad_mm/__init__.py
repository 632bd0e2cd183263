"""Padding modes for MMDetection, and maps of where a detector goes blind.

Where MMEngine is installed, importing this package is all the set-up there is: it makes MMDetection
work on the installed stack (:mod:`mindpad_mm.compat`) and lets every config say ``padding_cfg``
(:mod:`mindpad_mm.padding.mmdet`). Without it, :mod:`mindpad_mm.padding` works with torch alone.
"""

import functools
import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from mindpad_mm.version import __version__

if TYPE_CHECKING:
    from mindpad_mm.border import border_loss
    from mindpad_mm.core.callable_detector import CallableDetector
    from mindpad_mm.diagnose.hook import DiagnoseHook
    from mindpad_mm.evaluation import SpatialCocoMetric
    from mindpad_mm.padding import PADDING_MODES, SwapReport, swap_padding
    from mindpad_mm.scan import blindspot_scan
    from mindpad_mm.settings.border import BorderSettings
    from mindpad_mm.settings.scan import ScanSettings

__all__ = [
    'PADDING_MODES',
    'BorderSettings',
    'CallableDetector',
    'DiagnoseHook',
    'ScanSettings',
    'SpatialCocoMetric',
    'SwapReport',
    '__version__',
    'blindspot_scan',
    'border_loss',
    'swap_padding',
]
# Loaded on first use: a training should not import what draws pages.
_WITH_TORCH = dict.fromkeys(('PADDING_MODES', 'SwapReport', 'swap_padding'), 'padding')
_WITH_MMDET = {
    'BorderSettings': 'settings.border',
    'CallableDetector': 'core.callable_detector',
    'DiagnoseHook': 'diagnose.hook',
    'ScanSettings': 'settings.scan',
    'SpatialCocoMetric': 'evaluation',
    'blindspot_scan': 'scan',
    'border_loss': 'border',
}
_HAS_MMENGINE = importlib.util.find_spec('mmengine') is not None
if not _HAS_MMENGINE:
    __all__ = [name for name in __all__ if name not in _WITH_MMDET]


@functools.cache
def load() -> None:
    """Set up MMDetection, if it is installed; done once, by the import of this package.

    Only ``mindpad.py`` puts it off: commands read their arguments before torch is imported.
    """
    if not _HAS_MMENGINE:
        return
    from mindpad_mm import compat

    compat.apply()  # before anything imports mmdet

    from mindpad_mm.padding import mmdet

    mmdet.install()

    from mmengine.config.utils import MODULE2PACKAGE

    # MMEngine knows a fixed list of packages; this makes `_base_ = 'mindpad_mm::...'` work.
    MODULE2PACKAGE.setdefault('mindpad_mm', 'mindpad_mm')

    # The hook and the metric register themselves.
    importlib.import_module('mindpad_mm.diagnose.hook')
    importlib.import_module('mindpad_mm.evaluation')


def __getattr__(name: str) -> Any:
    if name not in _WITH_TORCH and name not in _WITH_MMDET:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    load()
    if name in _WITH_MMDET and not _HAS_MMENGINE:
        # Not AttributeError, whose text `from mindpad_mm import ...` drops.
        raise ImportError(f'mindpad_mm.{name} needs MMDetection: pip install "mindpad-mm[lite]"')
    home = (_WITH_TORCH | _WITH_MMDET)[name]
    return getattr(importlib.import_module(f'mindpad_mm.{home}'), name)


if not getattr(sys.modules.get('mindpad'), 'reading_arguments', False):
    load()
