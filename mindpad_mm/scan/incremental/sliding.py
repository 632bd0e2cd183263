"""Convolution and pooling: functions that slide a kernel over the map."""

from __future__ import annotations

from typing import Any, Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.utils import _pair

from mindpad_mm.padding.functional import Convolution, Convolve, Pads, pad2d, padded_conv2d
from mindpad_mm.padding.modes import Modes, get_modes
from mindpad_mm.scan.incremental.geometry import Reading, Span
from mindpad_mm.scan.incremental.resample import padded_sources
from mindpad_mm.scan.incremental.tape import Step
from mindpad_mm.scan.incremental.taps import Taps, add_changes, pairs
from mindpad_mm.scan.incremental.windowed import Windowed, handles
from mindpad_mm.scan.incremental.winograd import WinogradConvolution

# Beyond this share of a map, gathering windows costs more than it saves.
_WHOLE = 0.7
# Convolving by what changed must spare this much: it moves more memory for each product.
_BY_CHANGES = 0.6
# And of so many channels: with fewer it moves more than it multiplies.
_CHANGED_CHANNELS = 32

Pair = Sequence[int]


def slide(
    x: Windowed,
    step: Step,
    modes: Modes,
    pads: Pads,
    window: tuple[Pair, Pair, Pair],
    run: Callable[[Tensor], Tensor],
    run_whole: Callable[[Tensor], Tensor],
    fill: float = 0.0,
    weight: Tensor | None = None,
) -> Windowed:
    """Slide a kernel over the windows of ``x``.

    Args:
        step: The same over the clean map.
        modes, pads: How the map is continued, and by how much.
        window: (kernel, stride, dilation), each (vertical, horizontal).
        run: The function on maps that are continued already.
        run_whole: The function on maps as they are.
        fill: What stands where ``modes`` say that nothing does.
        weight: Of a convolution without groups: it can also run by what changed.
    """
    if step.readings is None:
        sources = padded_sources(x, modes, pads)
        step.readings = [Reading(*each) for each in zip(sources, step.clean.shape[-2:], *window)]
    if x.tape.idle(step):
        x.tape.count(step, len(x), 0)
        return Windowed.equal(step.clean, len(x), x.tape)
    readings = step.readings
    rows, cols = (reading.results(span) for reading, span in zip(readings, (x.rows, x.cols)))
    rows, cols = x.tape.narrowed(step, rows, cols)
    if weight is not None and not x.whole:
        y = _slide_by_changes(x, step, weight, rows, cols)
        if y is not None:
            return y
    share = rows.length * cols.length / (rows.size * cols.size)
    x.tape.count(step, len(x), 1 if share > _WHOLE else share)
    if share > _WHOLE:
        patch = run_whole(x.dense())
        return Windowed(step.clean, patch, rows.whole(), cols.whole(), x.tape, owned=True)
    patch = run(_read(x, modes, pads, fill, readings, (rows, cols)))
    for axis, span in enumerate((rows, cols)):
        if 'scales' in step.kept:
            patch = patch * _along(step.kept['scales'][axis], span, axis, patch)
    return Windowed(step.clean, patch, rows, cols, x.tape, owned=True)


def _read(
    x: Windowed,
    modes: Modes,
    pads: Pads,
    fill: float,
    readings: Sequence[Reading],
    results: Sequence[Span],
) -> Tensor:
    """What the results in these windows read of the continued map."""
    if all(reading.is_identity for reading in readings):
        return x.at(*results)
    continued = x.clean
    if any(pads):
        continued = x.tape.derived(
            x.clean, (modes, pads, fill), lambda: _continue(x.clean, modes, pads, fill)
        )
    places = [
        (reading.source, *reading.positions(span)) for reading, span in zip(readings, results)
    ]
    return x.read(continued, *places)


