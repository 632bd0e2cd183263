"""Convolution and pooling: functions whose windows slide over a map."""

from __future__ import annotations

from typing import Any, Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.utils import _pair

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
    named,
    run_plain,
)
from mindpad_mm.padding.functional import Convolution, Convolve, Pads, padded_conv2d, pool_extent
from mindpad_mm.padding.modes import Modes, get_modes

_ZEROS = get_modes('zeros')
Pair = Sequence[int]


def _two(value: int | Pair) -> tuple[int, int]:
    first, second = _pair(value) if isinstance(value, int) or len(value) != 1 else value * 2
    return first, second


def slide(
    x: Traced, plain: Tensor, kind: str, modes: Modes, pads: Pads, *window: tuple[int, int]
) -> Traced:
    """The result of a kernel that slid over ``x``."""
    kernel, stride, dilation = window
    field, trace = x.field, x.trace
    results = tuple(plain.shape[-2:])
    pooled = field.pooled and kernel == (1, 1)
    steps = tuple(a * b for a, b in zip(field.stride, stride))
    if trace.sizes_only:
        result = Field(results, stride=steps, pooled=pooled)
    else:
        reads = (
            window_reads(
                mode, field.size[axis], pads[2 * axis : 2 * axis + 2], *(w[axis] for w in window),
                results[axis],
            )
            for axis, mode in enumerate(modes)
        )  # fmt: skip
        result = moved(field, *reads, stride=steps, pooled=pooled)
    size, all_pads = field.size, pads
    if field.padded_from:
        size = field.padded_from[0].size
        all_pads = tuple(a + b for a, b in zip(pads, field.padded_from[1]))
    name = trace.name()
    trace.add(Slide(name, kind, size, results, all_pads, kernel, stride, dilation, result))
    return x.like(plain, result)


def _checked_pads(x: Traced, pads: Pads, kernel: Pair, dilation: Pair, conv: bool = True) -> Pads:
    """The pads that the run's scheme asks for, on a map that is large enough for a window."""
    if x.trace.scheme == VALID:
        pads = 0, 0, 0, 0
    elif x.trace.scheme == FULL and conv:
        rows, cols = (d * (k - 1) for d, k in zip(dilation, kernel))
        pads = rows, rows, cols, cols
    for axis, size in enumerate(x.field.size):
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        if size + sum(pads[2 * axis : 2 * axis + 2]) < reach:
            raise TooSmall(
                f'a map of {x.field.size[0]} x {x.field.size[1]} cells is too small for '
                f'{x.trace.name()}: take a larger --input-size'
            )
    return pads


