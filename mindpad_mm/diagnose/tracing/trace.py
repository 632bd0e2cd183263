"""Running a network on shapes without values, to record which cells of its maps read which.

A :class:`Traced` tensor runs through the real modules on torch's meta device, so that only sizes are
computed. It carries a :class:`Field` that describes its cells. Functions that move or combine cells of
different positions create new fields; pointwise functions keep the field.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.torch_functions import find, replace
from mindpad_mm.diagnose.cannot_run import CannotRun, cannot_run_errors
from mindpad_mm.diagnose.subject import Subject
from mindpad_mm.diagnose.tracing.cells import Reads
from mindpad_mm.padding.kernels import Pads

SAME, VALID, FULL = 'same', 'valid', 'full'
ITSELF = 'the network itself'
"""The layer name if the network is a single layer."""

Handler = Callable[..., Any]
HANDLERS: dict[Callable, Handler] = {}
"""Handlers by torch function, called as ``handler(func, *args, **kwargs)`` on traced arguments."""

_serial = itertools.count()


class TooSmall(CannotRun):
    """A map is smaller than a window of the layer that reads it."""


@dataclass(eq=False)
class Field:
    """The cells of one or more maps that share their positions.

    Attributes:
        size: (rows, columns).
        reads: For each field that this one reads: the field, and the reads of rows and of columns.
        stride: Input pixels between neighbouring cells, (vertical, horizontal).
        pooled: Whether the only cell represents a whole map, so that it may be broadcast.
        padded_from: The field before explicit padding, and the pads.
        unknown: The first function on the path here whose reads are not known; '' if there is none.
        serial: Number in order of creation; larger than that of the fields it reads.
    """

    size: tuple[int, int]
    reads: Sequence[tuple[Field, Reads, Reads]] = ()
    stride: tuple[float, float] = (1, 1)
    pooled: bool = False
    padded_from: tuple[Field, Pads] | None = None
    unknown: str = ''
    serial: int = field(default_factory=lambda: next(_serial))

    def __post_init__(self) -> None:
        self.unknown = self.unknown or next((p.unknown for p, _, _ in self.reads if p.unknown), '')


@dataclass(frozen=True)
class Slide:
    """One call of a convolution or pooling layer.

    Attributes:
        layer: Qualified name of the module, with ``#2`` and so on from its second call on.
        kind: ``conv``, ``max pool`` or ``avg pool``.
        size: (rows, columns) of its input without any padding.
        results: (rows, columns) of its output.
        pads: Cells added at the (top, bottom, left, right), including explicit padding before it.
        kernel, stride, dilation: (vertical, horizontal).
        field: The cells of its output.
    """

    layer: str
    kind: str
    size: tuple[int, int]
    results: tuple[int, int]
    pads: Pads
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    field: Field


@dataclass
class Trace:
    """A record of one run of a network on shapes.

    Attributes:
        scheme: ``same``: the layers' own padding; ``valid``: no padding; ``full``: each convolution
            padded by dilation * (kernel - 1) on every side.
        source: The pixels of the input.
        slides: Calls of convolution and pooling layers in order of execution.
        outputs: The maps of the network's output; for a classifier the last map before flattening.
        lost: Layers whose input could not be traced back to the network's input.
        on_slide: Called with each slide; may raise to stop the run.
        sizes_only: Whether to skip recording which cells are read.
        module: Qualified name of the module that is running.
        left: The last map before a result stopped being a map.
    """

    scheme: str
    source: Field
    slides: list[Slide] = field(default_factory=list)
    outputs: list[Field] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    on_slide: Callable[[Slide], None] | None = None
    sizes_only: bool = False
    module: str = ''
    left: Field | None = None

    def add(self, slide: Slide) -> None:
        self.slides.append(slide)
        if self.on_slide:
            self.on_slide(slide)

    def name(self) -> str:
        """The name of the running module, numbered from its second call on."""
        base = self.module or ITSELF
        runs = sum(slide.layer.split('#')[0] == base for slide in self.slides)
        return f'{base}#{runs + 1}' if runs else base


class Traced(Tensor):
    """A tensor on the meta device that knows its cells.

    Attributes:
        field: Its cells.
        trace: The trace it belongs to.
        axes: The (negative) axes of rows and columns.
    """

    field: Field
    trace: Trace
    axes: tuple[int, int]

    @staticmethod
    def of(plain: Tensor, cells: Field, trace: Trace, axes: tuple[int, int] = (-2, -1)) -> Traced:
        traced = plain.as_subclass(Traced)
        traced.field, traced.trace, traced.axes = cells, trace, axes
        return traced

    def plain(self) -> Tensor:
        return self.as_subclass(Tensor)

    def like(self, plain: Tensor, cells: Field | None = None) -> Traced:
        """A traced tensor in the same trace, with the given cells (default: the same)."""
        return Traced.of(plain, cells or self.field, self.trace, self.axes)

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Iterable[type], args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            return HANDLERS.get(func, HANDLERS[None])(func, *args, **kwargs)


def handles(*functions: Callable | None) -> Callable[[Handler], Handler]:
    """Decorator: register a handler for functions; None stands for all other functions."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(functions, handler))
        return handler

    return register


