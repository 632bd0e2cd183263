"""The output maps of a network's convolution and pooling layers, in order of execution."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

import torch
from torch import Tensor, nn

from mindpad_mm.core.errors import UserError
from mindpad_mm.diagnose.cannot_run import cannot_run_errors
from mindpad_mm.diagnose.subject import Subject
from mindpad_mm.padding.layers import mode_of, padded_type, pads_of

T = TypeVar('T')
LAYERS = (nn.modules.conv._ConvNd, nn.MaxPool2d, nn.AvgPool2d)


def visit_maps(
    subject: Subject,
    images: Tensor,
    visit: Callable[[str, Tensor], T],
    layers: Sequence[str] = ('*',),
) -> dict[str, T]:
    """Run a network and call a function on each map when its layer has computed it.

    A map is the output of a convolution or pooling layer, before normalisation and activation. It is
    valid only during the call: networks overwrite maps in place. Further calls of a layer (heads
    shared over levels) get names of their own: ``name``, ``name (call 2)``, ...

    Args:
        subject: The network; it runs without gradients.
        images: (N, 3, H, W) float32, preprocessed.
        visit: Called with the layer's name and its (N, C, h, w) map.
        layers: fnmatch patterns for qualified layer names.

    Returns:
        The values that ``visit`` returned, by name, in order of execution.

    Raises:
        UserError: No layer matches, or the network cannot run on this input size.
    """
    found: dict[str, T] = {}
    calls: Counter[str] = Counter()

    def hook_for(name: str) -> Callable[[nn.Module, tuple, Tensor], None]:
        def hook(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
            calls[name] += 1
            key = name if calls[name] == 1 else f'{name} (call {calls[name]})'
            if output.ndim == 4:
                found[key] = visit(key, output.detach())

        return hook

    names = [name for name, layer in subject.model.named_modules() if isinstance(layer, LAYERS)]
    wanted = [name for name in names if any(fnmatchcase(name, p) for p in layers)]
    if not wanted:
        raise UserError(
            f'{subject.name} has no convolution or pooling layer named {" or ".join(layers)}; '
            f'it has {", ".join(names[:8]) or "none at all"}{", ..." if len(names) > 8 else ""}'
        )
    handles = []
    try:
        for name in wanted:
            handles.append(subject.model.get_submodule(name).register_forward_hook(hook_for(name)))
        with torch.no_grad(), cannot_run_errors(subject.name, tuple(images.shape[-2:])):
            subject.dense(images)
    finally:
        for handle in handles:
            handle.remove()
    return found


def own_modes(model: nn.Module) -> Counter[str]:
    """The padding modes of a network's convolutions, with the number of layers in each."""
    modes: Counter[str] = Counter()
    for layer in model.modules():
        padded = padded_type(layer)
        if padded is not None and not padded.pools and any(pads_of(layer) or (1,)):
            modes[mode_of(layer)] += 1
    return modes


def own_mode(model: nn.Module) -> str | None:
    """The most common padding mode of a network's convolutions; None if no layer pads."""
    modes = own_modes(model)
    return modes.most_common(1)[0][0] if modes else None


def short_name(name: str, longest: int = 26) -> str:
    """A layer's name, cut at the front to fit in a plot."""
    name = name.replace('backbone.', '')
    if len(name) > longest:
        name = name.replace('features.', 'f.')
    return name if len(name) <= longest else f'…{name[1 - longest :]}'
