"""Layers that continue their input by a mode instead of by zeros.

A swap changes a layer's class and nothing else: the same object keeps its parameters, buffers, hooks
and every reference to it, so shared layers stay shared and state dicts stay as they were. How padding
enters a layer depends on which ``forward`` it runs; that is what :data:`PADDED` is keyed by, and
subclasses that inherit a ``forward`` are served with it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import SupportsIndex

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils.parametrize import is_parametrized, type_before_parametrizations

from mindpad_mm.padding.convolution import Convolution
from mindpad_mm.padding.functional import pad2d, padded_conv2d
from mindpad_mm.padding.modes import Modes, describe
from mindpad_mm.padding.windows import Pads, Windows, by_axis, get_pads, get_windows, pool_extent

PADDED: dict[Callable, type[PaddedLayer]] = {}
"""From a layer's ``forward`` to the class that runs it in any mode."""


def pads_for(*forwards: Callable) -> Callable[[type], type]:
    """Class decorator: this :class:`PaddedLayer` serves layers whose ``forward`` is one of these."""

    def register(cls: type) -> type:
        PADDED.update(dict.fromkeys(forwards, cls))
        return cls

    return register


class PaddedLayer(nn.Module):
    """What padded layers share.

    Attributes:
        stock: The class the layer had before it was swapped.
        modes: The (vertical, horizontal) modes.
        pads: Cells added at the (top, bottom, left, right), where they do not depend on the input.
    """

    stock: type[nn.Module]
    modes: Modes
    pads: Pads
    pools = False

    @classmethod
    def pads_of(cls, layer: nn.Module) -> Pads | None:
        """What a stock layer pads by; None where that depends on the input's size."""
        return get_pads(layer.padding, layer_windows(layer))

    @classmethod
    def mode_of(cls, layer: nn.Module) -> str:
        """The name of the mode a stock layer pads by."""
        return getattr(layer, 'padding_mode', 'zeros')

    @classmethod
    def refusal(cls, layer: nn.Module, modes: Modes) -> str | None:
        """Why a stock layer cannot run in these modes; None where it can."""
        return None

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple:
        # The class is made at run time, where pickle could not find it by name.
        reduced = super().__reduce_ex__(protocol)
        return (_unpickled, (self.stock,), *reduced[2:]) if _is_just_padded(self) else reduced


def layer_windows(layer: nn.Module) -> Windows:
    """What the kernel of a convolution or pooling layer reads at a time."""
    return get_windows(layer.kernel_size, layer.stride, getattr(layer, 'dilation', 1))


def _unpickled(stock: type[nn.Module]) -> nn.Module:
    cls = _padded_class(stock)
    return cls.__new__(cls)


@functools.cache
def _padded_class(stock: type[nn.Module]) -> type[nn.Module]:
    # mmengine's init_cfg(layer='Conv2d') looks at the name of a class and of its direct bases only:
    # with the stock class's bases among ours, a swapped layer is initialised as it would have been.
    bases = [base for base in stock.__bases__ if base is not nn.Module]
    attributes = {'__module__': stock.__module__, 'stock': stock}
    return type(f'Padded{stock.__name__}', (PADDED[stock.forward], stock, *bases), attributes)


def _set_class(layer: nn.Module, cls: type[nn.Module]) -> None:
    if is_parametrized(layer):
        # Torch made this very layer a class over its own, and goes back to its base in the end.
        over = type(layer)
        cls = type(over.__name__, (cls,), dict(vars(over)))
    layer.__class__ = cls


def stock_class(layer: nn.Module) -> type[nn.Module]:
    """The class a layer has, or had before it was swapped or parametrised."""
    cls = type_before_parametrizations(layer)
    return cls.stock if issubclass(cls, PaddedLayer) else cls


def _is_just_padded(layer: nn.Module) -> bool:
    """Whether a swapped layer still has the class that the swap gave it, and no subclass of it."""
    return type_before_parametrizations(layer) is _padded_class(stock_class(layer))


def padded_type(layer: nn.Module) -> type[PaddedLayer] | None:
    """The class that can run this layer in any mode; None where there is none."""
    return PADDED.get(stock_class(layer).forward)


def pads_of(layer: nn.Module) -> Pads | None:
    """What a layer that :func:`padded_type` knows pads by; None where that depends on the input."""
    if isinstance(layer, PaddedLayer):
        return layer.__dict__.get('pads')
    return padded_type(layer).pads_of(layer)


def mode_of(layer: nn.Module) -> str:
    """The mode a layer that :func:`padded_type` knows runs in, as text."""
    if isinstance(layer, PaddedLayer):
        return describe(layer.modes)
    return padded_type(layer).mode_of(layer)


def set_modes(layer: nn.Module, modes: Modes, pads: Pads | None = None) -> None:
    """Make a layer that :func:`padded_type` knows run in these modes, in place.

    Args:
        pads: Cells to pad by at the (top, bottom, left, right), instead of the layer's own.
    """
    padded = padded_type(layer)
    pads = pads or pads_of(layer)
    if not isinstance(layer, PaddedLayer):
        _set_class(layer, _padded_class(stock_class(layer)))
    layer.modes, layer.pads = modes, pads
    mode = describe(modes)
    if hasattr(layer, 'padding_mode'):
        layer.padding_mode = mode
    is_stock = mode == 'zeros' == padded.mode_of(layer) and pads == padded.pads_of(layer)
    if is_stock and _is_just_padded(layer):
        _set_class(layer, stock_class(layer))
        del layer.modes, layer.pads


