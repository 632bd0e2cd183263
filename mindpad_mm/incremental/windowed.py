"""A batch of feature maps that are alike but for a window each, as a tensor that modules can run on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mindpad_mm.core.torch_functions import (
    OF_SHAPE,
    find,
    name_of,
    replace,
    writes_in_place,
)
from mindpad_mm.incremental.geometry import Source, Span
from mindpad_mm.incremental.graph import NotFollowed, OperationGraph

Handler = Callable[..., Any]

HANDLERS: dict[Callable, Handler] = {}
"""From a torch function to what runs it on windows: ``handler(func, *args, **kwargs)``. A handler
that cannot run a call on windows returns ``NotImplemented``."""


def handles(*functions: Callable) -> Callable[[Handler], Handler]:
    """Decorator: this handler runs these functions."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(functions, handler))
        return handler

    return register


class WindowedTensor(torch.Tensor):
    """B maps that equal one clean map outside a window each.

    To the modules it runs through it is a (B, C, H, W) tensor; it has no memory of its own.

    Attributes:
        clean: (1, C, H, W), channels last. Shared and never written to.
        patch: (B, C, h, w), what stands in the windows.
        rows, cols: Where the windows lie.
        graph: The clean run that ``clean`` belongs to.
        is_view: Whether this is a part of other maps, or a part of it is about: then nothing may be
            written in place, because the other would not change with it.
        owned: Whether ``patch`` is known to be memory of its own, as a fresh result is: what is written
            in place may be written there, unless this is a view.
    """

    clean: Tensor
    patch: Tensor
    rows: Span
    cols: Span
    graph: OperationGraph
    is_view: bool
    owned: bool

    @staticmethod
    def __new__(
        cls,
        clean: Tensor,
        patch: Tensor,
        rows: Span,
        cols: Span,
        graph: OperationGraph,
        is_view: bool = False,
        owned: bool = False,
    ) -> WindowedTensor:
        shape = (patch.shape[0], *clean.shape[1:])
        self = torch.Tensor._make_wrapper_subclass(
            cls, shape, dtype=clean.dtype, device=clean.device
        )
        self.clean, self.patch, self.rows, self.cols = clean, patch, rows, cols
        self.graph = graph
        self.is_view, self.owned = is_view, owned
        return self

    @classmethod
    def pasted(
        cls, clean: Tensor, patch: Tensor, corners: np.ndarray, graph: OperationGraph
    ) -> WindowedTensor:
        """Maps with a patch each, its top-left cell at ``corners`` (B, 2) (row, col)."""
        rows, cols = (
            Span.around(corners[:, axis], corners[:, axis] + length, size)
            for axis, (length, size) in enumerate(zip(patch.shape[-2:], clean.shape[-2:]))
        )
        return cls(clean, patch, rows, cols, graph)

    @classmethod
    def unchanged(cls, clean: Tensor, batch: int, graph: OperationGraph) -> WindowedTensor:
        """Maps that all equal the clean one, or of which no cell is needed."""
        rows, cols = (Span.unchanged(batch, size) for size in clean.shape[-2:])
        return cls(clean, clean[..., :1, :1].expand(batch, -1, -1, -1), rows, cols, graph)

    def become(self, other: WindowedTensor) -> WindowedTensor:
        """Take over the content of another, as an operation in place does."""
        if self.is_view or self.shape != other.shape or self.dtype != other.dtype:
            raise NotFollowed(
                'an operation writes in place to maps of which a part is used elsewhere'
            )
        self.clean, self.patch, self.owned = other.clean, other.patch, other.owned
        self.rows, self.cols = other.rows, other.cols
        return self

    @property
    def changed(self) -> bool:
        """Whether any map can differ from the clean one."""
        return bool(
            (self.rows.low < self.rows.high).any() and (self.cols.low < self.cols.high).any()
        )

    @property
    def whole(self) -> bool:
        """Whether the windows are the whole map."""
        with torch._C.DisableTorchFunctionSubclass():
            return self.rows.is_whole and self.cols.is_whole

    def dense(self) -> Tensor:
        """The maps themselves, (B, C, H, W), channels last. May share memory with ``patch``."""
        return self.at(self.rows.whole(), self.cols.whole())

    def at(self, rows: Span, cols: Span) -> Tensor:
        """What stands in other windows of the same maps, (B, C, rows.length, cols.length)."""
        with torch._C.DisableTorchFunctionSubclass():
            if self.rows.same_windows(rows) and self.cols.same_windows(cols):
                return self.patch
            height, width = self.clean.shape[-2:]
            return self.read(
                self.clean,
                (Source.identity(height), rows.start, rows.length),
                (Source.identity(width), cols.start, cols.length),
            )

    @staticmethod
    def clean_windows(clean: Tensor, rows: Span, cols: Span) -> Tensor:
        """What stands in windows of a clean map, (B, C, rows.length, cols.length)."""
        places = (rows.start, rows.length), (cols.start, cols.length)
        return _gather(clean, *places).permute(0, 3, 1, 2)

    def read(
        self,
        clean: Tensor,
        rows: tuple[Source, np.ndarray, int],
        cols: tuple[Source, np.ndarray, int],
    ) -> Tensor:
        """Windows of maps made from these by copying cells about.

        Args:
            clean: (1, C, P, Q), the clean map copied so.
            rows, cols: Where its cells come from, the first position (B,) and how many to read.

        Returns:
            (B, C, count of rows, count of cols), channels last.
        """
        with torch._C.DisableTorchFunctionSubclass():
            region = _gather(clean, rows[1:], cols[1:])
            down = _Overlay(self.rows, *rows)
            across = _Overlay(self.cols, *cols)
            patch = self.patch.permute(0, 2, 3, 1)
            if down.slices and across.slices:
                (to_rows, from_rows), (to_cols, from_cols) = down.slices, across.slices
                region[:, to_rows, to_cols] = patch[:, from_rows, from_cols]
                return region.permute(0, 3, 1, 2)
            channels = region.shape[-1]
            (row, row_inside), (col, col_inside) = down.cells(), across.cells()
            inside = row_inside[:, :, None] & col_inside[:, None, :]
            sample = np.arange(len(row))[:, None, None]
            cell = (sample * self.rows.length + row[:, :, None]) * self.cols.length
            cell = (cell + col[:, None, :])[inside]
            place = np.flatnonzero(inside)
            place, cell = (torch.from_numpy(i).to(region.device) for i in (place, cell))
            patch = patch.reshape(-1, channels).index_select(0, cell)
            region.view(-1, channels).index_copy_(0, place, patch)
            return region.permute(0, 3, 1, 2)

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Iterable[type], args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in OF_SHAPE:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        handler = HANDLERS.get(func)
        if handler is not None:
            result = handler(func, *args, **kwargs)
            if result is not NotImplemented:
                return result
        return run_on_plain_tensors(func, *args, **kwargs)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise NotFollowed(f'{func} went past the windows')

    def __repr__(self) -> str:
        with torch._C.DisableTorchFunctionSubclass():
            return f'WindowedTensor({tuple(self.shape)}, {self.rows.length} x {self.cols.length})'


