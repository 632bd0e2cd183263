"""Batch-norm statistics estimated anew, as a change of padding asks for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from rich.console import Console
from rich.progress import track
from torch import nn
from torch.optim.swa_utils import update_bn
from torch.utils.data import DataLoader, Dataset, Subset

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import load_detector, users_faults
from mindpad_mm.evaluation.detections import state_digest


class _NormsAlone(nn.Module):
    """A detector of which only the batch norms ever go to training mode, fed with raw batches.

    Dropout must not act, and a backbone with ``norm_eval`` would keep its norms from training.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def train(self, mode: bool = True) -> _NormsAlone:
        self.training = mode
        self.model.eval()
        for module in _norms(self.model):
            module.train(mode)
        return self

    def forward(self, data: dict[str, Any]) -> Any:
        return self.model(**self.model.data_preprocessor(data, False), mode='tensor')


def recalibrate(model: nn.Module, loader: Iterable[dict[str, Any]]) -> int:
    """Set the running statistics of every batch norm to their mean over some batches, in place.

    The statistics of a network were gathered under the padding it was trained with; under another
    the borders of its maps hold other values.

    Args:
        model: A detector of MMDetection; in eval mode afterwards. No parameter changes.
        loader: Batches as a test dataloader gives them, the same number of images each.

    Returns:
        How many batch norms there are.

    Raises:
        UserError: There is none that keeps statistics.
    """
    norms = _norms(model)
    if not norms:
        raise UserError(f'{type(model).__name__} has no batch norm that keeps statistics')
    update_bn(loader, _NormsAlone(model).eval())
    return len(norms)


def recalibrated_checkpoint(
    cfg: Config, checkpoint: str, images: int, path: Path, device: str = 'cpu', seed: int = 0
) -> None:
    """Write a checkpoint whose batch-norm statistics are of ``images`` training images.

    The images are drawn at random from the config's ``train_dataloader`` and go through the
    pipeline of its ``test_dataloader``, in batches of the training's size.

    Args:
        cfg: A detector's config, its padding as it is to be.
        checkpoint: Its weights.
        images: At least 2; a last batch that is not full is left out.
        path: The file to write.
        device: For torch.
        seed: Of the choice of images.

    Raises:
        UserError: Too few images in the training set, or see :func:`recalibrate`.
    """
    model = load_detector(cfg, checkpoint, device)
    recalibrate(model, training_batches(cfg, images, seed))
    meta = {'dataset_meta': model.dataset_meta}
    torch.save({'state_dict': model.cpu().state_dict(), 'meta': meta}, path)


def training_digest(cfg: Config, images: int, seed: int = 0) -> str:
    """Digest of the names, sizes and times of the images that :func:`training_batches` takes."""
    chosen = _training_images(cfg, images, seed)
    paths = [chosen.dataset.get_data_info(index)['img_path'] for index in chosen.indices]
    return state_digest(paths, 'training set')


def training_batches(cfg: Config, images: int, seed: int = 0) -> Iterable[dict[str, Any]]:
    """Batches of a config's training images, undistorted, with a progress bar.

    Args:
        cfg: With a ``train_dataloader`` and a ``test_dataloader``.
        images: How many, drawn without replacement.
        seed: Of the draw.

    Raises:
        UserError: There are not as many, or no training set.
    """
    chosen = _training_images(cfg, images, seed)
    # One image alone may leave a batch norm with a single value.
    batch_size = min(images, max(2, cfg.train_dataloader.get('batch_size', 1)))
    loader = DataLoader(chosen, batch_size, collate_fn=pseudo_collate, drop_last=True)
    return track(loader, 'recalibrating', console=Console(stderr=True))


def _training_images(cfg: Config, images: int, seed: int) -> Subset[Dataset]:
    from mmdet.registry import DATASETS

    if cfg.get('train_dataloader') is None:
        raise UserError(f'{cfg.filename or "the config"} has no train_dataloader to recalibrate on')
    init_default_scope(cfg.get('default_scope') or 'mmdet')
    dataset_cfg = cfg.train_dataloader.dataset
    while 'dataset' in dataset_cfg:  # repeated or mixed: the set inside
        dataset_cfg = dataset_cfg.dataset
    with users_faults():
        dataset = DATASETS.build(dict(dataset_cfg, pipeline=cfg.test_dataloader.dataset.pipeline))
    if not 2 <= images <= len(dataset):
        raise UserError(
            f'cannot recalibrate on {images} images: give 2 or more, at most the {len(dataset)} '
            'of the training set'
        )
    chosen = np.random.default_rng(seed).choice(len(dataset), images, replace=False)
    return Subset(dataset, chosen.tolist())


def _norms(model: nn.Module) -> list[nn.Module]:
    batch_norm = nn.modules.batchnorm._BatchNorm
    return [
        module
        for module in model.modules()
        if isinstance(module, batch_norm) and module.track_running_stats
    ]
