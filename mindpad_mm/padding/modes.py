"""Padding modes: where each padded cell comes from.

A mode answers one question for one axis: which cell of the map stands at each position of the padded
map. Layers, pooling and every analysis ask the same object, so that all of them mean the same thing.
"""

from __future__ import annotations

import abc
import difflib
import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from mindpad_mm.core.errors import UserError
from mindpad_mm.padding.windows import Window

NOTHING = -1
"""In a mode's answer: no cell stands here, the convolution sees a zero."""


class ModeRegistry:
    """Padding modes by name. It needs no MMEngine, so that padding works with torch alone.

    Attributes:
        module_dict: From a name to the class of the mode.
    """

    def __init__(self) -> None:
        self.module_dict: dict[str, type[PaddingMode]] = {}

    def register_module(
        self, name: str, force: bool = False
    ) -> Callable[[type[PaddingMode]], type[PaddingMode]]:
        """Class decorator: the class is the mode of this name.

        Args:
            name: As in ``padding_cfg``.
            force: Whether it may replace another class of the same name. Default: False.

        Raises:
            KeyError: The name is taken.
        """

        def register(cls: type[PaddingMode]) -> type[PaddingMode]:
            if name in self.module_dict and not force:
                raise KeyError(f'padding mode {name!r} is already registered')
            self.module_dict[name] = cls
            return cls

        return register

    def __contains__(self, name: str) -> bool:
        return name in self.module_dict


PADDING_MODES = ModeRegistry()
"""Padding modes by name. A config's ``custom_imports`` can register further ones."""


class PaddingMode(abc.ABC):
    """What one axis of a map continues with beyond its border.

    Subclasses implement :meth:`outside`. Register one with ``@PADDING_MODES.register_module(name=...)``
    and it can be named in any ``padding_cfg``.
    """

    name: str = ''
    reweight: bool = False
    """Whether a window's sum is scaled by (kernel taps) / (taps on real cells) along this axis."""
    empty: bool = False
    """Whether nothing at all stands beyond the border, so that a convolution's own zeros will do."""
    arithmetic: bool = False
    """Whether :meth:`outside` calculates and never branches (no ``if``, ``min``, ``max``). Then it takes
    tensors as well, and a graph (``torch.jit.trace``, ONNX) taken of a map of one size serves every size;
    else it bakes the size in, and torch warns."""

    @abc.abstractmethod
    def outside(self, position: int, size: int) -> int:
        """The cell that stands at a position outside the map.

        Args:
            position: Position along the axis, < 0 or >= ``size``.
            size: Cells along the axis, at least 1.

        Returns:
            An index in ``[0, size)``, or ``NOTHING``.
        """

    def padded_cells(self, size: int, before: int, after: int) -> list[tuple[int, int]]:
        """(position in the padded axis, cell that stands there or ``NOTHING``), padded positions only.

        Args:
            size: Cells along the axis, at least 1.
            before: Padded positions before the first cell.
            after: Padded positions after the last.
        """
        if size < 1 or before < 0 or after < 0:
            raise ValueError(f'cannot pad {size} cells by ({before}, {after})')
        positions = [*range(-before, 0), *range(size, size + after)]
        cells = [(before + position, self.outside(position, size)) for position in positions]
        for _, cell in cells:
            if not NOTHING <= cell < size:
                raise ValueError(f'padding mode {self!r} names cell {cell} outside [0, {size})')
        return cells

    def source(self, size: int, before: int, after: int) -> np.ndarray:
        """The cell that stands at each position of the padded axis.

        Returns:
            int64 array of length ``before + size + after``: an index in ``[0, size)`` or ``NOTHING``.
        """
        source = np.arange(-before, size + after)
        for position, cell in self.padded_cells(size, before, after):
            source[position] = cell
        return source

    def graph_source(
        self, size: int | Tensor, before: int, after: int, device: torch.device
    ) -> Tensor:
        """:meth:`source` for a graph, where ``size`` may be known only when the graph runs."""
        if self.arithmetic:
            position = torch.arange(-before, size + after, device=device)
            # torch's newer ONNX exporter divides by no number that is known only later, but by a tensor.
            size = torch.zeros_like(position) + size
            beyond = (position < 0) | (position >= size)
            return torch.where(beyond, self.outside(position, size), position)
        source = [*range(-before, size + after)]
        for position, cell in self.padded_cells(size, before, after):
            source[position] = cell
        return torch.tensor(source, device=device)

    def taps(self, size: int, before: int, after: int, window: Window) -> list[int]:
        """For each window along the axis, how many of its taps stand on a cell (not on nothing)."""
        nothing = [
            position for position, cell in self.padded_cells(size, before, after) if cell == NOTHING
        ]
        windows = window.fits(before + size + after)
        taps = [window.kernel] * windows
        for position in nothing:
            for tap in range(window.kernel):
                at, remainder = divmod(position - window.dilation * tap, window.stride)
                if not remainder and 0 <= at < windows:
                    taps[at] -= 1
        return taps

    def __repr__(self) -> str:
        return self.name or type(self).__name__