class _Overlay:
    """Where the windows of a batch land in what is read, along one axis.

    Attributes:
        slices: (positions, cells of the window), if they are the same run for all samples, or None.
    """

    def __init__(self, span: Span, source: Source, first: np.ndarray, count: int) -> None:
        self.span, self.source, self.first, self.count = span, source, first, count
        self.slices = None
        if source.is_shift:
            shift = span.start + source.offset - first
            at = int(shift[0])
            if (shift == at).all():
                begin = max(at, 0)
                end = max(min(at + span.length, count), begin)
                self.slices = slice(begin, end), slice(begin - at, end - at)

    def cells(self) -> tuple[np.ndarray, np.ndarray]:
        """(B, count): the cell of the window that stands at each position, and whether one does."""
        cells = self.source.cells[self.first[:, None] + np.arange(self.count)]
        cells = cells - self.span.start[:, None]
        return cells, (cells >= 0) & (cells < self.span.length)


def _gather(clean: Tensor, rows: tuple[np.ndarray, int], cols: tuple[np.ndarray, int]) -> Tensor:
    """(B, rows, cols, C): a rectangle of one (1, C, P, Q) map for each sample."""
    (top, height), (left, width) = rows, cols
    _, channels, full_height, full_width = clean.shape
    flat = clean.permute(0, 2, 3, 1).reshape(-1)
    # One entry for each run of ``width`` cells: they overlap, nothing is copied.
    runs = flat.as_strided((full_height * full_width - width + 1, width * channels), (channels, 1))
    begin = (top[:, None] + np.arange(height)) * full_width + left[:, None]
    begin = torch.from_numpy(begin.reshape(-1)).to(clean.device)
    return runs.index_select(0, begin).view(len(top), height, width, channels)


def run_on_plain_tensors(func: Callable, *args: Any, **kwargs: Any) -> Any:
    """Run a function on the whole maps."""
    first = args[0] if args else None
    if isinstance(first, WindowedTensor) and writes_in_place(func, kwargs):
        raise NotFollowed(f'{name_of(func)} writes in place')
    windowed = find((args, kwargs), WindowedTensor)
    graph = windowed[0].graph
    graph.fallbacks.add(name_of(func))
    for value in windowed:
        graph.mark_used_outside(value.clean)
    args, kwargs = replace((args, kwargs), WindowedTensor, WindowedTensor.dense)
    return func(*args, **kwargs)


def run_whole(func: Callable, *args: Any, **kwargs: Any) -> Any:
    """Run a function that makes maps of maps on the whole maps.

    Returns:
        A :class:`WindowedTensor` of which everything has changed, so that what follows stays counted; the
        plain result where that is not a batch of maps.
    """
    values = find((args, kwargs), WindowedTensor)
    graph = values[0].graph

    def run(of: Callable[[WindowedTensor], Tensor]) -> Any:
        own_args, own_kwargs = replace((args, kwargs), WindowedTensor, of)
        return func(*own_args, **own_kwargs)

    cleans = [value.clean for value in values]
    operation = graph.next_operation(func, lambda: run(lambda value: value.clean), *cleans)
    operation.reads_all = True
    is_map = operation.clean.dim() == 4 and len(operation.clean) == 1
    if is_map and graph.is_unneeded(operation):
        graph.count_macs(operation, len(values[0]), 0)
        return WindowedTensor.unchanged(operation.clean, len(values[0]), graph)
    patch = run(WindowedTensor.dense)
    graph.count_macs(operation, len(values[0]), 1)
    if not is_map:
        for value in values:
            graph.mark_used_outside(value.clean)
        return patch
    rows, cols = (Span.all_changed(len(patch), size) for size in operation.clean.shape[-2:])
    return WindowedTensor(operation.clean, patch, rows, cols, graph)
