"""mmcv-lite has no compiled operators, and mmdet cannot be imported without them."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from mindpad_mm.core.errors import UserError

_INSTALL_FULL_MMCV = (
    'install the full mmcv (pip uninstall mmcv-lite, then pip install mmcv==2.1.0; '
    'it has to be compiled for your torch)'
)


def mmcv_ops() -> bool:
    """Let ``import mmdet`` work on mmcv-lite, which lacks the compiled module ``mmcv._ext``.

    ``nms`` and average ``roi_align`` use torchvision. All other operators raise a :class:`UserError`
    when called. Not applied if a real ``mmcv._ext`` exists.

    Upstream: open-mmlab/mmdetection#11763, open-mmlab/mmcv#3096, open-mmlab/mmcv#3310.

    Raises:
        UserError: mmcv is not installed, or its compiled operators do not load.
    """
    try:
        compiled = importlib.util.find_spec('mmcv._ext') is not None
    except ModuleNotFoundError as error:
        if error.name != 'mmcv':
            raise
        raise UserError(
            'mmcv is not installed: run `pip install mindpad-mm[lite]` (any torch, no compiler) or '
            '`pip install mindpad-mm[full]` (every op, compiled for your torch)'
        ) from None
    if compiled:
        try:
            importlib.import_module('mmcv._ext')
        except ImportError as error:
            raise UserError(
                f'the compiled ops of mmcv do not load with torch {torch.__version__} ({error}): '
                'they were built for another torch; pip install "setuptools<81" (mmcv is built with '
                'pkg_resources), then pip install --force-reinstall --no-deps --no-cache-dir '
                '--no-build-isolation mmcv==2.1.0'
            ) from error
        return False
    sys.modules['mmcv._ext'] = _replacement_of_ext()
    return True


def ops_are_compiled() -> bool:
    """Whether a real ``mmcv._ext`` is in use, not the replacement from this file."""
    return hasattr(sys.modules['mmcv._ext'], '__file__')


def nms_is_stable() -> bool:
    """Whether mmcv's ``nms`` prefers the earlier of two boxes with equal scores.

    :func:`nms` does; in the compiled operator, the order is up to torch's sort.
    """
    return not ops_are_compiled()


def nms(
    boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float, offset: int
) -> torch.Tensor:
    """Replaces ``mmcv._ext.nms``.

    Args:
        boxes: (N, 4) corners x1, y1, x2, y2.
        scores: (N,).
        iou_threshold: A box is dropped if its IoU with a kept box of a higher score is above this, 0..1.
        offset: 0, or 1 if x2 and y2 are the last pixels inside the box (width = x2 - x1 + 1).

    Returns:
        (K,) int64 indices of the kept boxes, best score first. Among equal scores, the earlier box is
        first; for mmcv's own operator that order is undefined.
    """
    from torchvision.ops import nms as torchvision_nms

    if offset:
        # With x2 + 1 and y2 + 1, widths, heights and IoUs are those of inclusive pixels.
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    dtype = torch.promote_types(boxes.dtype, scores.dtype)
    # mmcv compares in float32 and torchvision in float64: the float32 nearest to 0.3 is above 0.3.
    threshold = float(np.float32(iou_threshold))
    return torchvision_nms(boxes.to(dtype), scores.to(dtype), threshold)


def roi_align_forward(
    input: torch.Tensor,
    rois: torch.Tensor,
    output: torch.Tensor,
    argmax_y: torch.Tensor,
    argmax_x: torch.Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Replaces ``mmcv._ext.roi_align_forward`` for average pooling.

    Args:
        input: (N, C, H, W) features.
        rois: (K, 5) image index, x1, y1, x2, y2 in input pixels.
        output: (K, C, aligned_height, aligned_width), written in place.
        argmax_y: Unused; for maximum pooling.
        argmax_x: Unused.
        aligned_height: Bins, vertically.
        aligned_width: Bins, horizontally.
        spatial_scale: Feature cells per input pixel.
        sampling_ratio: Samples per bin along each axis; 0 means one per feature cell.
        pool_mode: 1 for average, 0 for maximum.
        aligned: Whether to shift by half a cell, so that integer coordinates are cell edges.

    Raises:
        UserError: ``pool_mode`` is 0.
    """
    from torchvision.ops import roi_align

    _require_average(pool_mode)
    compute = _at_least_float32(input.dtype)
    pooled = roi_align(
        input.to(compute),
        rois.to(compute),
        (aligned_height, aligned_width),
        spatial_scale,
        sampling_ratio,
        bool(aligned),
    )
    output.copy_(pooled)


def roi_align_backward(
    grad_output: torch.Tensor,
    rois: torch.Tensor,
    argmax_y: torch.Tensor,
    argmax_x: torch.Tensor,
    grad_input: torch.Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Replaces ``mmcv._ext.roi_align_backward`` for average pooling.

    Args:
        grad_output: (K, C, aligned_height, aligned_width).
        rois: (K, 5), as in :func:`roi_align_forward`.
        argmax_y: Unused.
        argmax_x: Unused.
        grad_input: (N, C, H, W), written in place.
        aligned_height: Bins, vertically.
        aligned_width: Bins, horizontally.
        spatial_scale: Feature cells per input pixel.
        sampling_ratio: Samples per bin along each axis; 0 means one per feature cell.
        pool_mode: 1 for average, 0 for maximum.
        aligned: As in :func:`roi_align_forward`.

    Raises:
        UserError: ``pool_mode`` is 0.
    """
    import torchvision  # noqa: F401  (its import registers the operator)

    _require_average(pool_mode)
    compute = _at_least_float32(grad_output.dtype)
    gradient = torch.ops.torchvision._roi_align_backward(
        grad_output.to(compute),
        rois.to(compute),
        spatial_scale,
        aligned_height,
        aligned_width,
        *grad_input.shape,
        sampling_ratio,
        bool(aligned),
    )
    grad_input.copy_(gradient)


def _at_least_float32(dtype: torch.dtype) -> torch.dtype:
    # In mixed precision the tensors are float16, for which torchvision has no CPU kernel.
    return torch.promote_types(dtype, torch.float32)


def _require_average(pool_mode: int) -> None:
    if pool_mode != 1:
        raise UserError(
            f"mmcv-lite has no roi_align with pool_mode='max': use pool_mode='avg' "
            f'or {_INSTALL_FULL_MMCV}'
        )


def _missing_op(name: str) -> Callable[..., Any]:
    def op(*args: Any, **kwargs: Any) -> Any:
        raise UserError(f'mmcv-lite has no compiled op {name!r}: {_INSTALL_FULL_MMCV}')

    op.__name__ = name
    return op


def _replacement_of_ext() -> types.ModuleType:
    module = types.ModuleType('mmcv._ext', 'Replaces the compiled ops of mmcv; by mindpad_mm.')
    # find_spec() raises for a module without a spec.
    module.__spec__ = importlib.util.spec_from_loader('mmcv._ext', loader=None)
    module.nms = nms
    module.roi_align_forward = roi_align_forward
    module.roi_align_backward = roi_align_backward
    # The environment reports of mmdet and mmcv call these.
    module.get_compiler_version = lambda: 'n/a'
    module.get_compiling_cuda_version = lambda: 'n/a'

    def __getattr__(name: str) -> Callable[..., Any]:
        if name.startswith('__'):
            raise AttributeError(name)
        return _missing_op(name)

    module.__getattr__ = __getattr__
    return module
