"""Find the layers of a module that pad, or may pad."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.pooling import _AvgPoolNd, _MaxPoolNd

from mindpad_mm.padding.kernels import Pads
from mindpad_mm.padding.layers import (
    PaddedLayer,
    mode_of,
    padded_type,
    pads_of,
    set_modes,
    stock_class,
)
from mindpad_mm.padding.modes import Modes
from mindpad_mm.padding.operations import scripted_pads

ASKED_MODE = 'asked_padding_mode'
"""The attribute of a block that names the mode it asked for, where its layer pads by another."""

MAY_PAD = 'its forward is its own and may pad'


@dataclasses.dataclass
class PaddingLayer:
    """A layer that pads, or may pad, found in a module.

    Attributes:
        module: The layer.
        names: All its qualified names (a shared layer has several).
        explicit: The mmcv ``ConvModule`` whose ``padding_layer`` pads the input of this layer, or None.
        asked: The mode that the block of this layer asked for in vain, or None.
    """

    module: nn.Module
    names: list[str]
    explicit: nn.Module | None = None
    asked: str | None = None

    @property
    def claimed(self) -> bool:
        """Whether a ``padding_cfg`` swapped this layer, or the layer of which it is a copy."""
        return getattr(self.module, '_padding_claimed', False)

    @property
    def padded(self) -> type[PaddedLayer] | None:
        """The class that can run it in any mode; None if there is none."""
        return padded_type(self.module)

    @property
    def kind(self) -> str:
        """The name of its stock class."""
        if isinstance(self.module, torch.jit.ScriptModule):
            return getattr(self.module, 'original_name', type(self.module).__name__)
        return stock_class(self.module).__name__

    @property
    def _source(self) -> nn.Module:
        return self.explicit.padding_layer if self.explicit else self.module

    @property
    def pads(self) -> Pads | None:
        """Cells added at the (top, bottom, left, right); None if they depend on the input."""
        return pads_of(self._source)

    @property
    def mode(self) -> str:
        """Its mode, as text."""
        return mode_of(self._source)

    @property
    def may_pad(self) -> bool:
        """Whether the layer pads, or nobody can tell."""
        if isinstance(self.module, torch.jit.ScriptModule):
            return scripted_pads(self.module) > 0
        if self.padded is None:
            return _declares_padding(self.module) or _has_own_forward(self.module)
        return self.pads is None or any(self.pads) or _is_replaced(self.module)

    def refusal(self, modes: Modes, pool: bool) -> str | None:
        """Why the layer must be left alone; None if it can be swapped."""
        if isinstance(self.module, torch.jit.ScriptModule):
            count = scripted_pads(self.module)
            return (
                f'scripted, with operations that pad ({count}): swap before torch.jit compiles it'
            )
        if _is_replaced(self.module):
            return 'its forward was replaced on this object, and may pad'
        if self.padded is None:
            if isinstance(self.module, _ConvTransposeNd):
                return 'transposed convolution, whose padding crops its output'
            if not _declares_padding(self.module):
                return MAY_PAD
            return f'no padded form of {self.kind} is known'
        if self.padded.pools and not pool:
            return 'pooling layer, swapped only with `pool=True`'
        if self.explicit and _is_replaced(self.explicit):
            return 'the forward of its block was replaced, and may need its padding_layer'
        if self.explicit and any(
            hooks for name, hooks in vars(self._source).items() if name.endswith('_hooks')
        ):
            return 'its padding_layer has hooks, which a swap would remove'
        if any(mode.learns for mode in modes) and not self.padded.learns:
            return 'only convolutions have learned values'
        return self.padded.refusal(self.module, modes)

    def warning(self) -> str | None:
        """What is wrong with the padding of its block, before a swap; None if nothing is."""
        if self.asked is None or isinstance(self.module, PaddedLayer) or self.mode == self.asked:
            return None
        return (
            f'{self.names[0]}: its ConvModule asks for padding_mode={self.asked!r}, but mmcv pads it '
            f'with {self.mode} (mmcv #3078)'
        )

    def set_modes(self, modes: Modes) -> None:
        """Make the layer run in these modes, in place."""
        set_modes(self.module, modes, self.pads)
        if self.explicit:
            self.explicit.with_explicit_padding = False
            del self.explicit.padding_layer
            self.explicit = None


def padding_layers(module: nn.Module) -> list[PaddingLayer]:
    """All layers of ``module`` that pad or may pad, each once, in the order of ``named_modules``."""
    found = _named_layers(module)
    padding_of_blocks = set()
    for block in [*found]:
        conv = getattr(block, 'conv', None)
        if not isinstance(conv, nn.Module) or conv not in found:
            continue
        found[conv].asked = getattr(block, ASKED_MODE, None)
        if getattr(block, 'with_explicit_padding', False) and padded_type(conv):
            found[conv].explicit = block
            padding_of_blocks.add(block.padding_layer)
    layers = {layer: found[layer] for layer in found if layer not in padding_of_blocks}
    padding = {layer for layer in layers if layers[layer].may_pad}
    # A block repeats the padding of its convolution; one that pads without such a layer does so itself.
    padding |= {
        layer
        for layer in layers
        if _has_padding(layer) and padding.isdisjoint(layer.modules()) and not padded_type(layer)
    }
    return [layers[layer] for layer in layers if layer in padding]


def _named_layers(module: nn.Module) -> dict[nn.Module, PaddingLayer]:
    """All modules in ``module`` with their names; a scripted one stands for the modules in it."""
    found: dict[nn.Module, PaddingLayer] = {}
    inside: set[nn.Module] = set()
    for name, layer in module.named_modules(remove_duplicate=False):
        if layer not in inside:
            found.setdefault(layer, PaddingLayer(layer, [])).names.append(name)
            if isinstance(layer, torch.jit.ScriptModule):
                inside.update(child for child in layer.modules() if child is not layer)
    return found


def _is_replaced(module: nn.Module) -> bool:
    """Whether this object has a forward that its class does not have."""
    return not {'forward', '_conv_forward'}.isdisjoint(vars(module))


def _has_own_forward(module: nn.Module) -> bool:
    """Whether a convolution or pooling layer has a forward that is not torch's."""
    if not isinstance(module, (_ConvNd, _MaxPoolNd, _AvgPoolNd)):
        return False
    return not getattr(stock_class(module).forward, '__module__', '').startswith(
        'torch.nn.modules.'
    )


def _declares_padding(module: nn.Module) -> bool:
    """Whether a layer of an unknown kind has padding of its own, apart from that of its children."""
    if list(module.children()) and not list(module.parameters(recurse=False)):
        return False
    return _has_padding(module)


def _has_padding(module: nn.Module) -> bool:
    """Whether a module has an attribute that is a width of padding, and not 0."""
    if isinstance(module, torch.jit.ScriptModule):
        return False
    for name in ('padding', 'paddings', 'pad', 'pads'):
        padding = getattr(module, name, 0)
        if isinstance(padding, str):
            if name == 'padding' and padding != 'valid':
                return True
        elif isinstance(padding, (int, tuple, list)) and bool(np.any(padding)):
            return True
    return False
