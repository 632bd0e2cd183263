"""Layers that pad their input by any mode.

A swap changes only the class of a layer. The object stays, with its parameters, buffers, hooks and all
references to it, so shared layers stay shared and state dicts stay the same. A layer's ``forward``
decides how it pads, so :data:`PADDED` is keyed by it; subclasses that inherit a ``forward`` can be
swapped too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import SupportsIndex

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils.parametrize import is_parametrized, type_before_parametrizations

from mindpad_mm.core.names import LEARNED_PADDING
from mindpad_mm.padding.convolution import Convolution
from mindpad_mm.padding.functional import pad2d, padded_conv2d
from mindpad_mm.padding.kernels import (
    Pads,
    Windows,
    by_axis,
    from_axes,
    get_pads,
    get_windows,
    pool_extent,
)
from mindpad_mm.padding.learned import new_values, padded_where_learned
from mindpad_mm.padding.modes import Modes, describe

PADDED: dict[Callable, type[PaddedLayer]] = {}
"""The class that runs a layer in any mode, by the ``forward`` of the layer's class."""

PADDED_BY_NAME: dict[str, type[PaddedLayer]] = {}
"""The same by the name of the ``forward``, for packages that are not imported here."""


def pads_for(*forwards: Callable, names: Sequence[str] = ()) -> Callable[[type], type]:
    """Class decorator: this :class:`PaddedLayer` runs layers whose ``forward`` is one of these.

    Args:
        forwards: The functions.
        names: More of them, by module and qualified name. Default: none.
    """

    def register(cls: type) -> type:
        PADDED.update(dict.fromkeys(forwards, cls))
        PADDED_BY_NAME.update(dict.fromkeys(names, cls))
        return cls

    return register


class PaddedLayer(nn.Module):
    """Base of all padded layers. The class methods are about stock layers, before a swap.

    Attributes:
        stock: The class of the layer before it was swapped.
        modes: The (vertical, horizontal) modes.
        pads: Cells added at the (top, bottom, left, right). None in classes whose ``pads_at`` computes
            them from the input's size.
        pools: Whether this is a pooling layer. Default: False.
        learns: Whether the class has :attr:`learned_padding` in mode ``learned``. Default: False.
        learned_padding: The parameter (4, 2, C_in) of layers in mode ``learned``; other layers do not
            have it.
    """

    stock: type[nn.Module]
    modes: Modes
    pads: Pads
    pools = False
    learns = False

    @classmethod
    def pads_of(cls, layer: nn.Module) -> Pads | None:
        """The pads of a stock layer; None if they depend on the input's size."""
        return get_pads(layer.padding, layer_windows(layer))

    @classmethod
    def mode_of(cls, layer: nn.Module) -> str:
        """The mode of a stock layer, by name."""
        return getattr(layer, 'padding_mode', 'zeros')

    @classmethod
    def refusal(cls, layer: nn.Module, modes: Modes) -> str | None:
        """Why a stock layer cannot run in these modes; None if it can."""
        return None

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple:
        # The class is made at run time, so pickle cannot find it by name.
        reduced = super().__reduce_ex__(protocol)
        return (_unpickled, (self.stock,), *reduced[2:]) if _has_padded_class(self) else reduced


def layer_windows(layer: nn.Module) -> Windows:
    """The (vertical, horizontal) kernel windows of a convolution or pooling layer."""
    return get_windows(layer.kernel_size, layer.stride, getattr(layer, 'dilation', 1))


def _unpickled(stock: type[nn.Module]) -> nn.Module:
    cls = _padded_class(stock)
    return cls.__new__(cls)


# Stock class -> its swapped class.
_PADDED_CLASSES: dict[type[nn.Module], type[PaddedLayer]] = {}