def _slide_by_changes(
    x: Windowed, step: Step, weight: Tensor, rows: Span, cols: Span
) -> Windowed | None:
    """A convolution by what changed, where that is less work; else None."""
    _, channels, *kernel = weight.shape
    if channels < _CHANGED_CHANNELS or kernel == [1, 1]:
        return None
    down, across = (
        Taps.of(reading, inputs, results)
        for reading, inputs, results in zip(step.readings, (x.rows, x.cols), (rows, cols))
    )
    full = len(x) * step.clean.shape[-2] * step.clean.shape[-1] * weight[0, 0].numel()
    usual = len(x) * rows.length * cols.length * weight[0, 0].numel()
    taken = pairs(down, across)
    if taken > _BY_CHANGES * usual:
        return None
    x.tape.count(step, len(x), taken / full)
    clean = Windowed.unchanged(x.clean, x.rows, x.cols)
    change = (x.patch - clean).permute(0, 2, 3, 1).contiguous()
    y = Windowed.unchanged(step.clean, rows, cols).permute(0, 2, 3, 1).contiguous()
    add_changes(y, change, weight, down, across)
    return Windowed(step.clean, y.permute(0, 3, 1, 2), rows, cols, x.tape, owned=True)


def _continue(clean: Tensor, modes: Modes, pads: Pads, fill: float) -> Tensor:
    if not fill:
        return pad2d(clean, modes, pads)
    # Only where nothing stands by the modes; pad the place of each cell to find out.
    top, bottom, left, right = pads
    return F.pad(clean, (left, right, top, bottom), value=fill)


def _along(values: np.ndarray, span: Span, axis: int, like: Tensor) -> Tensor:
    """The values of the cells in each window, to multiply (B, C, h, w) with."""
    chosen = values[span.start[:, None] + np.arange(span.length)]
    chosen = torch.from_numpy(chosen).to(like)
    return chosen[:, None, :, None] if axis == 0 else chosen[:, None, None, :]


