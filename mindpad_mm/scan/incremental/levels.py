"""Head outputs on their way through post-processing: plain tensors whose scores are not all new."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Iterable

import torch
from torch import Tensor

from mindpad_mm.scan.incremental.nested import replace
from mindpad_mm.scan.incremental.tape import Tape
from mindpad_mm.scan.incremental.windowed import OF_SHAPE, Windowed

_T = torch.Tensor


@dataclass
class _Origin:
    """What a level's cells are like outside the windows.

    Attributes:
        clean: (1, C, H, W).
        rows, cols: Each sample's window, as slices.
        pure: Whether nobody can have written into the level.
    """

    clean: Tensor
    tape: Tape
    rows: list[slice]
    cols: list[slice]
    pure: bool = True


class Level(torch.Tensor):
    """A (B, C, H, W) head output, channels last, which remembers where it is new.

    MMDetection's heads take one image's level, turn it into a matrix of one row a prior, and make
    scores of that, row by row. Here the scores of unchanged rows are copied from the clean run.
    Whatever else is done to a level is done to a plain tensor.
    """

    origin: _Origin
    sample: int | None
    as_rows: bool

    @staticmethod
    def of(value: Windowed) -> Tensor:
        """The level that windows stand for."""
        dense = value.dense()
        if value.whole:
            return dense
        rows, cols = (
            [slice(start, start + span.length) for start in span.start.tolist()]
            for span in (value.rows, value.cols)
        )
        return _level(dense, _Origin(value.clean, value.tape, rows, cols), None, False)

    def follows(self, func: Callable, args: tuple) -> bool:
        """Whether ``func(self, *args)`` is a step from all images' maps to one image's rows."""
        if func is _T.detach:
            return True
        if func is _T.__getitem__:
            return self.sample is None and type(args[0]) is int
        if func is _T.permute:
            return self.sample is not None and self.dim() == 3 and args == (1, 2, 0)
        rows = self.as_rows and self.dim() == 3 and func is _T.reshape
        return rows and len(args) == 2 and args[0] == -1

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Iterable[type], args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        level = args[0] if args and isinstance(args[0], Level) else None
        with torch._C.DisableTorchFunctionSubclass():
            if level is not None and level.origin.pure and not kwargs:
                if level.as_rows and level.dim() == 2 and (func, args[1:]) in _BY_ROWS:
                    return _scores(level, func, *args[1:])
                if level.follows(func, args[1:]):
                    sample = args[1] if func is _T.__getitem__ else level.sample
                    as_rows = level.as_rows or func is _T.permute
                    return _level(func(*args), level.origin, sample, as_rows)
            plain = _plain if func in OF_SHAPE else _spoilt
            args, kwargs = replace((args, kwargs), Level, plain)
            return func(*args, **kwargs)


def _plain(level: Level) -> Tensor:
    return torch.Tensor.as_subclass(level, torch.Tensor)


def _spoilt(level: Level) -> Tensor:
    """The plain tensor, of which views may now be about."""
    level.origin.pure = False
    return _plain(level)


# Functions that make scores of a matrix row by row.
_BY_ROWS = {(_T.softmax, (-1,)), (_T.sigmoid, ())}


def _level(data: Tensor, origin: _Origin, sample: int | None, as_rows: bool) -> Level:
    level = torch.Tensor.as_subclass(data, Level)
    level.origin, level.sample, level.as_rows = origin, sample, as_rows
    return level


def _scores(level: Level, func: Callable, *args: Any) -> Tensor:
    """``func`` of a matrix of rows, computed where the sample is new."""
    origin, columns = level.origin, level.shape[1]
    _, channels, height, width = origin.clean.shape
    shape = height, width, channels // columns, columns
    clean = origin.tape.continued(
        origin.clean,
        (func, args, columns),
        lambda: func(origin.clean.permute(0, 2, 3, 1).reshape(-1, columns), *args),
    )
    scores = clean.clone()
    window = origin.rows[level.sample], origin.cols[level.sample]
    new = _plain(level).view(shape)[window]
    scores.view(shape)[window] = func(new, *args)
    return scores
