"""The detectors of one measurement: as trained, swapped, other checkpoints, padded inputs."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from mindpad_mm.core.callable_detector import CallableDetector
from mindpad_mm.core.detector import detector_classes
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.names import ModeSpec
from mindpad_mm.core.opened import Detector, opened
from mindpad_mm.padding import swap_padding
from mindpad_mm.padding.modes import describe, get_modes
from mindpad_mm.settings.border import BorderSettings

AS_TRAINED = 'as trained'
SWAP, CHECKPOINT, INPUT_PADDING = 'swapped', 'checkpoint', 'input padded'


@dataclass(frozen=True)
class VariantInfo:
    """A variant as outputs name it.

    Attributes:
        name: Its name.
        kind: ``'as trained'``, ``'swapped'``, ``'checkpoint'`` or ``'input padded'``.
        note: Why it was measured, where that was not asked for.
        left_alone: Layers and lines of code that pad and were not swapped.
    """

    name: str
    kind: str
    note: str = ''
    left_alone: tuple[str, ...] = ()


@dataclass(frozen=True)
class Variant:
    """One detector of the measurement.

    Attributes:
        name: Its name in all outputs.
        kind: ``'as trained'``, ``'swapped'``, ``'checkpoint'`` or ``'input padded'``.
        mode: The padding mode of a swapped one.
        files: The detector of another checkpoint.
        input_padding: How the input image is padded.
        note: Why it is measured, where that was not asked for.
        left_alone: Layers that pad and could not be swapped.
    """

    name: str
    kind: str = AS_TRAINED
    mode: ModeSpec | None = None
    files: Detector | None = None
    input_padding: str | None = None
    note: str = ''
    left_alone: tuple[str, ...] = ()

    @property
    def info(self) -> VariantInfo:
        """What outputs tell of it."""
        return VariantInfo(self.name, self.kind, self.note, self.left_alone)

    @contextlib.contextmanager
    def built(self, base: nn.Module, device: str) -> Iterator[nn.Module]:
        """The variant's model.

        Args:
            base: The detector as trained; not changed.
            device: For another checkpoint.

        Raises:
            UserError: The swap changes nothing, or the other checkpoint has other classes.
        """
        if self.kind == SWAP:
            yield swapped(base, self.mode)  # type: ignore[arg-type]
        elif self.files is not None:
            with opened(self.files, device) as other:
                if detector_classes(other.model) != detector_classes(base):
                    raise UserError(
                        f'`checkpoints`: {self.name} has other classes than the first detector'
                    )
                yield other.model
        else:
            yield base


def swapped(model: nn.Module, mode: ModeSpec) -> nn.Module:
    """A copy of a detector with the padding of every layer swapped.

    Raises:
        UserError: The model has no padded layer, or is a function.
    """
    if isinstance(model, CallableDetector):
        raise UserError('`padding`: a function has no layers to swap; give a built detector')
    other = copy.deepcopy(model)
    swap_padding(other, mode)
    return other


def variants_of(
    model: nn.Module, settings: BorderSettings, checkpoints: Mapping[str, Detector]
) -> list[Variant]:
    """All variants that were asked for, the detector as trained first.

    Modes that the detector has already are left out: they would repeat the first.

    Raises:
        UserError: Two variants have the same name.
    """
    variants = [Variant(AS_TRAINED)]
    variants += swaps_of(model, settings.padding)
    variants += [
        Variant(name, CHECKPOINT, files=detector) for name, detector in checkpoints.items()
    ]
    variants += [
        Variant(f'input {how} {settings.input_padding_px} px', INPUT_PADDING, input_padding=how)
        for how in settings.input_padding
    ]
    names = [variant.name for variant in variants]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f'`checkpoints`: two detectors are called {name!r}: rename one')
    return variants


def swaps_of(model: nn.Module, modes: Sequence[ModeSpec]) -> list[Variant]:
    """Swaps to each of the modes that change any layer.

    Raises:
        UserError: The model has no layer to swap.
    """
    if modes and isinstance(model, CallableDetector):
        raise UserError('`padding`: a function has no layers to swap; give a built detector')
    variants = []
    for mode in modes:
        report = swap_padding(copy.deepcopy(model), mode)
        if any(layer.before != layer.after for layer in report.swapped):
            left = tuple(layer.name for layer in report.skipped)
            name = describe(get_modes(mode))
            variants.append(Variant(name, SWAP, mode=mode, left_alone=left))
    return variants
