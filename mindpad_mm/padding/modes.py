"""Padding modes: which cell of the map each padded position copies.

A mode works along one axis. Convolutions, pooling, the incremental engine and the diagnosis all ask the
same object, so that they agree.

To add a padding mode:

1. Subclass :class:`PaddingMode` and write :meth:`~PaddingMode.outside`: which cell stands at a position
   beyond the border, or ``NOTHING`` for a zero.
2. Set ``arithmetic``, ``empty`` or ``reweight`` if the mode has these properties.
3. Register the class under the name that ``padding_cfg`` uses.

For example, a vertical mode for street scenes, with nothing above the map and its last row repeated
below:

>>> import torch
>>> from mindpad_mm.padding import NOTHING, PADDING_MODES, PaddingMode, get_modes, pad2d
>>> @PADDING_MODES.register_module('ground')
... class Ground(PaddingMode):
...     def outside(self, position, size):
...         return NOTHING if position < 0 else size - 1
>>> x = torch.tensor([[1.0], [2.0]])
>>> pad2d(x, get_modes(('ground', 'zeros')), (1, 2, 0, 0)).flatten().tolist()
[0.0, 1.0, 2.0, 2.0, 2.0]

In a config, import the module that registers it by ``custom_imports``, then write
``padding_cfg=dict(mode=('ground', 'zeros'))``.
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
from mindpad_mm.core.names import ModeName, ModeSpec
from mindpad_mm.padding.kernels import Window

NOTHING = -1
"""Returned by a mode instead of a cell: the padded position is empty, and convolutions read a zero."""


class ModeRegistry:
    """Padding modes by name, without MMEngine, so that padding needs only torch.

    Attributes:
        module_dict: The class of each mode, by name.
    """

    def __init__(self) -> None:
        self.module_dict: dict[str, type[PaddingMode]] = {}

    def register_module(
        self, name: str, force: bool = False
    ) -> Callable[[type[PaddingMode]], type[PaddingMode]]:
        """Class decorator that registers a padding mode.

        Args:
            name: Its name in ``padding_cfg``.
            force: Whether to replace a mode of the same name. Default: False.

        Raises:
            UserError: The name is taken and ``force`` is False.
        """

        def register(cls: type[PaddingMode]) -> type[PaddingMode]:
            if name in self.module_dict and not force:
                known = self.module_dict[name]
                raise UserError(
                    f'padding mode {name!r} is already registered, as class {known.__qualname__} of '
                    f'module {known.__module__}; choose another name, or replace it by `force=True`'
                )
            self.module_dict[name] = cls
            return cls

        return register

    def __contains__(self, name: str) -> bool:
        return name in self.module_dict


PADDING_MODES = ModeRegistry()
"""The registry of padding modes."""


class PaddingMode(abc.ABC):
    """How one axis of a map is padded. See the module's docstring for how to add a mode.

    Attributes:
        name: The registered name, with arguments if there are any.
        reweight: Whether a window's sum is scaled by kernel taps / taps on cells. Default: False.
        empty: Whether :meth:`outside` always gives ``NOTHING``, so that torch's own zero padding does
            the same. Default: False.
        arithmetic: Whether :meth:`outside` uses only arithmetic (no ``if``, ``min``, ``max``), so that it
            accepts tensors. Then a graph that was traced or exported with one map size serves all
            sizes; otherwise the size is fixed in the graph, and torch warns. Default: False.
        learns: Whether each convolution has values of its own for the copied cells, which must be
            learned first. Default: False.
    """

    name: str = ''
    reweight: bool = False
    empty: bool = False
    arithmetic: bool = False
    learns: bool = False

    @abc.abstractmethod
    def outside(self, position: int, size: int) -> int:
        """The cell that is copied to a position outside the map.

        Args:
            position: Position along the axis; the map's cells are 0 to ``size - 1``.
            size: Cells along the axis, at least 1.

        Returns:
            A cell in ``[0, size)``, or ``NOTHING``.
        """

    def padded_cells(self, size: int, before: int, after: int) -> list[tuple[int, int]]:
        """The padded positions only, each with the cell that is copied there.

        Args:
            size: Cells along the axis, at least 1.
            before: Padded positions before the first cell.
            after: Padded positions after the last cell.

        Returns:
            (position in the padded axis, cell or ``NOTHING``) pairs.

        Raises:
            ValueError: A width is negative, there is no cell, or the mode gives a cell outside the map.
        """
        if size < 1 or before < 0 or after < 0:
            raise ValueError(f'cannot pad {size} cells by ({before}, {after})')
        positions = [*range(-before, 0), *range(size, size + after)]
        cells = [(before + position, self.outside(position, size)) for position in positions]
        for _, cell in cells:
            if not NOTHING <= cell < size:
                raise ValueError(
                    f'padding mode {self!r} gives cell {cell}, which is not in [0, {size})'
                )
        return cells

    def source(self, size: int, before: int, after: int) -> np.ndarray:
        """The cell at each position of the padded axis; arguments as in :meth:`padded_cells`.

        Returns:
            (before + size + after,) int64, a cell in ``[0, size)`` or ``NOTHING``.
        """
        source = np.arange(-before, size + after)
        for position, cell in self.padded_cells(size, before, after):
            source[position] = cell
        return source

    def graph_source(
        self, size: int | Tensor, before: int, after: int, device: torch.device
    ) -> Tensor:
        """:meth:`source` as a tensor, also for a graph in which ``size`` is not a constant."""
        if self.arithmetic:
            position = torch.arange(-before, size + after, device=device)
            # torch's newer ONNX exporter cannot divide by a symbolic number, but by a tensor.
            size = torch.zeros_like(position) + size
            beyond = (position < 0) | (position >= size)
            return torch.where(beyond, self.outside(position, size), position)
        source = [*range(-before, size + after)]
        for position, cell in self.padded_cells(size, before, after):
            source[position] = cell
        return torch.tensor(source, device=device)

    def taps(self, size: int, before: int, after: int, window: Window) -> list[int]:
        """For each window along the axis, the number of its taps that read a cell, not ``NOTHING``."""
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
    """Zeros. ``numpy.pad`` calls it ``constant``."""

    empty = arithmetic = True

    def outside(self, position: int, size: int) -> int:
        return NOTHING


@PADDING_MODES.register_module(name='partial')
class Partial(Zeros):
    """Partial convolution as padding: zeros, and the sum of each window is scaled by kernel area / area
    on cells.

    Source: Liu et al., Partial Convolution based Padding, 2018 (arXiv:1811.11718).
    """

    reweight = True


@PADDING_MODES.register_module(name='reflect')
class Reflect(PaddingMode):
    """Mirrored at the centre of the last cell, which is not repeated: ``c b [a b c] b a``."""

    arithmetic = True

    def outside(self, position: int, size: int) -> int:
        last = size - 1
        period = 2 * last + (size == 1)
        return last - abs(last - position % period)


@PADDING_MODES.register_module(name='symmetric')
class Symmetric(PaddingMode):
    """Mirrored at the edge of the last cell, which is repeated: ``b a [a b c] c b``."""

    arithmetic = True

    def outside(self, position: int, size: int) -> int:
        last = 2 * size - 1
        return (last - abs(last - 2 * (position % (2 * size)))) // 2


@PADDING_MODES.register_module(name='replicate')
class Replicate(PaddingMode):
    """The last cell repeated: ``a a [a b c] c c``. ``numpy.pad`` calls it ``edge``."""

    arithmetic = True

    def outside(self, position: int, size: int) -> int:
        return (position > 0) * (size - 1)


@PADDING_MODES.register_module(name='circular')
class Circular(PaddingMode):
    """The cells of the other side: ``b c [a b c] a b``. ``numpy.pad`` calls it ``wrap``."""

    arithmetic = True

    def outside(self, position: int, size: int) -> int:
        return position % size


@PADDING_MODES.register_module(name='learned')
class Learned(Replicate):
    """The last cell repeated, times a gain, plus a constant: both learned, see
    :mod:`mindpad_mm.padding.learned`."""

    learns = True


def swappable_modes() -> list[str]:
    """The registered modes that a trained network can be swapped to: all that need not be learned."""
    return [name for name, mode in PADDING_MODES.module_dict.items() if not mode.learns]


Modes = tuple[PaddingMode, PaddingMode]
"""The (vertical, horizontal) modes."""


@functools.cache
def _named_mode(cls: type, name: str) -> PaddingMode:
    mode = cls()
    mode.name = name
    return mode


def get_mode(spec: ModeName) -> PaddingMode:
    """The mode of one axis.

    Raises:
        UserError: The name is not registered, or the mode does not take the arguments.
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
    """The modes of both axes.

    Raises:
        UserError: ``spec`` is neither a mode nor a pair, or a mode is unknown.
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


def modes_to_swap_to(spec: ModeSpec) -> Modes:
    """:func:`get_modes` for a trained network, which has no learned values.

    Raises:
        UserError: As :func:`get_modes`, or a mode must be learned first.
    """
    modes = get_modes(spec)
    if any(mode.learns for mode in modes):
        raise UserError(
            f'padding mode {describe(modes)!r} must be learned first: run `mindpad adapt`, and measure '
            f'the config and checkpoint that it writes'
        )
    return modes


def describe(modes: Modes) -> str:
    """The modes as text: ``'reflect'``, or ``'reflect/circular'`` if they differ."""
    vertical, horizontal = map(repr, modes)
    return vertical if vertical == horizontal else f'{vertical}/{horizontal}'
