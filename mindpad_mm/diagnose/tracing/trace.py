"""Running a network on shapes alone, to learn which cells of its maps read which.

A :class:`Traced` tensor runs through the real modules on torch's meta device, so that nothing is computed
but sizes. It knows the :class:`Field` its cells are; functions that move or combine cells of different
places make new fields (``fields``), functions at one place leave them as they are.
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
from mindpad_mm.diagnose.refusal import CannotRun, refusals_told
from mindpad_mm.diagnose.subject import Subject
from mindpad_mm.diagnose.tracing.cells import Reads
from mindpad_mm.padding.windows import Pads

SAME, VALID, FULL = 'same', 'valid', 'full'
ITSELF = 'the network itself'
"""The name of a layer that is all there is."""

Handler = Callable[..., Any]
HANDLERS: dict[Callable, Handler] = {}
"""From a torch function to what traces it: ``handler(func, *args, **kwargs)``, on traced arguments."""

_serial = itertools.count()


class TooSmall(CannotRun):
    """A map has fewer cells than a window of the layer that reads it."""


@dataclass(eq=False)
class Field:
    """The cells of one or more maps that stand at the same places.

    Attributes:
        size: (rows, columns).
        reads: For each field it is made from, what its rows and its columns read there.
        stride: Of the input's pixels between neighbouring cells, (vertical, horizontal).
        pooled: Whether a cell stands for the whole map, so that it may be spread over another one.
        padded_from: The field this one continues by explicit padding, and the pads.
        unknown: A function on the way here whose reads nobody knows; '' where there is none.
        serial: Fields are made after those they read.
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
    """A convolution or pooling as it ran.

    Attributes:
        layer: Qualified name of the module, with ``#2`` and so on from its second run on.
        kind: ``conv``, ``max pool`` or ``avg pool``.
        size: (rows, columns) of its input without any padding.
        results: (rows, columns) of its result.
        pads: Cells added at the (top, bottom, left, right), explicit padding before it included.
        kernel, stride, dilation: (vertical, horizontal).
        field: The cells of its result.
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
    """One run of a network on shapes.

    Attributes:
        scheme: ``same`` pads as the layers do, ``valid`` nowhere, ``full`` each convolution by its
            dilation * (kernel - 1) on every side.
        source: The pixels of the input.
        slides: Convolutions and pooling in the order they ran.
        outputs: The maps of the network's result; of a classifier the last map before it is flattened.
        lost: Layers whose input could not be followed to the network's.
        on_slide: Called with each slide; may raise to end the run.
        sizes_only: Whether fields need not know what they read.
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
        """Of the module that runs now, told apart from its earlier runs."""
        base = self.module or ITSELF
        runs = sum(slide.layer.split('#')[0] == base for slide in self.slides)
        return f'{base}#{runs + 1}' if runs else base


class Traced(Tensor):
    """A tensor on the meta device whose cells are known.

    Attributes:
        field: Its cells.
        trace: The run it belongs to.
        axes: Where the rows and the columns stand among its axes, from the end.
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
        """A tensor of other cells (default: of the same) in the same run."""
        return Traced.of(plain, cells or self.field, self.trace, self.axes)

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Iterable[type], args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            return HANDLERS.get(func, HANDLERS[None])(func, *args, **kwargs)


def handles(*functions: Callable | None) -> Callable[[Handler], Handler]:
    """Decorator: this handler traces these functions; None stands for all others."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(functions, handler))
        return handler

    return register


def moved(parent: Field, rows: Reads, cols: Reads, **more: Any) -> Field:
    """The field that reads another; that field itself where each cell is read at its own place."""
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
    """A network without its numbers, to be run on any size as often as wanted.

    Args:
        subject: The network. It is left alone; its weights are not copied.
    """

    def __init__(self, subject: Subject) -> None:
        self.model = without_numbers(subject.model).eval()
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
        """Run it on one image of (height, width) pixels.

        Args:
            scheme: See :class:`Trace`.
            on_slide: Called with each convolution and pooling; may raise to end the run. With it, fields
                do not learn what they read.

        Raises:
            TooSmall: A map vanishes on the way.
            CannotRun: The network refuses this size.
            UserError: The network asks for the values of a map, which are not there.
        """
        height, width = size
        trace = self._trace = Trace(scheme, Field((height, width)), on_slide=on_slide)
        trace.sizes_only = on_slide is not None
        self._entered.clear()
        image = Traced.of(torch.empty(1, 3, height, width, device='meta'), trace.source, trace)
        try:
            with torch.no_grad(), refusals_told(self.name, size):
                result = Subject(self.model, size).dense(image)
        except CannotRun as error:
            # torch's word for what it has no values of.
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
    """Nested results as lists, subclasses of dict and tuple included."""
    if isinstance(value, dict):
        return [_plain_containers(item) for item in value.values()]
    if isinstance(value, (list, tuple)):
        return [_plain_containers(item) for item in value]
    return value


def without_numbers(model: nn.Module) -> nn.Module:
    """A copy of a module on torch's meta device: shapes and no values."""
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        empty = torch.empty_like(parameter, device='meta')
        memo[id(parameter)] = nn.Parameter(empty, requires_grad=False)
    for buffer in model.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device='meta')
    return copy.deepcopy(model, memo)