def _padded_class(stock: type[nn.Module]) -> type[PaddedLayer]:
    if stock in _PADDED_CLASSES:
        return _PADDED_CLASSES[stock]
    # mmengine's init_cfg(layer='Conv2d') compares the names of a class and its direct bases only. With
    # the stock class and its bases among them, a swapped layer gets the same initial weights.
    bases = [base for base in stock.__bases__ if base is not nn.Module]
    attributes = {'__module__': stock.__module__, 'stock': stock}
    cls = type(f'Padded{stock.__name__}', (_padded_form(stock), stock, *bases), attributes)
    return _PADDED_CLASSES.setdefault(stock, cls)


def _set_class(layer: nn.Module, cls: type[nn.Module]) -> None:
    if is_parametrized(layer):
        # torch gave this layer a class of its own, and restores the base of that class at the end.
        parametrized = type(layer)
        cls = type(parametrized.__name__, (cls,), dict(vars(parametrized)))
    layer.__class__ = cls


def stock_class(layer: nn.Module) -> type[nn.Module]:
    """The class of a layer without its swap and its parametrisation."""
    cls = type_before_parametrizations(layer)
    return cls.stock if issubclass(cls, PaddedLayer) else cls


def _has_padded_class(layer: nn.Module) -> bool:
    """Whether a layer has the class that a swap gives it, not a subclass of that."""
    return type_before_parametrizations(layer) is _padded_class(stock_class(layer))


def _form_of(stock: type[nn.Module]) -> type[PaddedLayer] | None:
    forward = stock.forward
    if forward in PADDED:
        return PADDED[forward]
    home, name = (getattr(forward, key, '') for key in ('__module__', '__qualname__'))
    return PADDED_BY_NAME.get(f'{home}.{name}')


def _padded_form(stock: type[nn.Module]) -> type[PaddedLayer]:
    """The class that runs layers of a stock class that has one."""
    form = _form_of(stock)
    assert form is not None, stock
    return form


def padded_type(layer: nn.Module) -> type[PaddedLayer] | None:
    """The class that can run this layer in any mode; None if there is none."""
    if isinstance(layer, torch.jit.ScriptModule):
        return None
    return _form_of(stock_class(layer))


def pads_of(layer: nn.Module) -> Pads | None:
    """The pads of a layer that has a :func:`padded_type`; None if they depend on the input's size."""
    if isinstance(layer, PaddedLayer):
        return layer.pads
    return _padded_form(stock_class(layer)).pads_of(layer)


def mode_of(layer: nn.Module) -> str:
    """The mode of a layer that has a :func:`padded_type`, as text."""
    if isinstance(layer, PaddedLayer):
        return describe(layer.modes)
    return _padded_form(stock_class(layer)).mode_of(layer)


def set_modes(layer: nn.Module, modes: Modes, pads: Pads | None) -> None:
    """Make a layer that has a :func:`padded_type` run in these modes, in place.

    Args:
        layer: The layer, stock or swapped.
        modes: The (vertical, horizontal) modes.
        pads: Cells added at the (top, bottom, left, right); None if they depend on the input's size.
    """
    padded = _padded_form(stock_class(layer))
    if not isinstance(layer, PaddedLayer):
        _set_class(layer, _padded_class(stock_class(layer)))
    layer.modes, layer.pads = modes, pads
    if any(mode.learns for mode in modes):
        if not hasattr(layer, LEARNED_PADDING):
            layer.register_parameter(LEARNED_PADDING, new_values(layer.in_channels, layer.weight))
    elif hasattr(layer, LEARNED_PADDING):
        delattr(layer, LEARNED_PADDING)
    mode = describe(modes)
    if hasattr(layer, 'padding_mode'):
        layer.padding_mode = mode
    is_stock = mode == 'zeros' == padded.mode_of(layer) and pads == padded.pads_of(layer)
    if is_stock and _has_padded_class(layer):
        _set_class(layer, stock_class(layer))
        del layer.modes, layer.pads


