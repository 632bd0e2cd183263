"""Load configs and detectors. Mistakes of the user become one-line errors."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os.path as osp
import re
import traceback
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from mmdet.evaluation import get_classes
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config, DictAction
from mmengine.logging import MMLogger, print_log
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader
from torch import nn

from mindpad_mm.core.config_shape import check_shape, class_names
from mindpad_mm.core.errors import UserError, one_line
from mindpad_mm.core.names import LEARNED_PADDING
from mindpad_mm.core.weights import (
    check_numbers,
    check_preprocessor,
    check_weights,
    some,
    unusual_buffers,
)

# Keys that old versions of MMDetection left in published checkpoints.
_HARMLESS_EXTRA_KEYS = ('ema_', 'data_preprocessor.')
# A config, and every config it inherits from, is a program: it can raise anything, and call sys.exit.
_CONFIG_ERRORS = (Exception, SystemExit)


def read_cfg_options(pairs: Sequence[str] | None) -> dict[str, Any] | None:
    """Overrides of a config from texts ``KEY=VALUE``, as MMEngine's ``DictAction`` reads them.

    Args:
        pairs: The texts; None stands for no overrides.

    Raises:
        UserError: A text has no ``=``, or the brackets of its value do not match.
    """
    if pairs is None:
        return None
    parser = argparse.ArgumentParser(add_help=False)
    action = parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    found = argparse.Namespace()
    try:
        action(parser, found, list(pairs))
    except (AssertionError, ValueError) as error:
        given = ' '.join(pairs)
        raise UserError(f'`cfg_options` {given!r} is not KEY=VALUE ({error})') from error
    return found.cfg_options


def load_config(config: str, cfg_options: dict[str, Any] | None = None) -> Config:
    """Read an MMDetection config.

    Args:
        config: Path of a config file.
        cfg_options: Overrides as ``--cfg-options`` gives them, e.g.
            ``{'model.backbone.padding_cfg': 'reflect'}``. Default: none.

    Returns:
        The config, with its ``filename`` set.

    Raises:
        UserError: The file is missing or not a valid config, or an override does not fit it.
    """
    if not osp.isfile(config):
        hint = f"; give a file that contains _base_ = '{config}'" if '::' in config else ''
        raise UserError(f'config {config} does not exist{hint}')
    try:
        cfg = Config.fromfile(config)
    except UserError:
        raise
    except _CONFIG_ERRORS as error:
        raise UserError(f'config {config} cannot be read: {one_line(error)}') from error
    if cfg_options:
        try:
            cfg.merge_from_dict(cfg_options)
        except _CONFIG_ERRORS as error:
            raise UserError(
                f'`cfg_options` {cfg_options} does not fit {config}: {one_line(error)}'
            ) from error
    check_shape(cfg)
    return cfg


def load_detector(
    config: Config | str,
    checkpoint: str | None,
    device: str = 'cpu',
    cfg_options: dict[str, Any] | None = None,
) -> nn.Module:
    """Build a detector for prediction, like ``mmdet.apis.init_detector``.

    Unlike ``init_detector``, it refuses a checkpoint that does not contain exactly the detector's
    weights.

    Args:
        config: A config, or the path of one.
        checkpoint: Local path or URL. ``None``: random weights from the config's own initialisation
            with the seed ``randomness.seed`` (default 0). Nothing is downloaded then.
        device: Torch device, e.g. ``'cuda:0'``. Default: ``'cpu'``.
        cfg_options: Overrides of the config. A config given as an object is not changed.

    Returns:
        The detector in eval mode, with ``cfg`` (the Config) and ``dataset_meta`` (``classes`` and
        ``palette`` from the checkpoint, else from the config's test set, else those of COCO).

    Raises:
        UserError: The config or the checkpoint cannot be read, the device is not available, the
            checkpoint's weights are not exactly the detector's, or weights or settings cannot be right.
    """
    if isinstance(config, str):
        cfg = load_config(config, cfg_options)
    else:
        cfg = config.copy()
        cfg.merge_from_dict(cfg_options or {})
        check_shape(cfg)
    check_device(device)
    name = cfg.filename or 'the config'
    if not cfg.get('test_dataloader'):
        raise UserError(f'{name} has no test_dataloader: a complete detector config is needed')

    loaded = None if checkpoint is None else _load_checkpoint(checkpoint)
    seed = (cfg.get('randomness') or {}).get('seed') or 0
    if not isinstance(seed, int):
        raise UserError(f'{name} has randomness.seed = {seed!r}: it must be a whole number')
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _build_model(cfg)
        if loaded is None:
            with _quiet():  # init_weights logs several lines per parameter
                model.init_weights()
            print_log(f'{name}: no checkpoint, random weights of seed {seed}', logger='current')
    stored = {} if loaded is None else stored_metainfo(loaded, str(checkpoint))
    # lazy_init: only the metainfo is needed, and the annotations may not be on this machine.
    with config_faults('the test_dataloader.dataset in the config cannot be built'):
        test_set = DATASETS.build(dict(cfg.test_dataloader.dataset, lazy_init=True))
    model.cfg = cfg
    model.dataset_meta = {'classes': get_classes('coco'), 'palette': 'random', **test_set.metainfo}
    if loaded is not None:
        load_weights(model, loaded, str(checkpoint))
        model.dataset_meta.update(stored)
    classes = class_names(model.dataset_meta['classes'])
    if classes is None:
        raise UserError(f'{name}: the classes of the test set are no names')
    model.dataset_meta['classes'] = classes
    to_device(model, device)
    model.eval()  # that of a distillation's student returns None
    return model


def stored_metainfo(checkpoint: dict[str, Any], name: str) -> dict[str, Any]:
    """What a checkpoint says about the classes that it was trained on, by lower-case key.

    Args:
        checkpoint: A Runner's checkpoint or a bare state dict.
        name: Name of the checkpoint in error messages.

    Returns:
        ``classes``, a tuple of names, and whatever else MMDetection stored; empty without a ``meta``.

    Raises:
        UserError: It has a ``dataset_meta`` that is no dict, or classes that are no names.
    """
    meta = checkpoint.get('meta')
    meta = meta if isinstance(meta, dict) else {}
    # MMDetection 2 wrote CLASSES to meta itself.
    stored = meta.get('dataset_meta') or {k: meta[k] for k in ('CLASSES',) if k in meta}
    advice = 'save it anew with the right ones, or only its state_dict'
    if not isinstance(stored, dict):
        kind = type(stored).__name__
        raise UserError(f'checkpoint {name}: meta.dataset_meta is a {kind}, not a dict: {advice}')
    known = {str(k).lower(): v for k, v in stored.items() if v is not None}
    if 'classes' in known:
        classes = class_names(known['classes'])
        if classes is None:
            kind = type(known['classes']).__name__
            raise UserError(
                f'checkpoint {name}: the classes in meta are a {kind}, not a list of names: {advice}'
            )
        known['classes'] = classes
    return known


def check_device(device: str) -> None:
    """Check that a device can compute.

    Raises:
        UserError: It is unknown, is not available, or holds no values (``meta``).
    """
    try:
        torch.ones(1, device=device).cpu()
    except Exception as error:  # torch's errors for devices are of a dozen types
        raise UserError(f'`device` {device!r} cannot be used: {one_line(error)[:200]}') from error


def to_device(model: nn.Module, device: str) -> nn.Module:
    """Move a model to a device.

    Raises:
        UserError: The device is not available.
    """
    check_device(device)
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f'`device` {device!r} cannot be used: {one_line(error)}') from error


def check_model(cfg: Config, checkpoint: str | None = None) -> None:
    """Check that a config's model can be built and that a checkpoint fits it.

    For use before a Runner, which only logs weights that do not fit and continues without them.

    Args:
        cfg: A config with a ``model``.
        checkpoint: Local path or URL. Default: only the model is checked.

    Raises:
        UserError: The model cannot be built, the checkpoint cannot be read, or its weights are
            not exactly the model's.
    """
    with _quiet():  # the Runner will log the same lines
        loaded = None if checkpoint is None else _load_checkpoint(checkpoint)
        model = _build_model(cfg)
        if loaded is not None:
            stored_metainfo(loaded, str(checkpoint))
            load_weights(model, loaded, str(checkpoint))


def _load_checkpoint(name: str) -> dict[str, Any]:
    try:
        return CheckpointLoader.load_checkpoint(name, 'cpu')
    except ImportError as error:  # e.g. s3:// without petrel_client
        raise UserError(f'checkpoint {name} cannot be fetched: {error}') from error


def load_weights(model: nn.Module, checkpoint: dict[str, Any], name: str) -> None:
    """Load a checkpoint's weights into a model that they must fit exactly.

    Args:
        model: A model that is not wrapped for distributed training.
        checkpoint: A Runner's checkpoint or a bare state dict. A prefix ``module.`` is removed.
        name: Name of the checkpoint in error messages.

    Raises:
        UserError: A weight is missing, left over, of another shape, or cannot be right, see
            :func:`mindpad_mm.core.weights.check_weights`. Batch-norm counters may be missing. Keys that
            old versions of MMDetection left in published checkpoints may be left over.
    """
    stored = checkpoint.get('state_dict', checkpoint)
    if not isinstance(stored, dict):
        raise UserError(f'checkpoint {name} holds a {type(stored).__name__}, not a dict of weights')
    weights: Any = OrderedDict((re.sub(r'^module\.', '', str(k)), v) for k, v in stored.items())
    # Module versions, by which modules translate keys of older checkpoints.
    weights._metadata = getattr(stored, '_metadata', None)
    unusual = unusual_buffers(model)
    try:
        keys = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:]]
        found = re.findall(r'size mismatch for (\S+):', '\n'.join(lines))
        problem = some('of another shape', found) if found else one_line(error)
    else:
        missing = [k for k in keys.missing_keys if not k.endswith('num_batches_tracked')]
        extra = [k for k in keys.unexpected_keys if not k.startswith(_HARMLESS_EXTRA_KEYS)]
        problem = '; '.join(some(*p) for p in (('missing', missing), ('left over', extra)) if p[1])
    if problem:
        if LEARNED_PADDING in problem:
            problem += '; padding mode learned goes with a checkpoint that `mindpad adapt` wrote'
        raise UserError(f'checkpoint {name} does not fit the detector in the config: {problem}')
    check_weights(model, f'checkpoint {name}', weights, unusual)


def _build_model(cfg: Config) -> nn.Module:
    if not isinstance(cfg.get('model'), dict):
        raise UserError(f'{cfg.filename or "the config"} has no model: is it a detector config?')
    init_default_scope(cfg.get('default_scope') or 'mmdet')
    check_numbers(cfg.model, 'model')
    with config_faults('the model in the config cannot be built'):
        model = MODELS.build(_without_pretrained(cfg.model))
    check_preprocessor(model)
    return revert_sync_batchnorm(model)


@contextlib.contextmanager
def config_faults(problem: str) -> Iterator[None]:
    """Turn errors that a part of a config causes in MMDetection into UserError.

    Errors raised by mindpad_mm's own code are bugs and pass unchanged.

    Args:
        problem: Beginning of the message, e.g. ``'the model in the config cannot be built'``.
    """
    try:
        with users_faults():
            yield
    except UserError:
        raise
    except Exception as error:  # a part of a config is any program
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        if frame.f_globals.get('__name__', '').startswith('mindpad_mm'):
            raise
        raise UserError(f'{problem}: {one_line(error)}') from error


@contextlib.contextmanager
def users_faults() -> Iterator[None]:
    """Turn MMDetection's errors for what a user lacks into UserError.

    These are a missing file or package, and an unknown ``type``.
    """
    try:
        yield
    except FileNotFoundError as error:
        # A data loader's process puts a traceback in the text; the message is its last line.
        lines = str(error).strip().splitlines() or [one_line(error)]
        raise UserError(lines[-1]) from error
    except ImportError as error:
        raise UserError(
            f'a package is missing that the config needs ({one_line(error)}): install it'
        ) from error
    except RuntimeError as error:
        # MMDetection's text for a missing package, for example panopticapi.
        if 'is not installed' not in str(error):
            raise
        raise UserError(' '.join(str(error).split())) from error
    except KeyError as error:
        if 'registry' not in str(error):
            raise
        # After the first sentence, the text is advice on registering modules.
        raise UserError(str(error.args[0]).split('. ')[0]) from error


def _without_pretrained(node: Any) -> Any:
    """Copy of a model's config without pretrained weights, so that none are read or downloaded."""
    if isinstance(node, dict):
        copy = type(node)({k: _without_pretrained(v) for k, v in node.items()})
        init = copy.get('init_cfg')
        # The init_cfg of PVT has a checkpoint but no type.
        if 'Pretrained' in str(init) or (isinstance(init, dict) and 'checkpoint' in init):
            copy['init_cfg'] = None
        if isinstance(copy.get('pretrained'), str):
            copy['pretrained'] = None
        if isinstance(copy.get('teacher_ckpt'), str):  # of a distillation, which needs it to train
            copy['teacher_ckpt'] = None
        return copy
    if isinstance(node, (list, tuple)):
        return type(node)(_without_pretrained(v) for v in node)
    return node


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
