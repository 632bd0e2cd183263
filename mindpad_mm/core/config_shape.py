"""The shape of a config: which keys hold dicts, lists or names. A wrong one is told by its key."""

from __future__ import annotations

import os.path as osp
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

from mindpad_mm.core.errors import UserError

# A pipeline can be tens of thousands of letters long.
_SHOWN = 60
_DICTS = (
    'model',
    'train_dataloader',
    'val_dataloader',
    'test_dataloader',
    'train_cfg',
    'val_cfg',
    'test_cfg',
    'randomness',
    'env_cfg',
    'default_hooks',
    'optim_wrapper',
)


def check_shape(cfg: Config) -> None:
    """Check the parts of a config that are read here, before anything is built from them.

    Args:
        cfg: The config. Keys that it does not have, and those that are None, are not checked.

    Raises:
        UserError: A value is of another type than MMEngine and MMDetection expect.
    """
    name = cfg.filename or 'the config'
    for key, value, wanted in _faults(cfg):
        shown = repr(value)
        shown = shown if len(shown) <= _SHOWN else f'{shown[:_SHOWN]}...'
        raise UserError(f'{name} has {key} = {shown}: it must be {wanted}')


def class_names(value: Any) -> tuple[str, ...] | None:
    """Names of classes as a tuple; None if the value is not one name or a sequence of names."""
    if isinstance(value, str):  # ('person') is not a tuple
        return (value,)
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        return None
    return tuple(value)


def _faults(cfg: Config) -> Iterator[tuple[str, Any, str]]:
    """(key, value, what it must be) of every wrong value."""
    for key in _DICTS:
        value = cfg.get(key)
        if value is not None and not isinstance(value, dict):
            yield key, value, 'a dict'
    scope = cfg.get('default_scope')
    if scope is not None and not isinstance(scope, str):
        yield 'default_scope', scope, "a name such as 'mmdet'"
    evaluators = cfg.get('test_evaluator')
    listed = evaluators if isinstance(evaluators, (list, tuple)) else [evaluators or {}]
    if not all(isinstance(each, dict) for each in listed):
        yield 'test_evaluator', evaluators, 'a dict, or a list of dicts'
    hooks = cfg.get('custom_hooks')
    if hooks is not None and not isinstance(hooks, (list, tuple)):
        yield 'custom_hooks', hooks, 'a list of dicts'
    for key in ('train_dataloader', 'test_dataloader'):
        loader = cfg.get(key)
        if isinstance(loader, dict) and loader:
            yield from _dataset_faults(loader.get('dataset'), f'{key}.dataset')


def _dataset_faults(dataset: Any, key: str) -> Iterator[tuple[str, Any, str]]:
    if not isinstance(dataset, dict):
        # A built dataset is possible, but cannot be read from a file.
        yield key, dataset, "a dict with the set's type"
        return
    for name, inner in (('dataset', dataset.get('dataset')), ('datasets', dataset.get('datasets'))):
        if name == 'datasets' and isinstance(inner, (list, tuple)):
            for number, each in enumerate(inner):
                yield from _dataset_faults(each, f'{key}.datasets.{number}')
        elif inner is not None:
            if name == 'datasets':
                yield f'{key}.datasets', inner, 'a list of dicts'
            else:
                yield from _dataset_faults(inner, f'{key}.dataset')
    pipeline = dataset.get('pipeline')
    if pipeline is not None:
        yield from _pipeline_faults(pipeline, f'{key}.pipeline')
    metainfo = dataset.get('metainfo')
    if metainfo is None:
        return
    if not isinstance(metainfo, dict):
        yield f'{key}.metainfo', metainfo, 'a dict'
        return
    classes = metainfo.get('classes')
    # A text is the name of a file with one class a line; MMEngine takes any other for its letters.
    lone = isinstance(classes, str) and not osp.isfile(classes)
    if classes is not None and (lone or class_names(classes) is None):
        meant = f", e.g. ('{classes}',)" if isinstance(classes, str) else ''
        yield f'{key}.metainfo.classes', classes, f'a tuple or list of names{meant}'


def _pipeline_faults(pipeline: Any, key: str) -> Iterator[tuple[str, Any, str]]:
    if not isinstance(pipeline, (list, tuple)):
        yield key, pipeline, 'a list of steps'
        return
    for number, step in enumerate(pipeline):
        if isinstance(step, dict) and 'type' not in step:
            yield f'{key}.{number}', step, 'a step with a type'
        elif not isinstance(step, dict) and not callable(step):
            yield f'{key}.{number}', step, 'a dict'