@handles(torch.conv2d, F.conv2d)
def conv2d(
    func: Callable, input: Any, weight: Tensor, bias: Tensor | None = None, stride: int | Pair = 1,
    padding: int | Pair | str = 0, dilation: int | Pair = 1, groups: int = 1,
) -> Any:  # fmt: skip
    """Convolution padded by zeros."""
    kernel, stride, dilation = tuple(weight.shape[-2:]), _two(stride), _two(dilation)
    if padding == 'same':
        totals = [d * (k - 1) for d, k in zip(dilation, kernel)]
        pads = tuple(p for total in totals for p in (total // 2, total - total // 2))
    else:
        vertical, horizontal = (0, 0) if padding == 'valid' else _two(padding)
        pads = vertical, vertical, horizontal, horizontal

    convolve = Convolution(weight, stride, dilation, groups)
    return conv_by_modes(func, input, bias, convolve, _ZEROS, pads, kernel, stride, dilation)


@handles(padded_conv2d)
def conv_by_modes(
    func: Callable, x: Traced, bias: Tensor | None, convolve: Convolve, modes: Modes, pads: Pads,
    kernel: Pair, stride: Pair, dilation: Pair,
) -> Traced:  # fmt: skip
    """Convolution padded by modes."""
    pads = _checked_pads(x, pads, kernel, dilation)
    if x.trace.scheme != SAME:
        modes = _ZEROS
    results = [
        (size + sum(pads[2 * axis : 2 * axis + 2]) - dilation[axis] * (kernel[axis] - 1) - 1)
        // stride[axis]
        + 1
        for axis, size in enumerate(x.field.size)
    ]
    plain = x.plain().new_empty((*x.shape[:-3], _channels(convolve, x, kernel, dilation), *results))
    return slide(x, plain, 'conv', modes, pads, kernel, stride, dilation)


def _channels(convolve: Convolve, x: Traced, kernel: Pair, dilation: Pair) -> int:
    if isinstance(convolve, Convolution):
        return convolve.weight.shape[0]
    reach = (d * (k - 1) + 1 for k, d in zip(kernel, dilation))
    window = x.plain().new_empty((*x.shape[:-2], *reach))
    return convolve(window, None, (0, 0)).shape[-3]


@handles(torch.conv_transpose2d, F.conv_transpose2d)
def conv_transpose2d(
    func: Callable, input: Traced, weight: Tensor, bias: Tensor | None = None,
    stride: int | Pair = 1, padding: int | Pair = 0, output_padding: int | Pair = 0,
    groups: int = 1, dilation: int | Pair = 1,
) -> Traced:  # fmt: skip
    """Transposed convolution."""
    plain = run_plain(func, input, weight, bias, stride, padding, output_padding, groups, dilation)
    window = _two(padding), tuple(weight.shape[-2:]), _two(stride), _two(dilation), plain.shape[-2:]
    rows, cols = (
        transposed_reads(size, *(part[axis] for part in window))
        for axis, size in enumerate(input.field.size)
    )
    steps = tuple(a / b for a, b in zip(input.field.stride, _two(stride)))
    return input.like(plain, moved(input.field, rows, cols, stride=steps))


def _pool(
    x: Traced, kind: str, kernel_size: int | Pair, stride: int | Pair | None, padding: int | Pair,
    dilation: int | Pair, ceil_mode: bool,
) -> Traced:  # fmt: skip
    kernel, dilation = _two(kernel_size), _two(dilation)
    window = kernel, _two(stride or kernel), dilation
    vertical, horizontal = _two(padding)
    pads = vertical, vertical, horizontal, horizontal
    pads = _checked_pads(x, pads, kernel, dilation, conv=False)
    results = [
        pool_extent(size, pads[2 * axis], *(w[axis] for w in window), ceil_mode)
        for axis, size in enumerate(x.field.size)
    ]
    return slide(x, x.plain().new_empty((*x.shape[:-2], *results)), kind, _ZEROS, pads, *window)


@handles(*named('max_pool2d'))
def max_pool2d(
    func: Callable, input: Traced, kernel_size: int | Pair, stride: int | Pair | None = None,
    padding: int | Pair = 0, dilation: int | Pair = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Traced:  # fmt: skip
    """Max pooling: beyond the map stands nothing."""
    return _pool(input, 'max pool', kernel_size, stride, padding, dilation, ceil_mode)


@handles(*named('avg_pool2d'))
def avg_pool2d(
    func: Callable, input: Traced, kernel_size: int | Pair, stride: int | Pair | None = None,
    padding: int | Pair = 0, ceil_mode: bool = False, count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Traced:  # fmt: skip
    """Average pooling: zeros beyond the map are uses of no cell."""
    return _pool(input, 'avg pool', kernel_size, stride, padding, 1, ceil_mode)


@handles(*named('adaptive_avg_pool2d', 'adaptive_max_pool2d'))
def adaptive_pool2d(func: Callable, input: Traced, output_size: Any, *args: Any) -> Traced:
    """Pooling to a given size."""
    plain = run_plain(func, input, output_size, *args)
    rows, cols = (adaptive_reads(a, b) for a, b in zip(input.field.size, plain.shape[-2:]))
    pooled = len(rows) == len(cols) == 1
    if pooled:
        # What follows cannot be told from a map by its size: keep it apart even from a map of one cell.
        return input.like(plain, Field((1, 1), [(input.field, rows, cols)], pooled=True))
    return input.like(plain, moved(input.field, rows, cols))
