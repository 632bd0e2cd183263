"""mmcv-lite has no compiled operators, and mmdet cannot be imported without."""

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

    ``nms`` and average ``roi_align`` go through torchvision; any other op is a callable that raises
    one clear line. Steps aside where a real ``mmcv._ext`` exists.

    Upstream: open-mmlab/mmdetection#11763, open-mmlab/mmcv#3096, open-mmlab/mmcv#3310.
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
                'they were built for another; pip install "setuptools<81" (mmcv is built with '
                'pkg_resources), then pip install --force-reinstall --no-deps --no-cache-dir '
                '--no-build-isolation mmcv==2.1.0'
            ) from error
        return False
    sys.modules['mmcv._ext'] = _ext_stand_in()
    return True


def ops_are_compiled() -> bool:
    """Whether a real ``mmcv._ext`` is in use, not our stand-in."""
    return hasattr(sys.modules['mmcv._ext'], '__file__')


def nms_is_stable() -> bool:
    """Whether mmcv's ``nms`` takes the earlier one of equal scores: :func:`nms` does, the compiled one
    leaves that to torch's sort."""
    return not ops_are_compiled()


def nms(
    boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float, offset: int
) -> torch.Tensor:
    """What ``mmcv._ext.nms`` computes.

    Args:
        boxes: (N, 4) corners x1, y1, x2, y2.
        scores: (N,).
        iou_threshold: a box is dropped if its IoU with a better kept box is above this.
        offset: 0, or 1 for boxes whose last pixel belongs to them (width = x2 - x1 + 1).

    Returns:
        (K,) int64 indices of the kept boxes, best score first; of equal scores the earlier box
        (mmcv's own choice among those is not defined).
    """
    from torchvision.ops import nms as torchvision_nms

    if offset:
        # x2 + 1 gives widths, overlaps and so IoUs of the inclusive convention.
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    dtype = torch.promote_types(boxes.dtype, scores.dtype)
    # mmcv compares with the threshold as a float32, torchvision as a double: an IoU of exactly 0.3f
    # is above 0.3 but not above 0.3f.
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
    """What ``mmcv._ext.roi_align_forward`` computes, for average pooling (``pool_mode=1``).

    Args:
        input: (N, C, H, W) features.
        rois: (K, 5) image index, x1, y1, x2, y2.
        output: (K, C, aligned_height, aligned_width), written in place.
        argmax_y: unused, it belongs to maximum pooling.
        argmax_x: unused.
        aligned_height: bins down.
        aligned_width: bins across.
        spatial_scale: feature pixels per unit of the rois.
        sampling_ratio: samples per bin side; 0 takes as many as the bin is large.
        pool_mode: 1 is average, 0 is maximum.
        aligned: shift by half a pixel, so that pixel centres are where they belong.

    Raises:
        UserError: maximum pooling is asked for.
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
    """What ``mmcv._ext.roi_align_backward`` computes, for average pooling (``pool_mode=1``).

    Args:
        grad_output: (K, C, aligned_height, aligned_width).
        rois: (K, 5) as in :func:`roi_align_forward`, like the arguments not named here.
        argmax_y: unused.
        argmax_x: unused.
        grad_input: (N, C, H, W), written in place.
        aligned_height: bins down.
        aligned_width: bins across.
        spatial_scale: feature pixels per unit of the rois.
        sampling_ratio: samples per bin side; 0 takes as many as the bin is large.
        pool_mode: 1 is average, 0 is maximum.
        aligned: shift by half a pixel.

    Raises:
        UserError: maximum pooling is asked for.
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
    # Mixed precision hands over half floats, which torchvision has no CPU kernel for.
    return torch.promote_types(dtype, torch.float32)


def _require_average(pool_mode: int) -> None:
    if pool_mode != 1:
        raise UserError(
            f"mmcv-lite: roi_align with pool_mode='max' needs a compiled op: use pool_mode='avg' "
            f'or {_INSTALL_FULL_MMCV}'
        )


def _missing_op(name: str) -> Callable[..., Any]:
    def op(*args: Any, **kwargs: Any) -> Any:
        raise UserError(f'mmcv-lite has no compiled op {name!r}: {_INSTALL_FULL_MMCV}')

    op.__name__ = name
    return op


def _ext_stand_in() -> types.ModuleType:
    module = types.ModuleType('mmcv._ext', 'Stand-in by mindpad_mm for the compiled ops of mmcv.')
    # find_spec() refuses a module without a spec; with one, a second look finds this module.
    module.__spec__ = importlib.util.spec_from_loader('mmcv._ext', loader=None)
    module.nms = nms
    module.roi_align_forward = roi_align_forward
    module.roi_align_backward = roi_align_backward
    # mmdet's and mmcv's environment reports ask for these.
    module.get_compiler_version = lambda: 'n/a'
    module.get_compiling_cuda_version = lambda: 'n/a'

    def __getattr__(name: str) -> Callable[..., Any]:
        if name.startswith('__'):
            raise AttributeError(name)
        return _missing_op(name)

    module.__getattr__ = __getattr__
    return module
