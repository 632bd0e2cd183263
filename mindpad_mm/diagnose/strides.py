"""The padding that strided layers read, and the input sizes at which they read it evenly."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from mindpad_mm.diagnose.cannot_run import CannotRun
from mindpad_mm.diagnose.subject import Subject
from mindpad_mm.diagnose.tracing import ShapeRunner, Slide, Trace
from mindpad_mm.padding.kernels import by_axis, get_windows

_SMALLEST_RADIUS, _LARGEST_RADIUS = 32, 512


@dataclass(frozen=True)
class StridedLayer:
    """A strided convolution or pooling, and the padding it reads at one input size.

    Windows start at the first padded row, so unused rows occur only at the bottom; likewise unused
    columns only at the right.

    Attributes:
        slide: The traced call of the layer.
        unused: Rows or columns of the padded map that no window reaches at the (top, bottom, left,
            right). Negative where ``ceil_mode`` makes windows reach beyond the padding.
        consumed: Rows or columns of padding that windows read at the (top, bottom, left, right).
            Negative where windows do not reach the end of the map.
    """

    slide: Slide
    unused: tuple[int, int, int, int]
    consumed: tuple[int, int, int, int]

    @classmethod
    def of(cls, slide: Slide) -> StridedLayer:
        unused: list[int] = []
        consumed: list[int] = []
        windows = get_windows(slide.kernel, slide.stride, slide.dilation)
        axes = zip(slide.size, by_axis(slide.pads), windows, slide.results)
        for size, (before, after), window, results in axes:
            rest = before + size + after - window.spans(results)
            unused += [0, rest]
            consumed += [before, after - rest]
        return cls(slide, tuple(unused), tuple(consumed))

    @property
    def even(self) -> tuple[bool, bool]:
        """Whether the same number of (rows, columns) of padding is read before and after the map.

        For a layer with the same padding on both sides, this means
        h_in + 2p = s(h_out - 1) + d(k - 1) + 1.
        """
        top, bottom, left, right = self.consumed
        return top == bottom, left == right


def by_text(size: tuple[int, int]) -> str:
    """``(3, 5)`` as the text ``3 x 5``."""
    return f'{size[0]} x {size[1]}'


def strided_layers(trace: Trace) -> list[StridedLayer]:
    """The strided layers of a trace, in order of execution."""
    return [StridedLayer.of(slide) for slide in trace.slides if max(slide.stride) > 1]


def has_uneven_padding(module: nn.Module, input_size: Sequence[int]) -> bool:
    """Whether any strided layer reads more padding on one side than on the other.

    Args:
        module: A detector of MMDetection or any module that takes (N, 3, H, W).
        input_size: (..., height, width), pixels.

    Source: Mind the Pad (ICLR 2021), section on down-sampling.
    """
    subject = Subject(module, tuple(input_size)[-2:])
    layers = strided_layers(ShapeRunner(subject).run(subject.input_size))
    return not all(all(layer.even) for layer in layers)


@dataclass(frozen=True)
class SizeSearch:
    """How many strided layers of a network are even at nearby input sizes.

    Attributes:
        sizes: (heights, widths) that were run, ascending.
        even_until: For each of them, the number of strided layers before the first uneven one;
            infinite if none is uneven; -1 if the network cannot run. A run stops as soon as both
            axes are uneven, so later errors are not found.
        layers: Number of strided layers of the network.
    """

    sizes: tuple[list[int], list[int]]
    even_until: tuple[list[float], list[float]]
    layers: int

    def even_sizes(self, axis: int) -> list[int]:
        """Heights (``axis`` 0) or widths (1) at which all layers are even."""
        found = zip(self.sizes[axis], self.even_until[axis])
        return [size for size, until in found if until == math.inf]

    def rule(self, axis: int) -> str:
        """The even heights or widths as a formula such as ``a * 32 + 1``; '' if they follow none."""
        found = self.even_sizes(axis)
        steps = {after - before for before, after in itertools.pairwise(found)}
        if len(steps) != 1:
            return ''
        step = steps.pop()
        rest = found[0] % step
        return f'a * {step}' + (f' + {rest}' if rest else '')

    def nearest(self, axis: int, size: int, count: int = 3) -> list[int]:
        """The even heights or widths nearest to ``size``, ascending."""
        return sorted(sorted(self.even_sizes(axis), key=lambda found: abs(found - size))[:count])


class _BothUneven(Exception):
    """Both axes are uneven: the run can stop."""


class _FirstUneven:
    """Records the first uneven layer along each axis during a run."""

    def __init__(self) -> None:
        self.strided = 0
        self.until: list[float] = [math.inf, math.inf]

    def __call__(self, slide: Slide) -> None:
        if max(slide.stride) == 1:
            return
        for axis, even in enumerate(StridedLayer.of(slide).even):
            if not even:
                self.until[axis] = min(self.until[axis], self.strided)
        self.strided += 1
        if max(self.until) < math.inf:
            raise _BothUneven


def search_sizes(runner: ShapeRunner, trace: Trace, radius: int | None = None) -> SizeSearch:
    """Run a network at every input size near the traced one.

    Height and width change by the same number of pixels in one run; the axes are independent.

    Args:
        runner: Runs the network on shapes.
        trace: A trace at the network's own input size.
        radius: Largest change of the size in pixels; downwards at most half the size. Default: the
            network's total stride, clipped to 32..512.
    """
    if radius is None:
        strides = [max(slide.field.stride) for slide in trace.slides if not slide.field.pooled]
        radius = int(min(max([_SMALLEST_RADIUS, *strides]), _LARGEST_RADIUS))
    height, width = trace.source.size
    sizes: tuple[list[int], list[int]] = ([], [])
    until: tuple[list[float], list[float]] = ([], [])
    changes = range(-min(radius, height // 2, width // 2), radius + 1)
    for change in changes:
        watch = _FirstUneven()
        try:
            runner.run((height + change, width + change), on_slide=watch)
        except _BothUneven:
            pass
        except CannotRun:
            watch.until = [-1, -1]
        for axis, size in enumerate((height, width)):
            sizes[axis].append(size + change)
            until[axis].append(watch.until[axis])
    for axis in (0, 1):
        if math.inf not in until[axis]:
            _confirm_best(runner, sizes, until, axis, changes.index(0))
    return SizeSearch(sizes, until, len(strided_layers(trace)))


def _confirm_best(
    runner: ShapeRunner,
    sizes: tuple[list[int], list[int]],
    until: tuple[list[float], list[float]],
    axis: int,
    own: int,
) -> None:
    """Run the best sizes to the end, and mark those at which the network cannot run."""
    for at in sorted(range(len(sizes[axis])), key=lambda at: (-until[axis][at], abs(at - own))):
        try:
            runner.run((sizes[0][at], sizes[1][at]), on_slide=lambda _: None)
        except CannotRun:
            until[0][at] = until[1][at] = -1
        else:
            return