def moved(parent: Field, rows: Reads, cols: Reads, **more: Any) -> Field:
    """A field that reads ``parent``; ``parent`` itself if both reads are identities."""
    if rows.is_identity and cols.is_identity:
        return parent
    size = len(rows), len(cols)
    stride = tuple(s * max(a // b, 1) for s, a, b in zip(parent.stride, parent.size, size))
    return Field(size, [(parent, rows, cols)], **{'stride': stride, **more})


def run_plain(func: Callable, *args: Any, **kwargs: Any) -> Any:
    """Run a function on the plain tensors behind traced ones."""
    args, kwargs = replace((args, kwargs), Traced, Traced.plain)
    return func(*args, **kwargs)


class ShapeRunner:
    """Runs a network on shapes without values, at any input size.

    Args:
        subject: The network. It is not modified, and its weights are not copied.
    """

    def __init__(self, subject: Subject) -> None:
        self.model = without_numbers(subject.model)
        self.model.eval()  # of a distillation's student it returns None
        self.channels = subject.channels
        self.name = subject.name
        self._trace: Trace | None = None
        for name, module in self.model.named_modules():
            module.register_forward_pre_hook(self._entering(name))
            module.register_forward_hook(self._leaving)
        self._entered: list[str] = []

    def run(
        self,
        size: tuple[int, int],
        scheme: str = SAME,
        on_slide: Callable[[Slide], None] | None = None,
    ) -> Trace:
        """Run the network on the shape of one image.

        Args:
            size: (height, width), pixels.
            scheme: See :class:`Trace`.
            on_slide: Called with each call of a convolution or pooling layer; may raise to stop the
                run. If given, the cells that are read are not recorded.

        Raises:
            TooSmall: A map is too small for a layer.
            CannotRun: The network cannot run at this size.
            UserError: The network needs the values of a map.
        """
        height, width = size
        trace = self._trace = Trace(scheme, Field((height, width)), on_slide=on_slide)
        trace.sizes_only = on_slide is not None
        self._entered.clear()
        image = torch.empty(1, self.channels, height, width, device='meta')
        try:
            with torch.no_grad(), cannot_run_errors(self.name, size):
                result = Subject(self.model, size).dense(Traced.of(image, trace.source, trace))
        except CannotRun as error:
            # torch mentions the meta device when values are needed.
            if 'meta' not in str(error.__cause__).lower():
                raise
            reason = str(error.__cause__).splitlines()[0]
            raise UserError(f'{self.name} cannot be run on shapes alone: {reason}') from error
        found = [output.field for output in find(_plain_containers(result), Traced)]
        trace.outputs = found or ([trace.left] if trace.left else [])
        return trace

    def _entering(self, name: str) -> Callable:
        def hook(module: nn.Module, args: tuple) -> None:
            trace = self._trace
            self._entered.append(name)
            trace.module = name
            sliding = isinstance(module, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d))
            if sliding and not isinstance(args[0], Traced):
                trace.lost.append(name)

        return hook

    def _leaving(self, module: nn.Module, args: tuple, result: Any) -> None:
        self._entered.pop()
        self._trace.module = self._entered[-1] if self._entered else ''


def _plain_containers(value: Any) -> Any:
    """Nested containers as lists, including subclasses of dict and tuple."""
    if isinstance(value, dict):
        return [_plain_containers(item) for item in value.values()]
    if isinstance(value, (list, tuple)):
        return [_plain_containers(item) for item in value]
    return value


def without_numbers(model: nn.Module) -> nn.Module:
    """A copy of a module on torch's meta device: shapes without values."""
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        empty = torch.empty_like(parameter, device='meta')
        memo[id(parameter)] = nn.Parameter(empty, requires_grad=False)
    for buffer in model.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device='meta')
    return copy.deepcopy(model, memo)