@PADDING_MODES.register_module(name='zeros')
class Zeros(PaddingMode):
    """Nothing beyond the border. ``numpy.pad`` mode ``constant``; torch ``zeros``."""

    empty = arithmetic = True

    def outside(self, position: int, size: int) -> int:
        return NOTHING


@PADDING_MODES.register_module(name='partial')
class Partial(Zeros):
    """Partial convolution as padding: nothing beyond the border, and windows that reach there are
    scaled up to the full kernel area, so that a constant map stays constant.

    Source: Liu et al., Partial Convolution based Padding, 2018 (arXiv 1811.11718).
    """

    reweight = True


@PADDING_MODES.register_module(name='reflect')
class Reflect(PaddingMode):
    """A mirror on the last cell's centre, which is not repeated: ``c b [a b c] b a``."""

    arithmetic = True

    def outside(self, position: int, size: int) -> int:
        last = size - 1
        period = 2 * last + (size == 1)
        return last - abs(last - position % period)


@PADDING_MODES.register_module(name='symmetric')
class Symmetric(PaddingMode):
    """A mirror on the last cell's edge, which repeats it: ``b a [a b c] c b``."""

    arithmetic = True

    def outside(self, position: int, size: int) -> int:
        last = 2 * size - 1
        return (last - abs(last - 2 * (position % (2 * size)))) // 2


@PADDING_MODES.register_module(name='replicate')
class Replicate(PaddingMode):
    """The last cell again and again. ``numpy.pad`` mode ``edge``."""

    arithmetic = True

    def outside(self, position: int, size: int) -> int:
        return (position > 0) * (size - 1)


@PADDING_MODES.register_module(name='circular')
class Circular(PaddingMode):
    """The other side of the map. ``numpy.pad`` mode ``wrap``."""

    arithmetic = True

    def outside(self, position: int, size: int) -> int:
        return position % size


ModeName = str | Mapping
ModeSpec = ModeName | Sequence[ModeName]
Modes = tuple[PaddingMode, PaddingMode]


@functools.cache
def _named_mode(cls: type, name: str) -> PaddingMode:
    mode = cls()
    mode.name = name
    return mode


def get_mode(spec: ModeName) -> PaddingMode:
    """The mode of one axis.

    Args:
        spec: A registered name, or a dict whose ``type`` is one and whose other items are its arguments.

    Raises:
        UserError: The name is not registered, or its arguments do not fit.
    """
    arguments = dict(spec) if isinstance(spec, Mapping) else {'type': spec}
    name = arguments.pop('type', None)
    cls = PADDING_MODES.module_dict.get(name) if isinstance(name, str) else None
    if cls is None:
        known = sorted(PADDING_MODES.module_dict)
        close = difflib.get_close_matches(str(name), known, n=1)
        hint = f' (did you mean {close[0]!r}?)' if close else ''
        raise UserError(
            f'unknown padding mode {name!r}{hint}; choose one of {", ".join(known)}, '
            'or a (vertical, horizontal) pair of them'
        )
    try:
        if not arguments:
            return _named_mode(cls, name)
        mode = cls(**arguments)
    except TypeError as error:
        raise UserError(f'padding mode {name!r} does not take these arguments: {error}') from error
    mode.name = f'{name}({", ".join(f"{key}={value}" for key, value in arguments.items())})'
    return mode


def get_modes(spec: ModeSpec) -> Modes:
    """The (vertical, horizontal) modes of a specification: one mode for both, or a pair.

    Raises:
        UserError: It is neither, or names an unknown mode.
    """
    if isinstance(spec, (str, Mapping)):
        return (get_mode(spec),) * 2
    if isinstance(spec, Sequence) and len(spec) == 2:
        vertical, horizontal = spec
        return get_mode(vertical), get_mode(horizontal)
    raise UserError(
        f'padding mode {spec!r} is neither a name nor a (vertical, horizontal) pair; '
        f'names are {", ".join(sorted(PADDING_MODES.module_dict))}'
    )


def parse_modes(text: str) -> ModeSpec:
    """The specification in what :func:`describe` gives."""
    return tuple(text.split('/')) if '/' in text else text


def describe(modes: Modes) -> str:
    """``'reflect'``, or ``'reflect/circular'`` where the vertical and the horizontal differ."""
    vertical, horizontal = map(repr, modes)
    return vertical if vertical == horizontal else f'{vertical}/{horizontal}'