@pads_for(nn.Conv2d.forward)
class PaddedConv(PaddedLayer):
    """A ``Conv2d`` over a map continued by a mode.

    ``partial`` scales each window's sum by kernel area / area on real cells and leaves the bias as it
    is; a window on no real cell at all gives the bias.
    """

    @classmethod
    def refusal(cls, layer: nn.Module, modes: Modes) -> str | None:
        if isinstance(layer, LazyModuleMixin):
            return 'lazy, and gets another class at its first input; swap after that'
        if stock_class(layer)._conv_forward is not nn.Conv2d._conv_forward:
            return 'its _conv_forward is its own'
        return None

    def pads_at(self, height: int, width: int) -> Pads:
        """Cells added at the (top, bottom, left, right) of a map of this size."""
        return self.pads

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        convolution = Convolution(weight, self.stride, self.dilation, self.groups)
        pads = self.pads_at(x.shape[-2], x.shape[-1])
        return padded_conv2d(x, bias, convolution, self.modes, pads)


@pads_for(nn.MaxPool2d.forward)
class PaddedMaxPool(PaddedLayer):
    """``MaxPool2d`` over a map continued by a mode.

    Torch's own max pooling pads by minus infinity, that is by nothing; ``zeros`` and ``partial`` mean
    just that. Only declared padding is replaced, not the overhang of ``ceil_mode``, for which a traced
    graph keeps the size it was traced at.
    """

    pools = True

    @classmethod
    def refusal(cls, layer: nn.Module, modes: Modes) -> str | None:
        if layer.return_indices:
            return 'return_indices would point into the padding'
        return None

    def forward(self, x: Tensor) -> Tensor:
        pool = functools.partial(F.max_pool2d, dilation=self.dilation)
        return _pool(self, x, pool, natively=[mode.empty for mode in self.modes])


@pads_for(nn.AvgPool2d.forward)
class PaddedAvgPool(PaddedLayer):
    """``AvgPool2d`` over a map continued by a mode; ``partial`` averages over real cells only."""

    pools = True

    @classmethod
    def refusal(cls, layer: nn.Module, modes: Modes) -> str | None:
        if layer.divisor_override and any(mode.reweight for mode in modes):
            return 'divisor_override leaves nothing to reweight'
        return None

    def forward(self, x: Tensor) -> Tensor:
        counts_zeros = self.count_include_pad
        if any(mode.reweight for mode in self.modes):
            counts_zeros = False
        pool = functools.partial(
            F.avg_pool2d, count_include_pad=counts_zeros, divisor_override=self.divisor_override
        )
        # Beside a partial axis, zeros that are to be counted must stand in the map itself.
        keeps_zeros = counts_zeros == self.count_include_pad
        natively = [mode.empty and (mode.reweight or keeps_zeros) for mode in self.modes]
        return _pool(self, x, pool, natively)


def _pool(
    layer: nn.Module, x: Tensor, pool: Callable[..., Tensor], natively: Sequence[bool]
) -> Tensor:
    """Pool over ``x``, padding the axes that are not padded ``natively`` by the layer's modes."""
    pads, padding, lengths = [], [], []
    axes = zip(x.shape[-2:], by_axis(layer.pads), layer_windows(layer), natively)
    for size, (before, after), window, native in axes:
        pads += [0, 0] if native else [before, after]
        padding += [before if native else 0]
        count = pool_extent(size, before, window, layer.ceil_mode)
        lengths += [size if native else window.spans(count)]
    x = pad2d(x, layer.modes, tuple(pads))
    # A last window that starts in the padding is dropped where torch itself pads, and only there. (The
    # result could be cropped instead, but would then be a part of a larger map.)
    if layer.ceil_mode and any(size > length for size, length in zip(x.shape[-2:], lengths)):
        x = x[..., : lengths[0], : lengths[1]]
    return pool(x, layer.kernel_size, layer.stride, tuple(padding), ceil_mode=layer.ceil_mode)


_PAD_MODES = {
    nn.ZeroPad2d.forward: 'zeros',
    nn.ReflectionPad2d.forward: 'reflect',
    nn.ReplicationPad2d.forward: 'replicate',
    nn.CircularPad2d.forward: 'circular',
}


@pads_for(*_PAD_MODES)
class PaddedPad(PaddedLayer):
    """A padding layer (``ZeroPad2d``, ``ReflectionPad2d``, ...) that pads by a mode."""

    @classmethod
    def pads_of(cls, layer: nn.Module) -> Pads | None:
        if len(layer.padding) != 4:
            return None
        left, right, top, bottom = layer.padding
        return top, bottom, left, right

    @classmethod
    def mode_of(cls, layer: nn.Module) -> str:
        return _PAD_MODES[stock_class(layer).forward]

    @classmethod
    def refusal(cls, layer: nn.Module, modes: Modes) -> str | None:
        if len(layer.padding) != 4:
            return 'not a padding of two axes'
        if min(layer.padding) < 0:
            return 'it crops'
        if getattr(layer, 'value', 0):
            return f'it pads by the value {layer.value}'
        if any(mode.reweight for mode in modes):
            return 'partial padding weighs windows, and a padding layer has none'
        return None

    def forward(self, x: Tensor) -> Tensor:
        return pad2d(x, self.modes, self.pads)
