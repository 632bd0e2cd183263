"""Facts about a detector and its config that a scan needs."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import math
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
from mindpad_mm.core.names import SCORE_THR, PathLike
from mindpad_mm.version import __version__

DEFAULT_LABEL = 'traffic light'
# A number of boxes that no detector reaches.
_ALL = 10**9


@dataclass(frozen=True)
class DetectorFiles:
    """A detector on disk.

    Attributes:
        config: Path of an MMDetection config.
        checkpoint: Path or URL of the weights; None: random weights.
        cfg_options: Overrides of the config, as ``--cfg-options`` gives them. Default: none.
        device: Torch device, e.g. ``'cuda:0'``. Default: ``'cpu'``.
    """

    config: PathLike
    checkpoint: PathLike | None
    cfg_options: Mapping[str, Any] | None = None
    device: str = 'cpu'


def lowered_thresholds(config: Config) -> dict[str, float]:
    """The cfg-options that lower a detector's score thresholds to 0.001; lower ones stay.

    At a blind spot the score is low, and the usual thresholds would remove the detection.

    Args:
        config: A config with a ``model``.

    Returns:
        Overrides such as ``{'model.test_cfg.score_thr': 0.001}``; empty if no threshold is higher.

    Raises:
        UserError: A threshold is not a number.
    """
    model = config.get('model')
    lowered = {}
    for key, value in _leaves(model, 'model') if isinstance(model, dict) else ():
        if '.test_cfg.' in key and key.endswith('.score_thr'):
            if not isinstance(value, (int, float)) or not math.isfinite(value):
                raise UserError(f'the config has {key} = {value!r}: it must be a number')
            if value > SCORE_THR:
                lowered[key] = SCORE_THR
    return lowered


@contextlib.contextmanager
def prediction_mode(model: nn.Module) -> Iterator[None]:
    """Put a detector in evaluation mode with score thresholds of at most 0.001.

    Mode and thresholds are restored when the context ends.

    Args:
        model: A built detector, whose modules have their thresholds in a dict ``test_cfg``.

    Raises:
        UserError: A threshold is not a number.
    """
    training = [module for module in model.modules() if module.training]
    lowered: list[tuple[dict[str, Any], float]] = []
    for module in model.modules():
        for settings in _dicts(getattr(module, 'test_cfg', None)):
            threshold = settings.get('score_thr')
            if isinstance(threshold, float) and not math.isfinite(threshold):
                raise UserError(
                    f'the detector has test_cfg.score_thr = {threshold}: it must be a number'
                )
            if isinstance(threshold, (int, float)) and threshold > SCORE_THR:
                lowered.append((settings, threshold))
    model.eval()
    for settings, _ in lowered:
        settings['score_thr'] = SCORE_THR
    try:
        yield
    finally:
        for settings, threshold in lowered:
            settings['score_thr'] = threshold
        for module in training:
            module.training = True


@contextlib.contextmanager
def all_boxes(model: nn.Module) -> Iterator[None]:
    """While active, a detector returns its boxes of any score, and suppresses none.

    The proposals of two-stage detectors stay as they are, and their masks are left out: there would be
    one for each box. Heads without non-maximum suppression return all of their boxes anyway.

    Args:
        model: A built detector, whose modules have a dict ``test_cfg``.
    """
    changed: list[tuple[dict[str, Any], dict[str, Any]]] = []
    masks: list[tuple[nn.Module, nn.Module]] = []
    for name, module in model.named_modules():
        settings = getattr(module, 'test_cfg', None)
        if isinstance(settings, dict) and not name.endswith('rpn_head'):
            own = {key: value for key, value in settings.items() if key != 'rpn'}
            for each in (settings, *_dicts(list(own.values()))):
                if each.get('nms') is not None:
                    changed.append((each, dict(each)))
                    most = {key: _ALL for key in ('nms_pre', 'max_per_img') if key in each}
                    each.update({'nms': None, 'score_thr': 0.0, **most})
        head = getattr(module, 'mask_head', None)
        if name.endswith('roi_head') and isinstance(head, nn.Module):
            masks.append((module, head))
            module.mask_head = None
    try:
        yield
    finally:
        for each, before in reversed(changed):
            each.clear()
            each.update(before)
        for module, head in masks:
            module.mask_head = head


def _dicts(node: Any) -> Iterator[dict[str, Any]]:
    """All dicts in nested dicts, lists and tuples."""
    if isinstance(node, dict):
        yield node
    values = node.values() if isinstance(node, dict) else node
    if isinstance(node, (dict, list, tuple)):
        for value in values:
            yield from _dicts(value)


def _leaves(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything in nested dicts, lists and tuples."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for name, value in items:
        if isinstance(value, (dict, list, tuple)):
            yield from _leaves(value, f'{key}.{name}')
        else:
            yield f'{key}.{name}', value


def detector_classes(model: nn.Module) -> list[str]:
    """Names of a detector's classes, in the order of its labels.

    Args:
        model: A detector with ``dataset_meta``, see
            :func:`mindpad_mm.core.loading.load_detector`.

    Raises:
        UserError: The number of names is not the number of classes that the detector predicts.
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
                f'set test_dataloader.dataset.metainfo.classes in the config'
            )
    return classes


def find_label(label: str | None, classes: Sequence[str]) -> int:
    """Index of the class to look for.

    Args:
        label: Name of the class. None: ``traffic light`` if there is such a class, else the only
            class.
        classes: Names of the detector's classes.

    Raises:
        UserError: There is no such class, or ``label`` is None and there is no default.
    """
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


# mmcv's convolutions with weight standardisation, and Grid R-CNN's head.
_FLAT_VIEWS = {'ConvWS2d', 'ConvAWS2d', 'GridHead'}


def in_channels_last(model: nn.Module) -> nn.Module:
    """Move a detector's weights to the memory format in which a CPU is up to twice as fast.

    A detector with modules that view their weights or maps as flat (:data:`_FLAT_VIEWS`) stays as it is:
    they fail in this format.
    """
    classes = {base.__name__ for module in model.modules() for base in type(module).__mro__}
    if classes & _FLAT_VIEWS:
        return model
    # MMDetection's distillation detectors have a `to` of their own, which takes only a device.
    return nn.Module.to(model, memory_format=torch.channels_last)


def weights_sha256(model: nn.Module) -> str:
    """Digest of names, types, shapes and values of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}'.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Version of each package that a scan depends on."""
    modules = (mmdet, mmcv, mmengine, torch, torchvision, np, cv2)
    found = {module.__name__: str(module.__version__) for module in modules}
    return {'mindpad_mm': __version__, **found}
