"""A detector to measure: built from files, or given as it is, with low score thresholds."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import nn

from mindpad_mm.core.callable_detector import CallableDetector
from mindpad_mm.core.detector import DetectorFiles, lowered_thresholds, prediction_mode
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import load_config, load_detector
from mindpad_mm.core.names import PathLike
from mindpad_mm.core.scenes import Background, Scene, make_scene
from mindpad_mm.core.weights import check_preprocessor, check_weights, unusual_buffers

Detector: TypeAlias = nn.Module | DetectorFiles | tuple[PathLike, PathLike | None]
"""A built detector (``mmdet.apis.init_detector``), a :class:`CallableDetector`, or the files of one:
:class:`DetectorFiles` or a pair (config, checkpoint)."""


@dataclass(frozen=True)
class OpenedDetector:
    """A built detector, and what outputs call it.

    Attributes:
        model: The detector, in evaluation mode, with score thresholds of at most 0.001.
        config: Name of its config, or of its class or function.
        checkpoint: Its file; ``'in memory'`` for a built detector, None for random weights.
        cfg_options: Overrides of the config, lowered score thresholds included.
    """

    model: nn.Module
    config: str
    checkpoint: str | None
    cfg_options: dict[str, Any]

    def make_scene(self, background: Background, space: str) -> Scene:
        """What the detector makes of a background."""
        if isinstance(self.model, CallableDetector):
            return self.model.make_scene(background, space)
        return make_scene(background, self.model.cfg, space)

    def config_sha256(self) -> str:
        """Digest of the config; of a function, of its name and classes."""
        if isinstance(self.model, CallableDetector):
            content = repr((self.config, self.model.dataset_meta))
        else:
            content = repr(sorted(self.model.cfg.to_dict().items()))
        return hashlib.sha256(content.encode()).hexdigest()


@contextlib.contextmanager
def opened(detector: Detector, device: str) -> Iterator[OpenedDetector]:
    """A detector for the time of a measurement; the thresholds of a built one are restored after.

    Args:
        detector: Built, or its files.
        device: For a detector that is built from files, as torch names it.

    Raises:
        UserError: The files cannot be read, ``detector`` is none, or its weights cannot be right.
    """
    if isinstance(detector, tuple):
        detector = DetectorFiles(*detector)
    if isinstance(detector, DetectorFiles):
        config = load_config(str(detector.config), dict(detector.cfg_options or {}))
        thresholds = lowered_thresholds(config)
        weights = None if detector.checkpoint is None else str(detector.checkpoint)
        model = load_detector(config, weights, device, cfg_options=thresholds)
        options = {**(detector.cfg_options or {}), **thresholds}
        yield OpenedDetector(model, str(detector.config), weights, options)
    elif isinstance(detector, CallableDetector):
        name = getattr(detector.function, '__qualname__', type(detector.function).__name__)
        yield OpenedDetector(detector, name, 'in memory', {})
    elif isinstance(detector, nn.Module) and hasattr(detector, 'cfg'):
        with prediction_mode(detector):
            config = getattr(detector.cfg, 'filename', None) or type(detector).__name__
            check_weights(detector, f'detector {config}', unusual=unusual_buffers(detector))
            check_preprocessor(detector)
            yield OpenedDetector(detector, config, 'in memory', lowered_thresholds(detector.cfg))
    else:
        raise UserError(
            f'`detector` is a {type(detector).__name__}: give a model that mmdet.apis.init_detector '
            f'built, a pair (config, checkpoint), or a function wrapped by '
            f'mindpad_mm.CallableDetector(function, classes)'
        )


def device_of(detector: Detector) -> str:
    """The device to work on: where a built detector is, or what :class:`DetectorFiles` names."""
    if isinstance(detector, DetectorFiles):
        return detector.device
    parameter = next(detector.parameters(), None) if isinstance(detector, nn.Module) else None
    return 'cpu' if parameter is None else str(parameter.device)
