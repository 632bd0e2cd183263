"""A batch of feature maps that equal one clean map outside a window each, as a tensor for modules."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mindpad_mm.core.torch_functions import OF_SHAPE, find, name_of, replace, writes_in_place
from mindpad_mm.incremental.geometry import Source, Span
from mindpad_mm.incremental.graph import NotFollowed, OperationGraph

Handler = Callable[..., Any]

HANDLERS: dict[Callable, Handler] = {}
"""The handler that runs each torch function on windows, called as ``handler(func, *args, **kwargs)``.
A handler that cannot run a call on windows returns ``NotImplemented``."""


def handles(*functions: Callable) -> Callable[[Handler], Handler]:
    """Decorator: the handler runs these torch functions."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(functions, handler))
        return handler

    return register


class WindowedTensor(torch.Tensor):
    """B feature maps that equal one clean map outside a window each.

    Modules see a (B, C, H, W) tensor. Only the windows are stored.

    Attributes:
        clean: (1, C, H, W), the clean map, channels last. Shared; never written to.
        patch: (B, C, h, w), the values in the windows.
        rows, cols: The dirty regions and windows along each axis.
        graph: The clean run that ``clean`` belongs to.
        is_view: Whether another windowed tensor shares a part of these maps. Then in-place
            operations are refused, because the other tensor would not show them.
        owned: Whether no other tensor uses the memory of ``patch``. Then in-place operations may write
            there, unless ``is_view``.
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
        """The clean map with one patch in each image, top-left cells at ``corners`` (B, 2) (row, col)."""
        rows, cols = (
            Span.around(corners[:, axis], corners[:, axis] + length, size)
            for axis, (length, size) in enumerate(zip(patch.shape[-2:], clean.shape[-2:]))
        )
        return cls(clean, patch, rows, cols, graph)

    @classmethod
    def all_clean(cls, clean: Tensor, batch: int, graph: OperationGraph) -> WindowedTensor:
        """Maps that equal the clean map, or of which no cell is needed."""
        rows, cols = (Span.all_clean(batch, size) for size in clean.shape[-2:])
        return cls(clean, clean[..., :1, :1].expand(batch, -1, -1, -1), rows, cols, graph)

    def become(self, other: WindowedTensor) -> WindowedTensor:
        """Take over the values of another tensor, as an in-place operation does.

        Raises:
            NotFollowed: This is a view, or the other has another shape or type.
        """
        if self.is_view or self.shape != other.shape or self.dtype != other.dtype:
            raise NotFollowed(
                'an operation writes in place to a feature map that another tensor shares'
            )
        self.clean, self.patch, self.owned = other.clean, other.patch, other.owned
        self.rows, self.cols = other.rows, other.cols
        return self

    @property
    def is_dirty(self) -> bool:
        """Whether any map has dirty cells."""
        return bool(
            (self.rows.low < self.rows.high).any() and (self.cols.low < self.cols.high).any()
        )

    @property
    def is_whole(self) -> bool:
        """Whether the windows cover the whole map."""
        with torch._C.DisableTorchFunctionSubclass():
            return self.rows.is_whole and self.cols.is_whole

    def dense(self) -> Tensor:
        """The maps as a plain tensor (B, C, H, W), channels last. May share memory with ``patch``."""
        return self.at(self.rows.whole(), self.cols.whole())

    def at(self, rows: Span, cols: Span) -> Tensor:
        """The values in other windows of the same maps, (B, C, rows.length, cols.length)."""
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
        """The values of a clean map in some windows, (B, C, rows.length, cols.length)."""
        places = (rows.start, rows.length), (cols.start, cols.length)
        return _gather(clean, *places).permute(0, 3, 1, 2)

    def read(
        self,
        clean: Tensor,
        rows: tuple[Source, np.ndarray, int],
        cols: tuple[Source, np.ndarray, int],
    ) -> Tensor:
        """Read windows of maps that are made from these maps by copying cells, for example by padding.

        Args:
            clean: (1, C, P, Q), what the operation makes of the clean map.
            rows, cols: For each axis the source of its cells, the first position (B,) to read, and
                how many positions to read.

        Returns:
            (B, C, rows read, columns read), channels last.
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
            image = np.arange(len(row))[:, None, None]
            cell = (image * self.rows.length + row[:, :, None]) * self.cols.length
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
        raise NotFollowed(f'{func} bypasses __torch_function__')

    def __repr__(self) -> str:
        with torch._C.DisableTorchFunctionSubclass():
            return f'WindowedTensor({tuple(self.shape)}, {self.rows.length} x {self.cols.length})'


class _Overlay:
    """Which of the positions that are read come from the windows, along one axis.

    Attributes:
        slices: (positions, cells of the window) if both are one slice that is the same for all images;
            else None.
    """

    def __init__(self, span: Span, source: Source, first: np.ndarray, count: int) -> None:
        self.span, self.source, self.first, self.count = span, source, first, count
        self.slices: tuple[slice, slice] | None = None
        if source.is_shift:
            shift = span.start + source.offset - first
            at = int(shift[0])
            if (shift == at).all():
                begin = max(at, 0)
                end = max(min(at + span.length, count), begin)
                self.slices = slice(begin, end), slice(begin - at, end - at)

    def cells(self) -> tuple[np.ndarray, np.ndarray]:
        """(B, count): the window's cell at each position, and whether the position has one."""
        cells = self.source.cells[self.first[:, None] + np.arange(self.count)]
        cells = cells - self.span.start[:, None]
        return cells, (cells >= 0) & (cells < self.span.length)


def _gather(clean: Tensor, rows: tuple[np.ndarray, int], cols: tuple[np.ndarray, int]) -> Tensor:
    """One rectangle of a (1, C, P, Q) map for each image, (B, rows, cols, C)."""
    (top, height), (left, width) = rows, cols
    _, channels, full_height, full_width = clean.shape
    flat = clean.permute(0, 2, 3, 1).reshape(-1)
    # Every run of ``width`` cells, as overlapping views.
    runs = flat.as_strided((full_height * full_width - width + 1, width * channels), (channels, 1))
    begin = (top[:, None] + np.arange(height)) * full_width + left[:, None]
    begin = torch.from_numpy(begin.reshape(-1)).to(clean.device)
    return runs.index_select(0, begin).view(len(top), height, width, channels)


def run_on_plain_tensors(func: Callable, *args: Any, **kwargs: Any) -> Any:
    """Run a function on whole maps; the result is plain."""
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


def run_whole(func: Callable, *args: Any, **kwargs: Any) -> WindowedTensor:
    """Run a function on whole maps and record it in the operation graph.

    The function must give feature maps. They are dirty everywhere.
    """
    values = find((args, kwargs), WindowedTensor)
    graph = values[0].graph

    def run(of: Callable[[WindowedTensor], Tensor]) -> Tensor:
        own_args, own_kwargs = replace((args, kwargs), WindowedTensor, of)
        return func(*own_args, **own_kwargs)

    cleans = [value.clean for value in values]
    operation = graph.next_operation(func, lambda: run(lambda value: value.clean), *cleans)
    operation.reads_all = True
    if graph.is_unneeded(operation):
        graph.count_macs(operation, len(values[0]), 0)
        return WindowedTensor.all_clean(operation.clean, len(values[0]), graph)
    patch = run(WindowedTensor.dense)
    graph.count_macs(operation, len(values[0]), 1)
    rows, cols = (Span.all_dirty(len(patch), size) for size in operation.clean.shape[-2:])
    return WindowedTensor(operation.clean, patch, rows, cols, graph)
