"""A batch of feature maps that are alike but for a window each, as a tensor that modules can run on."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, Tuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from mindpad_mm.scan.incremental.geometry import Source, Span
from mindpad_mm.scan.incremental.tape import Tape

Handler = Callable[..., Any]

HANDLERS: Dict[Callable, Handler] = {}
"""From a torch function to what runs it on windows: ``handler(func, *args, **kwargs)``. A handler
that cannot run a call on windows returns ``NotImplemented``."""


def handles(*functions: Callable) -> Callable[[Handler], Handler]:
    """Decorator: this handler runs these functions."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(functions, handler))
        return handler

    return register


class NotFollowed(Exception):
    """An operation changed a tensor in a way that windows cannot follow."""


class Windowed(torch.Tensor):
    """B maps that equal one clean map outside a window each.

    To the modules it runs through it is a (B, C, H, W) tensor; it has no memory of its own.

    Attributes:
        clean: (1, C, H, W), channels last. Shared and never written to.
        patch: (B, C, h, w), what stands in the windows.
        rows, cols: Where the windows lie.
        tape: The clean run that ``clean`` belongs to.
    """

    clean: Tensor
    patch: Tensor
    rows: Span
    cols: Span
    tape: Tape
    is_view: bool

    @staticmethod
    def __new__(
        cls, clean: Tensor, patch: Tensor, rows: Span, cols: Span, tape: Tape, is_view: bool = False
    ) -> Windowed:
        shape = (patch.shape[0], *clean.shape[1:])
        self = torch.Tensor._make_wrapper_subclass(
            cls, shape, dtype=clean.dtype, device=clean.device
        )
        self.clean, self.patch, self.rows, self.cols = clean, patch, rows, cols
        self.tape = tape
        self.is_view = is_view
        return self

    def become(self, other: Windowed) -> Windowed:
        """Take over the content of another, as an operation in place does."""
        if self.is_view or self.shape != other.shape or self.dtype != other.dtype:
            raise NotFollowed('an operation in place on a part of a map')
        self.clean, self.patch = other.clean, other.patch
        self.rows, self.cols = other.rows, other.cols
        return self

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
            batch, height, width, channels = region.shape
            inside = down.inside[:, :, None] & across.inside[:, None, :]
            place = np.flatnonzero(inside)
            sample = np.arange(batch)[:, None, None]
            cell = (sample * self.rows.length + down.local[:, :, None]) * self.cols.length
            cell = (cell + across.local[:, None, :])[inside]
            place, cell = (torch.from_numpy(i).to(region.device) for i in (place, cell))
            patch = patch.reshape(-1, channels).index_select(0, cell)
            region.view(-1, channels).index_copy_(0, place, patch)
            return region.permute(0, 3, 1, 2)

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Iterable[type], args: Tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _OF_SHAPE:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        handler = HANDLERS.get(func)
        if handler is not None:
            result = handler(func, *args, **kwargs)
            if result is not NotImplemented:
                return result
        return run_dense(func, *args, **kwargs)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise NotFollowed(f'{func} went past the windows')

    def __repr__(self) -> str:
        with torch._C.DisableTorchFunctionSubclass():
            return f'Windowed({tuple(self.shape)}, {self.rows.length} x {self.cols.length})'


class _Overlay:
    """Where the windows of a batch land in what is read, along one axis.

    Attributes:
        slices: (positions, window cells) if they are runs, the same for all samples; else None.
        local: (B, count) the cell of the window that stands at each position read.
        inside: (B, count) whether one does.
    """

    def __init__(self, span: Span, source: Source, first: np.ndarray, count: int) -> None:
        self.slices = None
        if source.is_shift:
            shift = span.start + source.offset - first
            if (shift == shift[0]).all():
                at = int(shift[0])
                begin, end = max(at, 0), min(at + span.length, count)
                # Cells of the window must not land beyond the map, where nothing stands.
                self.slices = slice(begin, end), slice(begin - at, end - at)
        if self.slices is None or not source.is_shift:
            self.slices = None
        self._lazy = span, source, first, count

    @property
    def local(self) -> np.ndarray:
        span, source, first, count = self._lazy
        return source.cells[first[:, None] + np.arange(count)] - span.start[:, None]

    @property
    def inside(self) -> np.ndarray:
        local = self.local
        return (local >= 0) & (local < self._lazy[0].length)


def _gather(
    clean: Tensor, rows: tuple[np.ndarray, int], cols: tuple[np.ndarray, int]
) -> Tensor:
    """(B, rows, cols, C): a rectangle of one (1, C, P, Q) map for each sample."""
    (top, height), (left, width) = rows, cols
    _, channels, full_height, full_width = clean.shape
    flat = clean.permute(0, 2, 3, 1).reshape(-1)
    # One entry for each run of ``width`` cells: they overlap, nothing is copied.
    runs = flat.as_strided((full_height * full_width - width + 1, width * channels), (channels, 1))
    begin = (top[:, None] + np.arange(height)) * full_width + left[:, None]
    begin = torch.from_numpy(begin.reshape(-1)).to(clean.device)
    return runs.index_select(0, begin).view(len(top), height, width, channels)


def run_dense(func: Callable, *args: Any, **kwargs: Any) -> Any:
    """Run a function on the whole maps."""
    first = args[0] if args else None
    if isinstance(first, Windowed) and writes_in_place(func, kwargs):
        raise NotFollowed(f'{name_of(func)} writes in place')
    tapes = []

    def dense(value: Any) -> Any:
        if isinstance(value, Windowed):
            tapes.append(value.tape)
            return value.dense()
        return value

    args, kwargs = tree_map(dense, (args, kwargs))
    tapes[0].fallbacks.add(name_of(func))
    return func(*args, **kwargs)


def name_of(func: Callable) -> str:
    """A torch function's name for a person to read."""
    return getattr(func, '__qualname__', None) or repr(func)


def writes_in_place(func: Callable, kwargs: dict[str, Any]) -> bool:
    """Whether a call writes to its first argument."""
    name = getattr(func, '__name__', '')
    by_name = name.endswith('_') and not name.endswith('__')
    return by_name or name in _DUNDERS_IN_PLACE or bool(kwargs.get('inplace'))


_DUNDERS_IN_PLACE = {'__setitem__', '__iadd__', '__isub__', '__imul__', '__itruediv__', '__ipow__'}

_T = torch.Tensor
_OF_SHAPE = {
    _T.size, _T.dim, _T.ndimension, _T.numel, _T.nelement, _T.is_floating_point, _T.is_complex,
    _T.is_contiguous, _T.stride, _T.__len__, _T.get_device, _T.__repr__, _T.__hash__,
    torch.is_floating_point, torch.is_complex, torch.numel,
}  # fmt: skip
for _name in (
    'shape', 'ndim', 'dtype', 'device', 'layout', 'requires_grad', 'is_cuda', 'is_cpu', 'is_meta',
    'is_sparse', 'is_quantized', 'is_mkldnn', 'is_leaf', 'grad_fn', 'names',
):  # fmt: skip
    if hasattr(getattr(_T, _name, None), '__get__'):
        _OF_SHAPE.add(getattr(_T, _name).__get__)
