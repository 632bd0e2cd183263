"""Handlers of functions that slide a kernel over the map: convolution and pooling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mindpad_mm.incremental.geometry import ReceptiveField, Span
from mindpad_mm.incremental.graph import Operation, OperationGraph
from mindpad_mm.incremental.resample import padded_sources
from mindpad_mm.incremental.taps import Taps, add_convolved, count_pairs
from mindpad_mm.incremental.windowed import WindowedTensor, handles
from mindpad_mm.incremental.winograd import WinogradConvolution
from mindpad_mm.padding.convolution import Convolution
from mindpad_mm.padding.functional import pad2d, padded_conv2d
from mindpad_mm.padding.kernels import Pads, Pair, Windows, get_pads, get_windows, pair
from mindpad_mm.padding.modes import Modes, get_modes
from mindpad_mm.padding.reweigh import window_weights

# If windows cover more than this share of the map, computing the whole map takes less time.
_WHOLE = 0.7
# Adding the convolved difference must need at most this share of the products that convolving the
# windows needs, because it moves more memory for each product.
_DIFFERENCE_SHARE = 0.6
# With fewer input channels it moves more memory than it multiplies.
_DIFFERENCE_CHANNELS = 32


def slide(
    x: WindowedTensor,
    operation: Operation,
    modes: Modes,
    pads: Pads,
    windows: Windows,
    run: Callable[[Tensor], Tensor],
    run_whole: Callable[[Tensor], Tensor],
    fill: float = 0.0,
    weight: Tensor | None = None,
    clean: Tensor | None = None,
) -> WindowedTensor:
    """Slide a kernel over the windows of ``x``.

    Args:
        x: The maps.
        operation: The same function on the clean map.
        modes, pads: How the function pads its input.
        windows: The (vertical, horizontal) kernel windows.
        run: The function without its padding.
        run_whole: The function with its padding.
        fill: The value of padded positions with no cell, where ``modes`` give ``NOTHING``. If it is not
            0, both modes must be ``zeros``.
        weight: The weight of a convolution without groups, which can then also be computed from
            differences; None for any other function.
        clean: What the functions make of the clean map. Default: the operation's result.
    """
    clean = operation.clean if clean is None else clean
    if operation.fields is None:
        sources = padded_sources(x, modes, pads)
        operation.fields = [
            ReceptiveField(source, size, window)
            for source, size, window in zip(sources, operation.clean.shape[-2:], windows)
        ]
    if x.graph.is_unneeded(operation):
        x.graph.count_macs(operation, len(x), 0)
        return WindowedTensor.all_clean(clean, len(x), x.graph)
    fields = operation.fields
    rows, cols = (field.results(span) for field, span in zip(fields, (x.rows, x.cols)))
    rows, cols = x.graph.restrict_to_demand(operation, rows, cols)
    if weight is not None and not x.is_whole:
        y = _add_difference(x, operation, clean, fields, weight, rows, cols)
        if y is not None:
            return y
    share = rows.length * cols.length / (rows.size * cols.size)
    x.graph.count_macs(operation, len(x), 1 if share > _WHOLE else share)
    if share > _WHOLE:
        patch = run_whole(x.dense())
        return WindowedTensor(clean, patch, rows.whole(), cols.whole(), x.graph, owned=True)
    patch = run(_read(x, modes, pads, fill, fields, (rows, cols)))
    if 'scales' in operation.constants:
        for axis, span in enumerate((rows, cols)):
            patch = patch * _along(operation.constants['scales'][axis], span, axis, patch)
    return WindowedTensor(clean, patch, rows, cols, x.graph, owned=True)


def _read(
    x: WindowedTensor,
    modes: Modes,
    pads: Pads,
    fill: float,
    fields: Sequence[ReceptiveField],
    results: Sequence[Span],
) -> Tensor:
    """The cells of the padded map that the results in some windows read."""
    if all(field.is_identity for field in fields):
        return x.at(*results)
    padded = x.clean
    if any(pads):
        padded = x.graph.cached(
            x.clean, (modes, pads, fill), lambda: _padded(x.clean, modes, pads, fill)
        )
    places = [(field.source, *field.positions(span)) for field, span in zip(fields, results)]
    return x.read(padded, *places)


def _add_difference(
    x: WindowedTensor,
    operation: Operation,
    result: Tensor,
    fields: Sequence[ReceptiveField],
    weight: Tensor,
    rows: Span,
    cols: Span,
) -> WindowedTensor | None:
    """Convolve by adding the convolved difference to the clean result; None if that takes longer."""
    _, channels, *kernel = weight.shape
    if channels < _DIFFERENCE_CHANNELS or kernel == [1, 1]:
        return None
    down, across = (
        Taps.of(field, inputs, results)
        for field, inputs, results in zip(fields, (x.rows, x.cols), (rows, cols))
    )
    full = len(x) * operation.clean.shape[-2] * operation.clean.shape[-1] * weight[0, 0].numel()
    usual = len(x) * rows.length * cols.length * weight[0, 0].numel()
    taken = count_pairs(down, across)
    if taken > _DIFFERENCE_SHARE * usual:
        return None
    x.graph.count_macs(operation, len(x), taken / full)
    clean = WindowedTensor.clean_windows(x.clean, x.rows, x.cols)
    difference = (x.patch - clean).permute(0, 2, 3, 1).contiguous()
    y = WindowedTensor.clean_windows(result, rows, cols).permute(0, 2, 3, 1).contiguous()
    add_convolved(y, difference, weight, down, across)
    return WindowedTensor(result, y.permute(0, 3, 1, 2), rows, cols, x.graph, owned=True)


def _padded(clean: Tensor, modes: Modes, pads: Pads, fill: float) -> Tensor:
    if not fill:
        return pad2d(clean, modes, pads)
    top, bottom, left, right = pads
    return F.pad(clean, (left, right, top, bottom), value=fill)


def _along(values: np.ndarray, span: Span, axis: int, like: Tensor) -> Tensor:
    """One value for each row or column of the windows, broadcastable to (B, C, h, w)."""
    chosen = values[span.start[:, None] + np.arange(span.length)]
    chosen = torch.from_numpy(chosen).to(like)
    return chosen[:, None, :, None] if axis == 0 else chosen[:, None, None, :]


@handles(torch.conv2d, F.conv2d)
def conv2d(
    func: Callable,
    input: Any,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Any:
    """Convolution with zero padding."""
    if not isinstance(input, WindowedTensor) or isinstance(weight, WindowedTensor):
        return NotImplemented
    operation = input.graph.next_operation(
        func,
        lambda: func(input.clean, weight, bias, stride, padding, dilation, groups),
        input.clean,
    )
    convolution = Convolution(weight, pair(stride), pair(dilation), groups)
    clean, convolution, bias = folded(input.graph, operation, convolution, bias)
    pads = get_pads(padding, convolution.windows)
    fast = WinogradConvolution(convolution, input.graph)

    def run(x: Tensor) -> Tensor:
        return fast(x, bias, (0, 0))

    def run_whole(x: Tensor) -> Tensor:
        if pads[0] == pads[1] and pads[2] == pads[3]:
            return fast(x, bias, pads[::2])
        return func(x, convolution.weight, bias, stride, padding, dilation, groups)

    return slide(
        input,
        operation,
        get_modes('zeros'),
        pads,
        convolution.windows,
        run,
        run_whole,
        weight=convolution.weight if groups == 1 else None,
        clean=clean,
    )


def folded(
    graph: OperationGraph, operation: Operation, convolution: Convolution, bias: Tensor | None
) -> tuple[Tensor, Convolution, Tensor | None]:
    """A convolution that does the work of the batch norm after it, where there is one.

    Returns:
        What it makes of the clean map, the convolution, and its bias.
    """
    norm = graph.norm_after(operation)
    # Other weights are computed anew in every run (weight standardisation).
    if norm is None or norm.affine is None or not isinstance(convolution.weight, nn.Parameter):
        return operation.clean, convolution, bias
    scale, shift = norm.affine

    def weights() -> tuple[nn.Parameter, Tensor]:
        weight = convolution.weight.double() * scale[:, None, None, None]
        total = shift if bias is None else shift + bias.double() * scale
        weight, total = (each.to(convolution.weight.dtype) for each in (weight, total))
        return nn.Parameter(weight, requires_grad=False), total

    weight, bias = graph.cached(convolution.weight, ('folded', id(norm)), weights)
    return norm.clean, convolution.with_weight(weight), bias


@handles(padded_conv2d)
def conv_by_modes(
    func: Callable,
    x: WindowedTensor,
    bias: Tensor | None,
    convolution: Convolution,
    modes: Modes,
    pads: Pads,
) -> WindowedTensor:
    """Convolution with padding by modes."""
    reweights = any(mode.reweight for mode in modes)
    operation = x.graph.next_operation(
        func, lambda: func(x.clean, bias, convolution, modes, pads), x.clean
    )
    clean = operation.clean
    if not reweights:  # else the bias is added after the windows are weighted
        clean, convolution, bias = folded(x.graph, operation, convolution, bias)
    fast = WinogradConvolution(convolution, x.graph)
    weight = convolution.weight if convolution.groups == 1 and not reweights else None

    def run(x: Tensor) -> Tensor:
        return fast(x, None if reweights else bias, (0, 0))

    def run_whole(x: Tensor) -> Tensor:
        return func(x, bias, fast, modes, pads)

    windows = convolution.windows
    if reweights and 'scales' not in operation.constants:
        weights = window_weights(x.clean.shape[-2:], modes, pads, windows)
        operation.constants['scales'] = [
            np.array(each or [1] * count, np.float32)
            for each, count in zip(weights, operation.clean.shape[-2:])
        ]
    y = slide(x, operation, modes, pads, windows, run, run_whole, weight=weight, clean=clean)
    if reweights and bias is not None and not y.is_whole:
        y.patch = y.patch + bias.to(y.patch.dtype).view(-1, 1, 1)
    return y


@handles(torch.max_pool2d, F.max_pool2d)
def max_pool2d(
    func: Callable,
    input: WindowedTensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Max pooling, which pads by minus infinity."""
    if return_indices:
        return NotImplemented
    stride = stride or kernel_size
    windows = get_windows(kernel_size, stride, dilation)

    def run(x: Tensor) -> Tensor:
        return func(x, kernel_size, stride, 0, dilation)

    def run_whole(x: Tensor) -> Tensor:
        return func(x, kernel_size, stride, padding, dilation, ceil_mode=ceil_mode)

    operation = input.graph.next_operation(func, lambda: run_whole(input.clean), input.clean)
    pads = _pool_pads(input, operation, padding, windows)
    zeros = get_modes('zeros')
    return slide(input, operation, zeros, pads, windows, run, run_whole, fill=-torch.inf)


