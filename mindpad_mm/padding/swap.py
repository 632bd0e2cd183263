"""Swap the padding mode of all layers of a module, in place."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from torch import nn

from mindpad_mm.core.errors import UserError
from mindpad_mm.padding.kernels import Pads
from mindpad_mm.padding.layers import (
    PaddedLayer,
    mode_of,
    padded_type,
    pads_of,
    set_modes,
    stock_class,
)
from mindpad_mm.padding.modes import Modes, ModeSpec, describe, get_modes


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


@dataclasses.dataclass(frozen=True)
class SwappedLayer:
    """A layer that was swapped.

    Attributes:
        name: Qualified name; the first one if the layer is shared.
        kind: Name of its stock class.
        pads: Cells added at the (top, bottom, left, right); None if they depend on the input's size.
        before, after: Its modes, as text.
    """

    name: str
    kind: str
    pads: Pads | None
    before: str
    after: str


@dataclasses.dataclass(frozen=True)
class SkippedLayer:
    """A layer that pads but was left alone, and the reason."""

    name: str
    kind: str
    reason: str


@dataclasses.dataclass
class SwapReport:
    """The layers that :func:`swap_padding` swapped, and those it left alone. ``str`` gives a table."""

    swapped: list[SwappedLayer] = dataclasses.field(default_factory=list)
    skipped: list[SkippedLayer] = dataclasses.field(default_factory=list)

    def summary(self) -> str:
        """One line: the number of layers for each change of mode, and the layers left alone."""
        changes: dict[str, int] = {}
        for layer in self.swapped:
            change = f'{layer.before} -> {layer.after}'
            changes[change] = changes.get(change, 0) + 1
        parts = [f'{count} layers {change}' for change, count in changes.items()]
        if self.skipped:
            names = ', '.join(f'{layer.name} ({layer.reason})' for layer in self.skipped)
            parts.append(f'left alone: {names}')
        return '; '.join(parts)

    def __str__(self) -> str:
        rows = [('layer', 'kind', 'pads', 'mode')]
        for layer in self.swapped:
            pads = 'by input' if layer.pads is None else ' '.join(map(str, layer.pads))
            rows.append((layer.name, layer.kind, pads, f'{layer.before} -> {layer.after}'))
        for left in self.skipped:
            rows.append((left.name, left.kind, '', f'left alone: {left.reason}'))
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        return '\n'.join(
            '  '.join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[3]]).rstrip()
            for row in rows
        )


def swap_padding(
    module: nn.Module,
    mode: ModeSpec,
    *,
    include: Sequence[str] = ('*',),
    exclude: Sequence[str] = (),
    pool: bool = False,
) -> SwapReport:
    """Make all layers of ``module`` that pad do so by ``mode``, in place.

    Parameters, buffers, state-dict keys, hooks and output shapes stay the same. Convolutions, mmcv's
    explicit padding layers and torch's ``*Pad2d`` are swapped. Transposed and lazy convolutions and
    layers of unknown kinds are left alone and reported. A call of ``F.pad`` in a ``forward`` is neither
    swapped nor reported.

    Args:
        module: Any module. If it is a layer itself, its name is ``''``.
        mode: ``zeros``, ``reflect``, ``symmetric``, ``replicate``, ``circular``, ``partial``, another
            registered mode, or a (vertical, horizontal) pair.
        include: fnmatch patterns of the qualified names of layers to swap. Default: all layers.
        exclude: fnmatch patterns of the qualified names of layers to leave alone. Default: none.
        pool: Whether to swap pooling layers that pad too. Default: False.

    Returns:
        The layers that were swapped and those left alone.

    Raises:
        UserError: The mode is unknown, a pattern matches no layer, or there is nothing to swap.

    Example:
        >>> model = torchvision.models.resnet18()
        >>> print(swap_padding(model, 'reflect', exclude=['layer4.*']))
    """
    return apply_padding_cfg(module, PaddingCfg(mode, include, exclude, pool))


def apply_padding_cfg(module: nn.Module, cfg: PaddingCfg, claim: bool = False) -> SwapReport:
    """:func:`swap_padding` with settings in one object.

    Args:
        module: Any module.
        cfg: The settings.
        claim: Whether to mark the swapped layers as claimed (their copies are claimed too) and to leave
            alone the layers that earlier calls claimed. Default: False.
    """
    modes = get_modes(cfg.mode)
    report = SwapReport()
    layers = list(_padding_layers(module))
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
        before = layer.mode
        layer.set_modes(modes)
        if claim:
            layer.module._padding_claimed = True
        after = describe(modes)
        report.swapped.append(SwappedLayer(layer.names[0], layer.kind, layer.pads, before, after))
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


@dataclasses.dataclass
class _PaddingLayer:
    """A layer that pads, found in a module.

    Attributes:
        module: The layer.
        names: All its qualified names (a shared layer has several).
        explicit: The mmcv ``ConvModule`` whose ``padding_layer`` pads the input of this layer, or None.
    """

    module: nn.Module
    names: list[str]
    explicit: nn.Module | None = None

    @property
    def claimed(self) -> bool:
        """Whether a ``padding_cfg`` swapped this layer, or the layer of which it is a copy."""
        return getattr(self.module, '_padding_claimed', False)

    @property
    def padded(self) -> type[PaddedLayer] | None:
        return padded_type(self.module)

    @property
    def kind(self) -> str:
        return stock_class(self.module).__name__

    @property
    def _source(self) -> nn.Module:
        return self.explicit.padding_layer if self.explicit else self.module

    @property
    def pads(self) -> Pads | None:
        return pads_of(self._source)

    @property
    def mode(self) -> str:
        return mode_of(self._source)

    def refusal(self, modes: Modes, pool: bool) -> str | None:
        """Why the layer must be left alone; None if it can be swapped."""
        if self.padded is None:
            if isinstance(self.module, nn.modules.conv._ConvTransposeNd):
                return 'transposed convolution, whose padding crops its output'
            return f'no padded form of {self.kind} is known'
        if self.padded.pools and not pool:
            return 'pooling layer, swapped only with `pool=True`'
        if self.explicit and any(
            hooks for name, hooks in vars(self._source).items() if name.endswith('_hooks')
        ):
            return 'its padding_layer has hooks, which a swap would remove'
        return self.padded.refusal(self.module, modes)

    def set_modes(self, modes: Modes) -> None:
        set_modes(self.module, modes, self.pads)
        if self.explicit:
            self.explicit.with_explicit_padding = False
            del self.explicit.padding_layer
            self.explicit = None


def _padding_layers(module: nn.Module) -> Iterator[_PaddingLayer]:
    """All layers of ``module`` that pad, each once, in the order of ``named_modules``."""
    found: dict[nn.Module, _PaddingLayer] = {}
    explicit: dict[nn.Module, nn.Module] = {}
    for name, layer in module.named_modules(remove_duplicate=False):
        found.setdefault(layer, _PaddingLayer(layer, [])).names.append(name)
        if getattr(layer, 'with_explicit_padding', False) and padded_type(layer.conv):
            explicit[layer.conv] = layer
            explicit[layer.padding_layer] = layer
    for layer in found.values():
        owner = explicit.get(layer.module)
        if owner is not None and layer.module is owner.padding_layer:
            continue
        layer.explicit = owner
        if layer.padded is None:
            pads = _declares_padding(layer.module)
        else:
            pads = layer.pads is None or any(layer.pads)
        if pads:
            yield layer


def _declares_padding(module: nn.Module) -> bool:
    """Whether a layer of an unknown kind has padding of its own, apart from that of its children."""
    if list(module.children()) and not list(module.parameters(recurse=False)):
        return False
    padding = getattr(module, 'padding', 0)
    if isinstance(padding, str):
        return padding != 'valid'
    return isinstance(padding, (int, tuple, list)) and bool(np.any(padding))


def _matches(layer: _PaddingLayer, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in layer.names for pattern in patterns)


def _check_patterns(module: nn.Module, cfg: PaddingCfg, layers: list[_PaddingLayer]) -> None:
    for field in ('include', 'exclude'):
        for pattern in getattr(cfg, field):
            if pattern != '*' and not any(_matches(layer, [pattern]) for layer in layers):
                names = [layer.names[0] for layer in layers]
                shown = ', '.join(names[:8]) + (', ...' if len(names) > 8 else '')
                raise UserError(
                    f'`{field}` pattern {pattern!r} matches none of the {len(names)} layers '
                    f'that can be swapped in {type(module).__name__}: {shown or "it has none"}'
                )
