"""Tracing of convolution and pooling: functions whose windows slide over a map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mindpad_mm.core.torch_functions import named
from mindpad_mm.diagnose.tracing.cells import adaptive_reads, transposed_reads, window_reads
from mindpad_mm.diagnose.tracing.trace import (
    FULL,
    SAME,
    VALID,
    Field,
    Slide,
    TooSmall,
    Traced,
    handles,
    moved,
    run_plain,
)
from mindpad_mm.padding.convolution import Convolution
from mindpad_mm.padding.functional import padded_conv2d
from mindpad_mm.padding.kernels import (
    Pads,
    Pair,
    Windows,
    by_axis,
    get_pads,
    get_windows,
    pair,
    pool_extent,
)
from mindpad_mm.padding.modes import Modes, get_modes

_ZEROS = get_modes('zeros')


def slide(
    x: Traced, plain: Tensor, kind: str, modes: Modes, pads: Pads, windows: Windows
) -> Traced:
    """The output of a kernel sliding over ``x``; adds a :class:`Slide` to the trace."""
    kernel, stride, dilation = zip(*windows)
    field, trace = x.field, x.trace
    results = tuple(plain.shape[-2:])
    pooled = field.pooled and kernel == (1, 1)
    steps = tuple(a * b for a, b in zip(field.stride, stride))
    if trace.sizes_only:
        result = Field(results, stride=steps, pooled=pooled)
    else:
        reads = map(window_reads, modes, field.size, by_axis(pads), windows, results)
        result = moved(field, *reads, stride=steps, pooled=pooled)
    size, all_pads = field.size, pads
    if field.padded_from:
        size = field.padded_from[0].size
        all_pads = tuple(a + b for a, b in zip(pads, field.padded_from[1]))
    name = trace.name()
    trace.add(Slide(name, kind, size, results, all_pads, kernel, stride, dilation, result))
    return x.like(plain, result)


def _checked_pads(x: Traced, pads: Pads, windows: Windows, conv: bool = True) -> Pads:
    """The pads under the trace's scheme.

    Raises:
        TooSmall: The padded map is smaller than a window.
    """
    if x.trace.scheme == VALID:
        pads = 0, 0, 0, 0
    elif x.trace.scheme == FULL and conv:
        rows, cols = (window.kernel_extent - 1 for window in windows)
        pads = rows, rows, cols, cols
    for size, padded, window in zip(x.field.size, by_axis(pads), windows):
        if size + sum(padded) < window.kernel_extent:
            raise TooSmall(
                f'a map of {x.field.size[0]} x {x.field.size[1]} cells is too small for '
                f'{x.trace.name()}: take a larger `input_size`'
            )
    return pads


@handles(torch.conv2d, F.conv2d)
def conv2d(
    func: Callable, input: Any, weight: Tensor, bias: Tensor | None = None, stride: Pair = 1,
    padding: Pair | str = 0, dilation: Pair = 1, groups: int = 1,
) -> Any:  # fmt: skip
    """Convolution with zero padding."""
    convolution = Convolution(weight, pair(stride), pair(dilation), groups)
    pads = get_pads(padding, convolution.windows)
    return conv_by_modes(func, input, bias, convolution, _ZEROS, pads)


@handles(padded_conv2d)
def conv_by_modes(
    func: Callable, x: Traced, bias: Tensor | None, convolution: Convolution, modes: Modes,
    pads: Pads,
) -> Traced:  # fmt: skip
    """Convolution with padding modes."""
    windows = convolution.windows
    pads = _checked_pads(x, pads, windows)
    if x.trace.scheme != SAME:
        modes = _ZEROS
    results = (
        window.fits(size + sum(padded))
        for size, padded, window in zip(x.field.size, by_axis(pads), windows)
    )
    plain = x.plain().new_empty((*x.shape[:-3], len(convolution.weight), *results))
    return slide(x, plain, 'conv', modes, pads, windows)


@handles(torch.conv_transpose2d, F.conv_transpose2d)
def conv_transpose2d(
    func: Callable, input: Traced, weight: Tensor, bias: Tensor | None = None, stride: Pair = 1,
    padding: Pair = 0, output_padding: Pair = 0, groups: int = 1, dilation: Pair = 1,
) -> Traced:  # fmt: skip
    """Transposed convolution."""
    plain = run_plain(func, input, weight, bias, stride, padding, output_padding, groups, dilation)
    windows = get_windows(weight.shape[-2:], stride, dilation)
    rows, cols = map(
        transposed_reads, input.field.size, pair(padding), windows, tuple(plain.shape[-2:])
    )
    steps = tuple(a / b for a, b in zip(input.field.stride, pair(stride)))
    return input.like(plain, moved(input.field, rows, cols, stride=steps))


def _pool(
    x: Traced, kind: str, kernel_size: Pair, stride: Pair | None, padding: Pair, dilation: Pair,
    ceil_mode: bool,
) -> Traced:  # fmt: skip
    windows = get_windows(kernel_size, stride or kernel_size, dilation)
    pads = _checked_pads(x, get_pads(padding, windows), windows, conv=False)
    results = (
        pool_extent(size, before, window, ceil_mode)
        for size, (before, _), window in zip(x.field.size, by_axis(pads), windows)
    )
    plain = x.plain().new_empty((*x.shape[:-2], *results))
    return slide(x, plain, kind, _ZEROS, pads, windows)


@handles(*named('max_pool2d'))
def max_pool2d(
    func: Callable, input: Traced, kernel_size: Pair, stride: Pair | None = None,
    padding: Pair = 0, dilation: Pair = 1, ceil_mode: bool = False, return_indices: bool = False,
) -> Traced:  # fmt: skip
    """Max pooling: padding is not a use of any cell."""
    return _pool(input, 'max pool', kernel_size, stride, padding, dilation, ceil_mode)


@handles(*named('avg_pool2d'))
def avg_pool2d(
    func: Callable, input: Traced, kernel_size: Pair, stride: Pair | None = None,
    padding: Pair = 0, ceil_mode: bool = False, count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Traced:  # fmt: skip
    """Average pooling: padding is not a use of any cell."""
    return _pool(input, 'avg pool', kernel_size, stride, padding, 1, ceil_mode)


@handles(*named('adaptive_avg_pool2d', 'adaptive_max_pool2d'))
def adaptive_pool2d(
    func: Callable, input: Traced, output_size: Any, *args: Any, **kwargs: Any
) -> Traced:
    """Pooling to a given size."""
    plain = run_plain(func, input, output_size, *args, **kwargs)
    rows, cols = (adaptive_reads(a, b) for a, b in zip(input.field.size, plain.shape[-2:]))
    pooled = len(rows) == len(cols) == 1
    if pooled:
        # A field of its own even if the input has a single cell, so that it is marked as pooled.
        return input.like(plain, Field((1, 1), [(input.field, rows, cols)], pooled=True))
    return input.like(plain, moved(input.field, rows, cols))