@handles(torch.conv2d, F.conv2d)
def conv2d(
    func: Callable,
    input: Any,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair | str = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Any:
    """Convolution padded by zeros."""
    if not isinstance(input, Windowed) or isinstance(weight, Windowed):
        return NotImplemented
    kernel, stride, dilation = tuple(weight.shape[-2:]), _two(stride), _two(dilation)
    if padding == 'same':
        totals = [d * (k - 1) for d, k in zip(dilation, kernel)]
        pads = tuple(p for total in totals for p in (total // 2, total - total // 2))
    else:
        vertical, horizontal = (0, 0) if padding == 'valid' else _two(padding)
        pads = vertical, vertical, horizontal, horizontal

    convolution = Convolution(weight, stride, dilation, groups)
    quick = WinogradConvolution(convolution, input.tape)

    def run(x: Tensor) -> Tensor:
        return quick(x, bias, (0, 0))

    def run_whole(x: Tensor) -> Tensor:
        symmetric = pads[0] == pads[1] and pads[2] == pads[3]
        return quick(x, bias, pads[::2]) if symmetric else run_clean(x)

    def run_clean(x: Tensor) -> Tensor:
        return func(x, weight, bias, stride, padding, dilation, groups)

    step = input.tape.step(func, lambda: run_clean(input.clean), input.clean)
    zeros, own = get_modes('zeros'), weight if groups == 1 else None
    return slide(input, step, zeros, pads, (kernel, stride, dilation), run, run_whole, weight=own)


def _two(value: int | Pair) -> tuple[int, int]:
    first, second = _pair(value) if isinstance(value, int) or len(value) != 1 else value * 2
    return first, second


@handles(padded_conv2d)
def conv_by_modes(
    func: Callable,
    x: Windowed,
    bias: Tensor | None,
    convolve: Convolve,
    modes: Modes,
    pads: Pads,
    kernel: Pair,
    stride: Pair,
    dilation: Pair,
) -> Windowed:
    """Convolution padded by modes."""
    window = kernel, stride, dilation
    reweights = any(mode.reweight for mode in modes)
    weight, quick = None, convolve
    if isinstance(convolve, Convolution):
        quick = WinogradConvolution(convolve, x.tape)
        if convolve.groups == 1 and not reweights:
            weight = convolve.weight

    def run(x: Tensor) -> Tensor:
        return quick(x, None if reweights else bias, (0, 0))

    def run_whole(x: Tensor) -> Tensor:
        return func(x, bias, quick, modes, pads, *window)

    step = x.tape.step(func, lambda: func(x.clean, bias, convolve, modes, pads, *window), x.clean)
    if reweights and 'scales' not in step.kept:
        step.kept['scales'] = [
            _reweights(mode, size, pads[2 * axis : 2 * axis + 2], axis, window, step)
            for axis, (mode, size) in enumerate(zip(modes, x.clean.shape[-2:]))
        ]
    y = slide(x, step, modes, pads, window, run, run_whole, weight=weight)
    if reweights and bias is not None and not y.whole:
        y.patch = y.patch + bias.to(y.patch.dtype).view(-1, 1, 1)
    return y


def _reweights(
    mode: Any, size: int, pads: Pair, axis: int, window: tuple[Pair, Pair, Pair], step: Step
) -> np.ndarray:
    """What each window's sum is multiplied by along an axis."""
    kernel, stride, dilation = (part[axis] for part in window)
    if not (mode.reweight and any(pads)):
        return np.ones(step.clean.shape[axis - 2], np.float32)
    taps = np.asarray(mode.taps(size, *pads, kernel, stride, dilation))
    return np.where(taps > 0, kernel / np.maximum(taps, 1), 0).astype(np.float32)


@handles(torch.max_pool2d, F.max_pool2d)
def max_pool2d(
    func: Callable,
    input: Windowed,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Max pooling: beyond the map stands minus infinity."""
    if return_indices:
        return NotImplemented
    kernel = _two(kernel_size)
    window = kernel, _two(stride or kernel), _two(dilation)
    padding = _two(padding)

    def run(x: Tensor) -> Tensor:
        return func(x, *window[:2], 0, window[2])

    def run_whole(x: Tensor) -> Tensor:
        return func(x, *window[:2], padding, window[2], ceil_mode=ceil_mode)

    step = input.tape.step(func, lambda: run_whole(input.clean), input.clean)
    pads = _pooled_pads(input, step, padding, window)
    zeros = get_modes('zeros')
    return slide(input, step, zeros, pads, window, run, run_whole, fill=-torch.inf)


def _pooled_pads(x: Windowed, step: Step, padding: Pair, window: tuple[Pair, Pair, Pair]) -> Pads:
    """What all windows reach beyond the map, that of ``ceil_mode`` included."""
    pads = []
    for axis, before in enumerate(padding):
        kernel, stride, dilation = (part[axis] for part in window)
        last = (step.clean.shape[axis - 2] - 1) * stride + (kernel - 1) * dilation + 1
        pads += [before, max(last - before - x.clean.shape[axis - 2], 0)]
    return tuple(pads)


@handles(torch._C._nn.avg_pool2d, F.avg_pool2d)
def avg_pool2d(
    func: Callable,
    input: Windowed,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """Average pooling."""
    kernel = _two(kernel_size)
    window = kernel, _two(stride or kernel), (1, 1)
    padding = _two(padding)

    def run(x: Tensor) -> Tensor:
        return func(x, *window[:2], 0, False, True, 1)

    def run_whole(x: Tensor) -> Tensor:
        return func(x, *window[:2], padding, ceil_mode, count_include_pad, divisor_override)

    step = input.tape.step(func, lambda: run_whole(input.clean), input.clean)
    if 'scales' not in step.kept:
        step.kept['scales'] = []
        for axis, before in enumerate(padding):
            size, results = input.clean.shape[axis - 2], step.clean.shape[axis - 2]
            first = np.arange(results) * window[1][axis] - before
            last = np.minimum(first + kernel[axis], size + before)
            if not count_include_pad:
                first, last = first.clip(0), last.clip(max=size)
            count = last - first
            if divisor_override:
                count = np.full(results, divisor_override if axis == 0 else 1)
            step.kept['scales'].append((1 / count).astype(np.float32))
    pads = _pooled_pads(input, step, padding, window)
    return slide(input, step, get_modes('zeros'), pads, window, run, run_whole)
