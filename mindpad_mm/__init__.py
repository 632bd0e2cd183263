"""Padding modes for MMDetection, and maps of where a detector goes blind.

Importing this package is all the set-up there is: it makes MMDetection work on the installed stack
(:mod:`mindpad_mm.compat`) and lets every config say ``padding_cfg`` (:mod:`mindpad_mm.padding.hook`).
"""

from mindpad_mm import compat
from mindpad_mm.version import __version__

compat.apply()

from mindpad_mm.padding import PADDING_MODES, SwapReport, hook, mmcv_layers, swap_padding  # noqa: E402, F401

hook.install()

# These register themselves.
from mindpad_mm.diagnose.hook import DiagnoseHook  # noqa: E402
from mindpad_mm.evaluation import SpatialCocoMetric  # noqa: E402

__all__ = [
    'PADDING_MODES',
    'DiagnoseHook',
    'SpatialCocoMetric',
    'SwapReport',
    '__version__',
    'swap_padding',
]
