"""What a scan needs to know of a detector and its config."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import mmcv
import mmdet
import mmengine
import numpy as np
import torch
import torchvision
from mmengine.config import Config
from torch import nn

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.images import PathLike
from mindpad_mm.version import __version__

SCORE_THR = 0.001
DEFAULT_LABEL = 'traffic light'


@dataclass(frozen=True)
class DetectorFiles:
    """A detector on disk.

    Attributes:
        config: An MMDetection config.
        checkpoint: Its weights, a path or URL; None draws random ones.
        cfg_options: Overrides of the config, as ``--cfg-options`` gives them. Default: none.
        device: For torch, e.g. ``'cuda:0'``.
    """

    config: PathLike
    checkpoint: PathLike | None
    cfg_options: Mapping[str, Any] | None = None
    device: str = 'cpu'


def lowered_thresholds(config: Config) -> dict[str, float]:
    """The cfg-options that lower a detector's score thresholds to 0.001, never raising one.

    A blind spot shows as a low score, which the usual thresholds would hide.

    Args:
        config: A config with a ``model``.

    Returns:
        Such as ``{'model.test_cfg.score_thr': 0.001}``; empty where all are low already.

    Raises:
        UserError: A threshold is no number.
    """
    model = config.get('model')
    lowered = {}
    for key, value in _leaves(model, 'model') if isinstance(model, dict) else ():
        if '.test_cfg.' in key and key.endswith('.score_thr'):
            if not isinstance(value, (int, float)):
                raise UserError(f'the config has {key} = {value!r}: it must be a number')
            if value > SCORE_THR:
                lowered[key] = SCORE_THR
    return lowered


@contextlib.contextmanager
def prediction_mode(model: nn.Module) -> Iterator[None]:
    """Put a built detector in evaluation mode with score thresholds of 0.001 at most; restore both after.

    Args:
        model: A detector whose modules keep their thresholds in a dict ``test_cfg``.
    """
    training = [module for module in model.modules() if module.training]
    model.eval()
    raised: list[tuple[dict[str, Any], float]] = []
    for module in model.modules():
        for settings in _dicts(getattr(module, 'test_cfg', None)):
            threshold = settings.get('score_thr')
            if isinstance(threshold, (int, float)) and threshold > SCORE_THR:
                raised.append((settings, threshold))
                settings['score_thr'] = SCORE_THR
    try:
        yield
    finally:
        for settings, threshold in reversed(raised):
            settings['score_thr'] = threshold
        for module in training:
            module.training = True


def _dicts(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    values = node.values() if isinstance(node, dict) else node
    if isinstance(node, (dict, list, tuple)):
        for value in values:
            yield from _dicts(value)


def _leaves(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for name, value in items:
        if isinstance(value, (dict, list, tuple)):
            yield from _leaves(value, f'{key}.{name}')
        else:
            yield f'{key}.{name}', value


def detector_classes(model: nn.Module) -> list[str]:
    """Names of a detector's classes, in the order of its labels.

    Args:
        model: As :func:`mindpad_mm.core.loading.load_detector` gives it.

    Raises:
        UserError: They are not as many as the detector tells apart: they are another's.
    """
    classes = list(model.dataset_meta['classes'])
    for name, module in model.named_modules():
        if not re.search(r'(^|\.)bbox_head(\.\d+)?$', name):
            continue
        number = getattr(module, 'num_classes', len(classes))
        if number != len(classes):
            raise UserError(
                f'the detector predicts {number} classes ({name}.num_classes), but '
                f'{len(classes)} class names are given '
                f'({", ".join(classes[:3])}{", ..." * (len(classes) > 3)}): '
                f'set its own in the config, test_dataloader.dataset.metainfo.classes'
            )
    return classes


def find_label(label: str | None, classes: Sequence[str]) -> int:
    """Index of the class to ask for.

    Args:
        label: Its name; None stands for ``traffic light`` if that is a class, else for the only
            class.
        classes: The detector's.

    Raises:
        UserError: There is no such class, or no default.
    """
    classes = list(classes)
    if label is None:
        if DEFAULT_LABEL in classes:
            return classes.index(DEFAULT_LABEL)
        if len(classes) == 1:
            return 0
        raise UserError(f'set `label` to the class to look for; {_some(classes)}')
    if label not in classes:
        close = difflib.get_close_matches(label, classes, n=3, cutoff=0.5)
        hint = f'did you mean {" or ".join(map(repr, close))}?' if close else _some(classes)
        raise UserError(f'`label`: the detector has no class {label!r}; {hint}')
    return classes.index(label)


def _some(classes: Sequence[str], most: int = 80) -> str:
    more = f', ... ({len(classes)} in all)' if len(classes) > most else ''
    return f'it has {", ".join(classes[:most])}{more}'


def weights_sha256(model: nn.Module) -> str:
    """Digest of all parameters and buffers, by name, shape and value."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}'.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Versions of all that takes part in a scan."""
    modules = (mmdet, mmcv, mmengine, torch, torchvision, np, cv2)
    found = {module.__name__: str(module.__version__) for module in modules}
    return {'mindpad_mm': __version__, **found}
