"""Recalibration: estimate a detector's batch-norm statistics anew, e.g. after a padding swap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.registry import DATASETS
from mmdet.utils import get_test_pipeline_cfg
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from torch import nn
from torch.optim.swa_utils import update_bn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import config_faults, load_detector
from mindpad_mm.core.progress import track
from mindpad_mm.evaluation.digests import state_digest


class _BatchNormTrainer(nn.Module):
    """Runs a detector on raw batches with only its batch norms in training mode.

    Dropout stays off. Batch norms train even in a backbone with ``norm_eval``.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def train(self, mode: bool = True) -> _BatchNormTrainer:
        self.training = mode
        self.model.eval()
        for module in _norms(self.model):
            module.train(mode)
        return self

    def forward(self, data: dict[str, Any]) -> Any:
        return self.model(**self.model.data_preprocessor(data, False), mode='tensor')


def recalibrate(model: nn.Module, loader: Iterable[dict[str, Any]]) -> int:
    """Set the running statistics of every batch norm to the mean of the statistics of batches.

    The saved statistics were computed with the padding of the training. Another padding changes the
    values near the borders of feature maps.

    Args:
        model: An MMDetection detector, which is changed in place; in eval mode afterwards. Its
            parameters do not change.
        loader: Batches of a test dataloader, all with the same number of images.

    Returns:
        The number of batch norms.

    Raises:
        UserError: No batch norm tracks running statistics.
    """
    norms = _norms(model)
    if not norms:
        raise UserError(f'{type(model).__name__} has no batch norm with running statistics')
    update_bn(loader, _BatchNormTrainer(model).eval())
    return len(norms)


def recalibrated_checkpoint(
    cfg: Config, checkpoint: str, images: int, path: Path, device: str = 'cpu', seed: int = 0
) -> None:
    """Write a checkpoint with batch-norm statistics estimated on training images.

    The images are drawn at random from the set of ``train_dataloader``. They pass through the pipeline of
    ``test_dataloader`` in batches of the size used in training.

    Args:
        cfg: Config of a detector, with the padding to recalibrate for.
        checkpoint: Path or URL of its weights.
        images: Number of images, at least 2. An incomplete last batch is left out.
        path: File to write.
        device: Torch device. Default: ``'cpu'``.
        seed: Seed of the choice of images. Default: 0.

    Raises:
        UserError: The training set has too few images, or no batch norm tracks running statistics.
    """
    model = load_detector(cfg, checkpoint, device)
    recalibrate(model, training_batches(cfg, images, seed))
    meta = {'dataset_meta': model.dataset_meta}
    torch.save({'state_dict': model.cpu().state_dict(), 'meta': meta}, path)


def training_digest(cfg: Config, images: int, seed: int = 0) -> str:
    """Digest of names, sizes and modification times of the images of :func:`training_batches`."""
    chosen = _training_images(cfg, images, seed)
    whole: Any = chosen.dataset
    paths = []
    for index in chosen.indices:
        part = int(np.searchsorted(whole.cumulative_sizes, index, side='right'))
        before = whole.cumulative_sizes[part - 1] if part else 0
        paths.append(whole.datasets[part].get_data_info(index - before)['img_path'])
    return state_digest(paths, 'training set')


def training_batches(cfg: Config, images: int, seed: int = 0) -> Iterable[dict[str, Any]]:
    """Batches of a config's training images without augmentation, with a progress bar.

    Args:
        cfg: Config with a ``train_dataloader`` and a ``test_dataloader``.
        images: Number of images, drawn without replacement.
        seed: Seed of the draw. Default: 0.

    Raises:
        UserError: There is no training set, or it has too few images.
    """
    chosen = _training_images(cfg, images, seed)
    # The variance of a single value is undefined, so a batch needs two images.
    batch_size = min(images, max(2, cfg.train_dataloader.get('batch_size', 1)))
    loader = DataLoader(chosen, batch_size, collate_fn=pseudo_collate, drop_last=True)
    return track(loader, 'recalibrating')


def _training_images(cfg: Config, images: int, seed: int) -> Subset[Dataset]:
    if cfg.get('train_dataloader') is None:
        raise UserError(f'`recalibrate`: {cfg.filename or "the config"} has no train_dataloader')
    init_default_scope(cfg.get('default_scope') or 'mmdet')
    pipeline = get_test_pipeline_cfg(cfg)
    with config_faults('the train_dataloader.dataset in the config cannot be built'):
        parts = [
            DATASETS.build(dict(part, pipeline=pipeline))
            for part in _plain_sets(cfg.train_dataloader.dataset)
        ]
        dataset: Dataset = ConcatDataset(parts)
    if not 2 <= images <= len(dataset):
        raise UserError(
            f'`recalibrate`: {images} images are not possible: give at least 2, and at most the '
            f'{len(dataset)} of the training set'
        )
    chosen = np.random.default_rng(seed).choice(len(dataset), images, replace=False)
    return Subset(dataset, chosen.tolist())


def _plain_sets(dataset: Any) -> Iterator[dict[str, Any]]:
    """The sets that a set is made of: wrappers such as RepeatDataset and ConcatDataset taken off."""
    if dataset.get('dataset') is not None:
        yield from _plain_sets(dataset['dataset'])
    elif dataset.get('datasets') is not None:
        for part in dataset['datasets']:
            yield from _plain_sets(part)
    else:
        yield dataset


def _norms(model: nn.Module) -> list[nn.Module]:
    batch_norm = nn.modules.batchnorm._BatchNorm
    return [
        module
        for module in model.modules()
        if isinstance(module, batch_norm) and module.track_running_stats
    ]
