"""Head outputs on their way through post-processing: tensors that are only made where they are new."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from mindpad_mm.core.torch_functions import OF_SHAPE, replace
from mindpad_mm.incremental.geometry import Span
from mindpad_mm.incremental.windowed import WindowedTensor

_T = torch.Tensor


class LazyLevel(torch.Tensor):
    """A head output (B, C, H, W), or what MMDetection's heads make of it step by step: one image's
    level, a matrix of one row a prior, scores row by row.

    As long as nothing else is done to it, it has no memory of its own: rows are computed where the
    image's window is and copied from the clean run elsewhere, and only those that are asked for.
    For whatever else is done it becomes a plain tensor.

    Attributes:
        windowed: The head output.
        parent: The level that this was made from; None for a head output.
        step: The function that made it, and its arguments besides the parent.
        sample: Which image's, or None for all.
    """

    windowed: WindowedTensor
    parent: LazyLevel | None
    step: tuple[Callable, tuple]
    sample: int | None
    _real: Tensor | None

    @staticmethod
    def __new__(cls, windowed: WindowedTensor, shape: Iterable[int]) -> LazyLevel:
        self = torch.Tensor._make_wrapper_subclass(
            cls, tuple(shape), dtype=windowed.clean.dtype, device=windowed.clean.device
        )
        self.windowed, self.parent, self.sample = windowed, None, None
        self._real = None
        return self

    @classmethod
    def of(cls, value: WindowedTensor) -> LazyLevel:
        """The level that windows stand for."""
        return cls(value, value.shape)

    def _then(self, func: Callable, args: tuple, shape: Iterable[int]) -> LazyLevel:
        level = LazyLevel(self.windowed, shape)
        level.parent, level.step = self, (func, args)
        level.sample = args[0] if func is _T.__getitem__ and self.sample is None else self.sample
        return level

    def _follow(self, func: Callable, args: tuple) -> Any:
        """``func(self, *args)`` without becoming plain, where that is known to be possible."""
        shape, made = tuple(self.shape), self.step[0] if self.parent is not None else None
        if func is _T.detach:
            return self
        if func is _T.__getitem__ and made is None:
            of_one = type(args[0]) is int and 0 <= args[0] < shape[0]
            return self._then(func, args, shape[1:]) if of_one else NotImplemented
        if func is _T.permute and made is _T.__getitem__ and args == (1, 2, 0):
            return self._then(func, args, (shape[1], shape[2], shape[0]))
        if func is _T.reshape and made is _T.permute and args[0] == -1 and len(args) <= 2:
            columns = args[1] if len(args) == 2 else 1
            if shape[2] % columns:
                return NotImplemented
            rows = shape[0] * shape[1] * shape[2] // columns
            return self._then(func, args, (rows, columns)[: len(args)])
        if not self.is_matrix:
            return NotImplemented
        if func in _ROW_FUNCTIONS and made is _T.reshape and args == _ROW_FUNCTIONS[func]:
            return self._then(func, args, shape)
        if func is not _T.__getitem__:
            return NotImplemented
        index = args[0]
        if type(index) is tuple and index == _FOREGROUND and self.dim() == 2:
            return self._then(func, args, (shape[0], shape[1] - 1))
        if isinstance(index, Tensor) and index.dtype == torch.int64 and index.dim() == 1:
            return self.take(index)
        return NotImplemented

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Iterable[type], args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            if func in OF_SHAPE:
                return func(*args, **kwargs)
            if args and isinstance(args[0], LazyLevel) and args[0].is_lazy and not kwargs:
                result = args[0]._follow(func, args[1:])
                if result is not NotImplemented:
                    return result
            args, kwargs = replace((args, kwargs), LazyLevel, LazyLevel.real)
            return func(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = replace((args, kwargs or {}), LazyLevel, LazyLevel.real)
        return func(*args, **kwargs)

    @property
    def is_lazy(self) -> bool:
        """Whether nobody can have written into what this is made of."""
        level: LazyLevel | None = self
        while level is not None:
            if level._real is not None:
                return False
            level = level.parent
        return True

    @property
    def is_matrix(self) -> bool:
        """Whether this is a matrix of one row a prior, or one value a prior."""
        made = self.parent is not None and self.step[0]
        return made in (_T.reshape, *_ROW_FUNCTIONS) or (made is _T.__getitem__ and self.dim() < 3)

    def real(self) -> Tensor:
        """The plain tensor, the same each time: it may be written to."""
        with torch._C.DisableTorchFunctionSubclass():
            if self._real is None:
                if self.parent is None:
                    self._real = self.windowed.dense()
                elif self.step[0] in _ROW_FUNCTIONS and self.is_lazy:
                    self._real = self.take(torch.arange(len(self), device=self.device))
                else:
                    self._real = self.step[0](self.parent.real(), *self.step[1])
            return self._real

    @property
    def key(self) -> tuple:
        """What was done to the head output, the same for every image."""
        if self.parent is None or self.parent.parent is None:
            return ()
        return (*self.parent.key, (self.step[0].__name__, repr(self.step[1])))

    def _apply(self, maps: Tensor) -> Tensor:
        """What the steps make of one image's map (C, h, w)."""
        if self.parent.parent is None:
            return maps
        return self.step[0](self.parent._apply(maps), *self.step[1])

    def clean_rows(self) -> Tensor:
        """The same of the clean run; not to be written to."""
        clean = self.windowed.clean
        with torch._C.DisableTorchFunctionSubclass():
            return self.windowed.graph.cached(clean, self.key, lambda: self._apply(clean[0]))

    def new_rows_of(self, images: range) -> Tensor:
        """The rows of several images' windows, (images, N, ...)."""
        with torch._C.DisableTorchFunctionSubclass():
            return torch.vmap(self._apply)(self.windowed.patch[images.start : images.stop])

    def rows_of_new(self, sample: Tensor | int, row: Tensor) -> Tensor:
        """Which rows of the level the rows of images' windows are."""
        with torch._C.DisableTorchFunctionSubclass():
            each, width, (down, across) = self._form()
            top, left = (torch.from_numpy(span.start).to(row.device) for span in (down, across))
            cell, prior = row // each, row % each
            y, x = cell // across.length + top[sample], cell % across.length + left[sample]
            return (y * width + x) * each + prior

    def outside(self, rows: Tensor) -> Tensor:
        """(B, N) bool: which of (N,) rows of the level lie outside of each image's window."""
        with torch._C.DisableTorchFunctionSubclass():
            each, width, spans = self._form()
            down, across = (torch.from_numpy(span.covered).to(rows.device) for span in spans)
            cell = rows // each
            return ~(down[:, cell // width] & across[:, cell % width])

    def take(self, rows: Tensor) -> Tensor:
        """Some rows, as a plain tensor."""
        return self.take_each([rows], self.sample)[0]

    def take_each(self, rows: list[Tensor], first: int = 0) -> list[Tensor]:
        """Some rows of the same level of each of several images, as plain tensors.

        Args:
            rows: (N,) int64 for each image.
            first: Which image is the first.
        """
        with torch._C.DisableTorchFunctionSubclass():
            counts = [len(each) for each in rows]
            image = torch.arange(len(rows)).repeat_interleave(torch.tensor(counts))
            image, row = image.to(self.device), torch.cat(rows)
            images = range(first, first + len(rows))
            if self.windowed.whole:
                return self.new_rows_of(images)[image, row].split(counts)
            taken = self.clean_rows()[row]
            if self.windowed.changed:
                row = row.where(row >= 0, row + len(self))
                new, place = self._new_among(row, first + image)
                taken[new] = self.new_rows_of(images)[image[new], place]
            return taken.split(counts)

    def _new_among(self, row: Tensor, sample: Tensor) -> tuple[Tensor, Tensor]:
        """Which of (N,) rows lie in the windows of their images, and which rows there they are."""
        each, width, (down, across) = self._form()
        cell, prior = row // each, row % each
        top, left = (torch.from_numpy(span.start).to(row.device) for span in (down, across))
        y, x = cell // width - top[sample], cell % width - left[sample]
        new = ((y >= 0) & (y < down.length) & (x >= 0) & (x < across.length)).nonzero()[:, 0]
        return new, ((y * across.length + x) * each + prior)[new]

    def _form(self) -> tuple[int, int, tuple[Span, Span]]:
        """Rows a cell, the width of the map, and where the windows lie."""
        window = self.windowed
        height, width = window.clean.shape[-2:]
        return len(self) // (height * width), width, (window.rows, window.cols)


def as_lazy_levels(outputs: Any) -> Any:
    """What a head gives, nested as it is, with levels for windows."""
    return tree_map(
        lambda value: LazyLevel.of(value) if isinstance(value, WindowedTensor) else value, outputs
    )


# Functions that make scores of a matrix row by row, and the scores of all but the background.
_ROW_FUNCTIONS = {_T.softmax: (-1,), _T.sigmoid: ()}
_FOREGROUND = (slice(None), slice(None, -1))
