"""The MMDetection side of padding: ``padding_cfg`` in configs, and mmcv's own convolutions.

The only file of :mod:`mindpad_mm.padding` that imports mmengine, mmcv and mmdet.

``Runner``, ``init_detector`` and ``DetInferencer`` build models by the ``build_func`` of mmengine's root
MODELS registry or of one of its children. :func:`install` wraps these functions. Registries that are
created later inherit the wrapped function from their parent. mmcv builds some dicts without a registry
(``conv_cfg``, ``norm_cfg``), so ``padding_cfg`` in them is an error.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mmcv.cnn.bricks.conv2d_adaptive_padding import Conv2dAdaptivePadding
from mmcv.cnn.bricks.conv_ws import ConvAWS2d, ConvWS2d
from mmcv.cnn.bricks.wrappers import Conv2d
from mmdet.models.backbones.trident_resnet import TridentConv
from mmdet.models.layers.normed_predictor import NormedConv2d
from mmengine.logging import print_log
from mmengine.model import Sequential
from mmengine.registry import MODELS, Registry
from torch import Tensor, nn

from mindpad_mm.core.errors import UserError
from mindpad_mm.padding.convolution import Convolution
from mindpad_mm.padding.functional import padded_conv2d
from mindpad_mm.padding.hidden import hidden_padding
from mindpad_mm.padding.kernels import Pads, get_pads, get_windows
from mindpad_mm.padding.layers import PaddedConv, PaddedLayer, PaddedSameConv, pads_for
from mindpad_mm.padding.swap import PaddingCfg, apply_padding_cfg

KEY = 'padding_cfg'


def install() -> None:
    """Make MODELS and its descendants read ``padding_cfg``. A second call does nothing."""
    for registry in _with_children(MODELS):
        if not hasattr(registry.build_func, 'reads_padding_cfg'):
            registry.build_func = _reading_padding_cfg(registry.build_func)


def _with_children(registry: Registry) -> Iterator[Registry]:
    yield registry
    for child in registry.children.values():
        yield from _with_children(child)


def _reading_padding_cfg(build_func: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a registry's ``build_func`` so that it swaps the padding of what it builds."""

    @functools.wraps(build_func)
    def build(cfg: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(cfg, list):
            return Sequential(*(build(part, *args, **kwargs) for part in cfg))
        value = None
        if isinstance(cfg, dict) and KEY in cfg:
            cfg = cfg.copy()
            value = cfg.pop(KEY)
        # Parsed before the module is built, so that a misspelt field is reported at once.
        padding = None if value is None else _with_type_in_error(cfg, PaddingCfg.parse, value)
        try:
            module = build_func(cfg, *args, **kwargs)
        except TypeError as error:
            if f"unexpected keyword argument '{KEY}'" not in str(error):
                raise
            raise UserError(
                f'{KEY} is in a dict inside {cfg.get("type")} that is not built through MODELS '
                f'(such as conv_cfg): move it to the dict of {cfg.get("type")} itself'
            ) from error
        if padding is not None:
            # Inner modules are built first. ``claim`` keeps an outer padding_cfg from changing layers
            # that an inner one has already decided about.
            report = _with_type_in_error(cfg, apply_padding_cfg, module, padding, claim=True)
            print_log(f'{KEY} of {type(module).__name__}: {report.summary()}', logger='current')
        return module

    build.reads_padding_cfg = True  # type: ignore[attr-defined]
    return build


def _with_type_in_error(cfg: dict, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call ``function`` and prepend the type of the module to the text of a UserError."""
    try:
        return function(*args, **kwargs)
    except UserError as error:
        raise UserError(f'{KEY} of {cfg.get("type")}: {error}') from None


# The forward of these ends in nn.Conv2d._conv_forward, which PaddedConv overrides.
pads_for(Conv2d.forward, NormedConv2d.forward)(PaddedConv)


@pads_for(ConvWS2d.forward)
class PaddedConvWS(PaddedConv):
    """``ConvWS2d`` (weight standardisation) in any mode."""

    def forward(self, x: Tensor) -> Tensor:
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        std = self.weight.std((1, 2, 3), keepdim=True)
        return self._conv_forward(x, (self.weight - mean) / (std + self.eps), self.bias)


@pads_for(ConvAWS2d.forward)
class PaddedConvAWS(PaddedConv):
    """``ConvAWS2d`` (adaptive weight standardisation) in any mode."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self._get_weight(self.weight), self.bias)


pads_for(Conv2dAdaptivePadding.forward)(PaddedSameConv)


@pads_for(TridentConv.forward)
class PaddedTridentConv(PaddedLayer):
    """``TridentConv`` (one kernel, branches of several dilations and paddings) in any mode."""

    @classmethod
    def pads_of(cls, layer: nn.Module) -> Pads | None:
        return None

    def forward(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Convolve (N, C, H, W) maps: one for each branch, or one for the branch of the test."""
        branches = [*zip(self.paddings, self.dilations)]
        if not self.training and self.test_branch_idx != -1:
            branches = [branches[self.test_branch_idx]]
        outputs = []
        for x, (padding, dilation) in zip(inputs, branches):
            convolution = Convolution(self.weight, self.stride, (dilation, dilation), 1)
            windows = get_windows(self.kernel_size, self.stride, dilation)
            pads = get_pads(padding, windows)
            outputs.append(padded_conv2d(x, self.bias, convolution, self.modes, pads))
        return outputs


def tell_hidden_padding(model: nn.Module, run: Callable[[], Any]) -> None:
    """Log where a detector whose padding was swapped still pads in its own code.

    Args:
        model: The detector; one without swapped layers is not run.
        run: Runs it on one image.
    """
    if not any(isinstance(layer, PaddedLayer) for layer in model.modules()):
        return
    for each in hidden_padding(model, run):
        message = f'padding that the swap left alone: {each}'
        print_log(message, 'current', logging.WARNING)