def _pool_pads(x: WindowedTensor, operation: Operation, padding: Pair, windows: Windows) -> Pads:
    """The pads that all pooling windows need, the overhang of ``ceil_mode`` included."""
    pads = []
    sizes = x.clean.shape[-2:], operation.clean.shape[-2:]
    for before, window, size, results in zip(pair(padding), windows, *sizes):
        pads += [before, max(window.spans(results) - before - size, 0)]
    return tuple(pads)


@handles(torch._C._nn.avg_pool2d, F.avg_pool2d)
def avg_pool2d(
    func: Callable,
    input: WindowedTensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """Average pooling."""
    stride = stride or kernel_size
    windows = get_windows(kernel_size, stride)

    def run(x: Tensor) -> Tensor:
        return func(x, kernel_size, stride, 0, False, True, 1)

    def run_whole(x: Tensor) -> Tensor:
        return func(x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)

    operation = input.graph.next_operation(func, lambda: run_whole(input.clean), input.clean)
    if 'scales' not in operation.constants:
        operation.constants['scales'] = []
        for axis, (before, window) in enumerate(zip(pair(padding), windows)):
            size, results = input.clean.shape[axis - 2], operation.clean.shape[axis - 2]
            first = np.arange(results) * window.stride - before
            last = np.minimum(first + window.kernel, size + before)
            if not count_include_pad:
                first, last = first.clip(0), last.clip(max=size)
            count = last - first
            if divisor_override:
                count = np.full(results, divisor_override if axis == 0 else 1)
            operation.constants['scales'].append((1 / count).astype(np.float32))
    pads = _pool_pads(input, operation, padding, windows)
    return slide(input, operation, get_modes('zeros'), pads, windows, run, run_whole)
