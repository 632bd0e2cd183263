"""Workarounds for upstream faults, one file each.

:func:`apply` runs each once, before anything imports ``mmdet``. A workaround is a function that returns
True if it was applied, and False if the fault is not there.
"""

from __future__ import annotations

from collections.abc import Callable

from .checkpoints import checkpoint_loading
from .coco_metric import coco_metric_images
from .conv_module import conv_module_circular
from .custom_imports import custom_imports
from .heatmaps import heatmap_memory_format
from .init_dist import init_dist_without_gpus
from .memory_format import compiled_ops_memory_format
from .mmcv_ops import mmcv_ops
from .pkg_resources import pkg_resources
from .ssd_head import ssd_head_loss_cls

# In this order, because mmdet cannot be imported before mmcv has its operators.
_WORKAROUNDS: tuple[Callable[[], bool], ...] = (
    mmcv_ops,
    compiled_ops_memory_format,
    pkg_resources,
    checkpoint_loading,
    custom_imports,
    init_dist_without_gpus,
    ssd_head_loss_cls,
    heatmap_memory_format,
    coco_metric_images,
    conv_module_circular,
)
_APPLIED: dict[str, bool] = {}


def apply() -> None:
    """Run all workarounds. A second call does nothing.

    Raises:
        UserError: mmcv is not installed.
    """
    for workaround in _WORKAROUNDS:
        if workaround.__name__ not in _APPLIED:
            _APPLIED[workaround.__name__] = workaround()


def status() -> dict[str, bool]:
    """For each workaround that was run, by name, whether it was applied (True) or not needed (False)."""
    return dict(_APPLIED)
