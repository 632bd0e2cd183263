"""Swap the padding mode of all layers of a module, in place."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.names import ModeSpec
from mindpad_mm.padding.found import PaddingLayer, padding_layers
from mindpad_mm.padding.hidden import hidden_padding, running
from mindpad_mm.padding.modes import describe, get_modes
from mindpad_mm.padding.report import SkippedLayer, SwappedLayer, SwapReport


@dataclasses.dataclass(frozen=True)
class PaddingCfg:
    """The settings of a swap; the fields of ``padding_cfg`` in a config.

    Attributes:
        mode: The mode to swap in: a registered name, or a (vertical, horizontal) pair.
        include: fnmatch patterns of qualified layer names. A layer is swapped if one matches. Default:
            all layers.
        exclude: fnmatch patterns of qualified layer names. A layer is left alone if one matches.
            Default: none.
        pool: Whether pooling layers that pad are swapped too. Default: False.
    """

    mode: ModeSpec
    include: Sequence[str] = ('*',)
    exclude: Sequence[str] = ()
    pool: bool = False

    def __post_init__(self) -> None:
        get_modes(self.mode)
        for field in ('include', 'exclude'):
            patterns = getattr(self, field)
            patterns = (patterns,) if isinstance(patterns, str) else patterns
            if not isinstance(patterns, Sequence) or not all(isinstance(p, str) for p in patterns):
                raise UserError(
                    f'`{field}` must be a list of patterns of layer names, e.g. '
                    f"['layer1.*'], not {patterns!r}"
                )
            object.__setattr__(self, field, tuple(patterns))
        if not isinstance(self.pool, bool):
            raise UserError(f'`pool` must be True or False, not {self.pool!r}')

    @classmethod
    def parse(cls, value: PaddingCfg | Mapping[str, Any] | ModeSpec) -> PaddingCfg:
        """Read a ``padding_cfg``: a mode, or a dict of this class's fields.

        Raises:
            UserError: A field is unknown or invalid, or ``mode`` is missing or unknown.
        """
        if isinstance(value, PaddingCfg):
            return value
        if not isinstance(value, Mapping):
            return cls(mode=value)
        fields = [field.name for field in dataclasses.fields(cls)]
        for key in value:
            if key not in fields:
                close = difflib.get_close_matches(str(key), fields, n=1)
                hint = f' (did you mean {close[0]!r}?)' if close else ''
                raise UserError(
                    f'padding_cfg has no field {key!r}{hint}; its fields are {", ".join(fields)}'
                )
        if 'mode' not in value:
            raise UserError(f"padding_cfg={dict(value)!r} lacks 'mode', e.g. dict(mode='reflect')")
        return cls(**value)


def swap_padding(
    module: nn.Module,
    mode: ModeSpec,
    *,
    include: Sequence[str] = ('*',),
    exclude: Sequence[str] = (),
    pool: bool = False,
    example_input: Tensor | Sequence[Any] | Mapping[str, Any] | None = None,
) -> SwapReport:
    """Make all layers of ``module`` that pad do so by ``mode``, in place.

    Parameters, buffers, state-dict keys, hooks and output shapes stay the same. Convolutions, mmcv's
    explicit padding layers and torch's ``*Pad2d`` are swapped. Transposed and lazy convolutions, layers
    of unknown kinds and scripted modules are left alone and reported. A call of ``F.pad`` or
    ``F.conv2d(padding=...)`` in a ``forward`` is reported where ``example_input`` shows it.

    Args:
        module: Any module. If it is a layer itself, its name is ``''``.
        mode: ``zeros``, ``reflect``, ``symmetric``, ``replicate``, ``circular``, ``partial``, another
            registered mode, or a (vertical, horizontal) pair.
        include: fnmatch patterns of the qualified names of layers to swap. Default: all layers.
        exclude: fnmatch patterns of the qualified names of layers to leave alone. Default: none.
        pool: Whether to swap pooling layers that pad too. Default: False.
        example_input: An input of the module: a tensor, a sequence of arguments or a dict of keyword
            arguments. The module runs on it once, before the swap, in evaluation mode and without
            gradients, and the lines of code that pad outside of any layer are in the report. Default:
            such lines are not looked for.

    Returns:
        The layers that were swapped and those left alone.

    Raises:
        UserError: The mode is unknown, a pattern matches no layer, there is nothing to swap, or the
            module does not run on ``example_input``.

    Example:
        >>> model = torchvision.models.resnet18()
        >>> print(swap_padding(model, 'reflect', exclude=['layer4.*']))
    """
    cfg = PaddingCfg(mode, include, exclude, pool)
    hidden = []
    if example_input is not None:
        hidden = hidden_padding(module, running(module, example_input))
    return apply_padding_cfg(module, cfg, hidden=hidden)


def apply_padding_cfg(
    module: nn.Module, cfg: PaddingCfg, claim: bool = False, hidden: Sequence[SkippedLayer] = ()
) -> SwapReport:
    """:func:`swap_padding` with settings in one object.

    Args:
        module: Any module.
        cfg: The settings.
        claim: Whether to mark the swapped layers as claimed (their copies are claimed too) and to leave
            alone the layers that earlier calls claimed. Default: False.
        hidden: Padding outside of any layer, for the report. Default: none.
    """
    modes = get_modes(cfg.mode)
    layers = padding_layers(module)
    warnings = [warning for warning in (layer.warning() for layer in layers) if warning]
    report = SwapReport(warnings=warnings)
    swappable = [layer for layer in layers if layer.padded and (cfg.pool or not layer.padded.pools)]
    _check_patterns(module, cfg, swappable)
    for layer in layers:
        if not _matches(layer, cfg.include) or _matches(layer, cfg.exclude):
            continue
        if claim and layer.claimed:
            continue
        reason = layer.refusal(modes, cfg.pool)
        if reason:
            report.skipped.append(SkippedLayer(layer.names[0], layer.kind, reason))
            continue
        before, pads = layer.mode, layer.pads
        layer.set_modes(modes)
        if claim:
            layer.module._padding_claimed = True
        after = describe(modes)
        report.swapped.append(SwappedLayer(layer.names[0], layer.kind, pads, before, after))
    report.skipped.extend(hidden)
    if not report.swapped and not (claim and any(layer.claimed for layer in swappable)):
        why = report.summary() or 'none of its layers pads'
        if layers and not report.skipped:
            why = (
                f'`include={list(cfg.include)}` and `exclude={list(cfg.exclude)}` leave none of the '
                f'{len(layers)} layers that pad'
            )
        raise UserError(
            f'padding mode {describe(modes)!r} found nothing to swap in {type(module).__name__}: {why}'
        )
    return report


def _matches(layer: PaddingLayer, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in layer.names for pattern in patterns)


def _check_patterns(module: nn.Module, cfg: PaddingCfg, layers: list[PaddingLayer]) -> None:
    for field in ('include', 'exclude'):
        for pattern in getattr(cfg, field):
            if pattern != '*' and not any(_matches(layer, [pattern]) for layer in layers):
                names = [layer.names[0] for layer in layers]
                shown = ', '.join(names[:8]) + (', ...' if len(names) > 8 else '')
                raise UserError(
                    f'`{field}` pattern {pattern!r} matches none of the {len(names)} layers '
                    f'that can be swapped in {type(module).__name__}: {shown or "it has none"}'
                )
