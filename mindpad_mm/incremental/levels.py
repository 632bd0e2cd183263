"""Head outputs in post-processing: tensors that compute only the rows that are read."""

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
    """A head output (B, C, H, W), or what MMDetection's heads derive from it.

    The steps that stay lazy are: one image's map, a matrix with one row for each prior, and the scores
    of that matrix. Only rows that are read are computed: from the window if they lie there, else they
    are copied from the clean run. Any other use turns the level into a plain tensor.

    Attributes:
        windowed: The head output.
        parent: The level that this one was derived from; None for a head output.
        step: The torch function that derived it, and the arguments after the parent; not set for a head
            output.
        image: Index of the image in the batch; not set for a head output.
    """

    windowed: WindowedTensor
    parent: LazyLevel | None
    step: tuple[Callable, tuple]
    image: int
    _real: Tensor | None

    @staticmethod
    def __new__(cls, windowed: WindowedTensor, shape: Iterable[int]) -> LazyLevel:
        self = torch.Tensor._make_wrapper_subclass(
            cls, tuple(shape), dtype=windowed.clean.dtype, device=windowed.clean.device
        )
        self.windowed, self.parent = windowed, None
        self._real = None
        return self

    @classmethod
    def of(cls, value: WindowedTensor) -> LazyLevel:
        """The level of a head output."""
        return cls(value, value.shape)

    def _derived(self, func: Callable, args: tuple, shape: Iterable[int]) -> LazyLevel:
        level = LazyLevel(self.windowed, shape)
        level.parent, level.step = self, (func, args)
        level.image = args[0] if self.parent is None else self.image
        return level

    def _lazy_step(self, func: Callable, args: tuple) -> Any:
        """``func(self, *args)`` if that can stay lazy, or is a read of rows; else ``NotImplemented``."""
        shape, made = tuple(self.shape), self.step[0] if self.parent is not None else None
        if func is _T.detach:
            return self
        if func is _T.__getitem__ and made is None:
            of_one = type(args[0]) is int and 0 <= args[0] < shape[0]
            return self._derived(func, args, shape[1:]) if of_one else NotImplemented
        if func is _T.permute and made is _T.__getitem__ and args == (1, 2, 0):
            return self._derived(func, args, (shape[1], shape[2], shape[0]))
        if func is _T.reshape and made is _T.permute and args[0] == -1 and len(args) <= 2:
            columns = args[1] if len(args) == 2 else 1
            if shape[2] % columns:
                return NotImplemented
            rows = shape[0] * shape[1] * shape[2] // columns
            return self._derived(func, args, (rows, columns)[: len(args)])
        if not self.is_matrix:
            return NotImplemented
        if func in _ROW_FUNCTIONS and made is _T.reshape and args == _ROW_FUNCTIONS[func]:
            return self._derived(func, args, shape)
        if func is not _T.__getitem__:
            return NotImplemented
        index = args[0]
        if type(index) is tuple and index == _FOREGROUND and self.dim() == 2:
            return self._derived(func, args, (shape[0], shape[1] - 1))
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
                result = args[0]._lazy_step(func, args[1:])
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
        """Whether neither this level nor one it derives from became plain, and so could be written to."""
        level: LazyLevel | None = self
        while level is not None:
            if level._real is not None:
                return False
            level = level.parent
        return True

    @property
    def is_matrix(self) -> bool:
        """Whether this has one row, or one value, for each prior."""
        made = self.parent is not None and self.step[0]
        return made in (_T.reshape, *_ROW_FUNCTIONS) or (made is _T.__getitem__ and self.dim() < 3)

    def real(self) -> Tensor:
        """The plain tensor. It is the same at every call, so the caller may write to it."""
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
        """Identifies the steps from the head output to this level; the same for every image."""
        if self.parent is None or self.parent.parent is None:
            return ()
        return (*self.parent.key, (self.step[0].__name__, repr(self.step[1])))

    def _apply(self, maps: Tensor) -> Tensor:
        """Apply the steps to one image's map (C, h, w)."""
        if self.parent is None or self.parent.parent is None:
            return maps
        return self.step[0](self.parent._apply(maps), *self.step[1])

    def clean_rows(self) -> Tensor:
        """All rows of the clean run. The caller must not write to them."""
        clean = self.windowed.clean
        with torch._C.DisableTorchFunctionSubclass():
            return self.windowed.graph.cached(clean, self.key, lambda: self._apply(clean[0]))

    def window_rows(self, images: range) -> Tensor:
        """The rows of the windows of some images, (images, N, ...)."""
        with torch._C.DisableTorchFunctionSubclass():
            return torch.vmap(self._apply)(self.windowed.patch[images.start : images.stop])

    def all_rows(self) -> Tensor:
        """All rows of all images, (B, N, ...). The caller must not write to them."""
        with torch._C.DisableTorchFunctionSubclass():
            return self._merged(self.clean_rows(), self.window_rows(range(len(self.windowed))))

    def best_columns(self) -> tuple[Tensor, Tensor]:
        """The largest value of each row of all images, (B, N), and its column."""
        clean = self.windowed.clean
        with torch._C.DisableTorchFunctionSubclass():
            known = self.windowed.graph.cached(
                clean, (*self.key, 'best'), lambda: self.clean_rows().max(-1)
            )
            new = self.window_rows(range(len(self.windowed))).max(-1)
            best, column = (self._merged(*each) for each in zip(known, new))
            return best, column

    def _merged(self, clean: Tensor, new: Tensor) -> Tensor:
        """Values of all rows (B, N, ...), given those of the clean run and of the windows."""
        batch = len(self.windowed)
        if not self.windowed.is_dirty:
            return clean.expand(batch, *clean.shape)
        if self.windowed.is_whole:
            return new
        merged = clean.repeat(batch, *[1] * clean.dim())
        image = torch.arange(batch, device=clean.device)[:, None]
        row = torch.arange(new.shape[1], device=clean.device)
        merged[image, self.level_rows(image, row)] = new
        return merged

    def level_rows(self, image: Tensor | int, row: Tensor) -> Tensor:
        """Indices in the level of rows of windows.

        Args:
            image: (N,) the images, or one image.
            row: (N,) indices in the window.
        """
        with torch._C.DisableTorchFunctionSubclass():
            each, width, (down, across) = self._layout()
            top, left = (torch.from_numpy(span.start).to(row.device) for span in (down, across))
            cell, prior = row // each, row % each
            y, x = cell // across.length + top[image], cell % across.length + left[image]
            return (y * width + x) * each + prior

    def outside(self, rows: Tensor) -> Tensor:
        """(B, N) bool: which of (N,) rows of the level lie outside each image's window."""
        with torch._C.DisableTorchFunctionSubclass():
            each, width, spans = self._layout()
            down, across = (torch.from_numpy(span.covered).to(rows.device) for span in spans)
            cell = rows // each
            return ~(down[:, cell // width] & across[:, cell % width])

    def take(self, rows: Tensor) -> Tensor:
        """Some rows of one image's level (N,), as a plain tensor of its own."""
        return self.take_each([rows], self.image)[0]

    def take_each(self, rows: list[Tensor], first: int = 0) -> list[Tensor]:
        """Some rows of the same level for consecutive images, as plain tensors.

        Args:
            rows: (N,) int64 row indices for each image.
            first: Index of the first image in the batch.
        """
        with torch._C.DisableTorchFunctionSubclass():
            counts = [len(each) for each in rows]
            image = torch.arange(len(rows)).repeat_interleave(torch.tensor(counts))
            return self.take_at(image.to(self.device) + first, torch.cat(rows)).split(counts)

    def take_at(self, image: Tensor, row: Tensor) -> Tensor:
        """Rows of the same level in any images, as a plain tensor.

        Args:
            image: (N,) int64 index of each row's image in the batch, ascending.
            row: (N,) int64 row indices.
        """
        with torch._C.DisableTorchFunctionSubclass():
            if not len(image):
                return self.clean_rows()[row]
            first = int(image[0])
            images = range(first, int(image[-1]) + 1)
            if self.windowed.is_whole:
                return self.window_rows(images)[image - first, row]
            taken = self.clean_rows()[row]
            if self.windowed.is_dirty:
                row = row.where(row >= 0, row + len(self))
                inside, place = self._rows_in_windows(row, image)
                taken[inside] = self.window_rows(images)[image[inside] - first, place]
            return taken

    def _rows_in_windows(self, row: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Which of (N,) rows of the level lie in their image's window, and their indices there."""
        each, width, (down, across) = self._layout()
        cell, prior = row // each, row % each
        top, left = (torch.from_numpy(span.start).to(row.device) for span in (down, across))
        y, x = cell // width - top[image], cell % width - left[image]
        inside = ((y >= 0) & (y < down.length) & (x >= 0) & (x < across.length)).nonzero()[:, 0]
        return inside, ((y * across.length + x) * each + prior)[inside]

    def _layout(self) -> tuple[int, int, tuple[Span, Span]]:
        """Rows per cell, the map's width in cells, and the (vertical, horizontal) spans."""
        window = self.windowed
        height, width = window.clean.shape[-2:]
        return len(self) // (height * width), width, (window.rows, window.cols)


def as_lazy_levels(outputs: Any) -> Any:
    """The outputs of a head, nested as they are, with lazy levels in place of windowed tensors."""
    return tree_map(
        lambda value: LazyLevel.of(value) if isinstance(value, WindowedTensor) else value, outputs
    )


# Row-wise score functions with their arguments.
_ROW_FUNCTIONS = {_T.softmax: (-1,), _T.sigmoid: ()}
# The index ``[:, :-1]``: the scores of all classes but the background.
_FOREGROUND = (slice(None), slice(None, -1))