@pads_for(nn.Conv2d.forward)
class PaddedConv(PaddedLayer):
    """``Conv2d`` in any mode.

    ``partial`` scales each window's sum by kernel area / area on cells of the map, without the bias. A
    window without any cell gives the bias.
    """

    learns = True

    @classmethod
    def refusal(cls, layer: nn.Module, modes: Modes) -> str | None:
        if isinstance(layer, LazyModuleMixin):
            return 'lazy, and changes its class at its first input; swap after that'
        if stock_class(layer)._conv_forward is not nn.Conv2d._conv_forward:
            return 'it overrides _conv_forward'
        return None

    def pads_at(self, height: int, width: int) -> Pads:
        """Cells added at the (top, bottom, left, right) of a map of this size."""
        return self.pads

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        convolution = Convolution(weight, self.stride, self.dilation, self.groups)
        modes, pads = self.modes, self.pads_at(x.shape[-2], x.shape[-1])
        if any(mode.learns for mode in modes):
            x, modes, pads = padded_where_learned(x, self.learned_padding, modes, pads)
        return padded_conv2d(x, bias, convolution, modes, pads)


@pads_for(
    names=[
        'timm.layers.conv2d_same.Conv2dSame.forward',
        'timm.models.layers.conv2d_same.Conv2dSame.forward',  # of timm < 0.8
    ]
)
class PaddedSameConv(PaddedConv):
    """A convolution with TensorFlow's "SAME" padding (ceil(size / stride) outputs) in any mode."""

    @classmethod
    def pads_of(cls, layer: nn.Module) -> Pads | None:
        return None

    def pads_at(self, height: int, width: int) -> Pads:
        totals = [
            max(window.spans(-(-size // window.stride)) - size, 0)
            for size, window in zip((height, width), layer_windows(self))
        ]
        return from_axes(*((total // 2, total - total // 2) for total in totals))

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight, self.bias)


@pads_for(nn.MaxPool2d.forward)
class PaddedMaxPool(PaddedLayer):
    """``MaxPool2d`` in any mode.

    ``zeros`` and ``partial`` pad by minus infinity, as torch's max pooling does. Padded positions that
    only ``ceil_mode`` adds are not affected; with it, a traced graph works for one size only.
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
    """``AvgPool2d`` in any mode; ``partial`` averages over cells of the map only."""

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
        # If the other axis is partial, zeros that count must be padded as cells.
        keeps_zeros = counts_zeros == self.count_include_pad
        natively = [mode.empty and (mode.reweight or keeps_zeros) for mode in self.modes]
        return _pool(self, x, pool, natively)


def _pool(
    layer: nn.Module, x: Tensor, pool: Callable[..., Tensor], natively: Sequence[bool]
) -> Tensor:
    """Pool ``x``: torch pads the axes that are ``natively`` True, the layer's modes pad the others."""
    pads: list[tuple[int, int]] = []
    padding: list[int] = []
    lengths: list[int] = []
    axes = zip(x.shape[-2:], by_axis(layer.pads), layer_windows(layer), natively)
    for size, (before, after), window, native in axes:
        pads.append((0, 0) if native else (before, after))
        padding.append(before if native else 0)
        count = pool_extent(size, before, window, layer.ceil_mode)
        lengths.append(size if native else window.spans(count))
    x = pad2d(x, layer.modes, from_axes(*pads))
    # torch drops a last window that starts in the padding only if torch itself pads. Crop the input:
    # a cropped result would be a view of a larger map.
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
    """A padding layer (``ZeroPad2d``, ``ReflectionPad2d``, ...) in any mode."""

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
            return 'it does not pad two axes'
        if min(layer.padding) < 0:
            return 'it crops'
        if getattr(layer, 'value', 0):
            return f'it pads by the value {layer.value}'
        if any(mode.reweight for mode in modes):
            return 'partial padding scales windows, and a padding layer has none'
        return None

    def forward(self, x: Tensor) -> Tensor:
        return pad2d(x, self.modes, self.pads)
