"""A small sequential classifier of letters, and its training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mindpad_mm.padding import swap_padding
from studies.letters_data import Letters, LetterSet

CLASSES = 26
_POOLED = 4
BATCH = 32
LEARNING_RATE = 1e-3
PATIENCE = 2
MOST_EPOCHS = 12
# Smallest pixel value that counts as ink when a letter is shifted.
_INK = 64


@dataclass(frozen=True)
class LetterSetting:
    """One model of the study.

    Attributes:
        mode: Padding mode of every convolution.
        batch_norm: Whether batch norm follows each convolution.
        size: Side of the input, pixels: 28, where both strided layers read their padding only at the
            top and left (uneven), or 29, where they read it on all sides (even).
        seed: Seed of the initial weights and of the order of the images.
    """

    mode: str
    batch_norm: bool
    size: int
    seed: int

    @property
    def name(self) -> str:
        """Name of the model's files."""
        return f'{self.mode}_{"bn" if self.batch_norm else "plain"}_{self.size}_seed{self.seed}'


def letter_classifier(mode: str, batch_norm: bool) -> nn.Sequential:
    """Five 3 x 3 "same" convolutions (two of stride 2), average pooling and two linear layers.

    The input is (N, 1, H, W) in 0..1, of any size; the output is (N, 26) logits.
    """
    layers: list[nn.Module] = []
    width = 1
    for channels, stride in ((8, 1), (16, 2), (16, 1), (32, 2), (32, 1)):
        layers.append(nn.Conv2d(width, channels, 3, stride, padding=1))
        layers += [nn.BatchNorm2d(channels)] if batch_norm else []
        layers.append(nn.ReLU())
        width = channels
    pooled = nn.AdaptiveAvgPool2d(_POOLED)  # the same shape for both input sizes
    layers += [pooled, nn.Flatten(), nn.Linear(width * _POOLED**2, 64), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(64, CLASSES))
    swap_padding(model, mode)
    return model


def as_input(images: np.ndarray, size: int) -> Tensor:
    """Enlarge (N, H, H) uint8 images to (N, 1, size, size) in 0..1."""
    return torch.from_numpy(enlarged(images, size))[:, None].float() / 255


def enlarged(images: np.ndarray, size: int) -> np.ndarray:
    """Enlarge (N, H, H) to (N, size, size) by black rows at the bottom and columns at the right."""
    more = size - images.shape[-1]
    return np.pad(images, ((0, 0), (0, more), (0, more)))


def train(setting: LetterSetting, letters: LetterSet) -> tuple[nn.Module, dict[str, Any]]:
    """Train with Adam until the validation loss has not fallen for two epochs.

    Initial weights and the order of the images depend only on the seed.

    Returns:
        The model of the best epoch in evaluation mode, and ``epochs`` (number trained),
        ``best_epoch`` (counted from 1) and its ``val_loss``.
    """
    torch.manual_seed(setting.seed)
    model = letter_classifier(setting.mode, setting.batch_norm)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    order = np.random.default_rng(setting.seed)
    images, labels = as_input(letters.train.images, setting.size), _labels(letters.train)
    best, best_epoch, weights = float('inf'), 0, {}
    for epoch in range(1, MOST_EPOCHS + 1):
        model.train()
        for batch in torch.from_numpy(order.permutation(len(labels))).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
        loss = evaluate(model, letters.val, setting.size)['loss']
        if loss < best:
            best, best_epoch = loss, epoch
            weights = {name: value.clone() for name, value in model.state_dict().items()}
        elif epoch - best_epoch >= PATIENCE:
            break
    model.load_state_dict(weights)
    return model.eval(), {'epochs': epoch, 'best_epoch': best_epoch, 'val_loss': best}


def evaluate(model: nn.Module, letters: Letters, size: int) -> dict[str, Any]:
    """Test a model on images that are enlarged to ``size`` pixels.

    Returns:
        ``loss``, the mean cross-entropy in nats, and ``correct``, (N,) bool.
    """
    model.eval()
    labels = _labels(letters)
    with torch.no_grad():
        logits = torch.cat([model(part) for part in as_input(letters.images, size).split(256)])
    return {
        'loss': float(F.cross_entropy(logits, labels)),
        'correct': (logits.argmax(1) == labels).numpy(),
    }


def shifted(images: np.ndarray, vertical: int, horizontal: int) -> np.ndarray:
    """Shift every letter until its ink touches a border.

    Args:
        images: (N, H, H) uint8.
        vertical: -1 for up, 1 for down, 0 for no shift.
        horizontal: -1 for left, 1 for right, 0 for no shift.

    Returns:
        Images of the same shape; new rows and columns are black.
    """
    moved = np.zeros_like(images)
    for source, target in zip(images, moved):
        ink = source >= min(_INK, source.max())
        dy, dx = (_shift(ink.any(axis), way) for axis, way in ((1, vertical), (0, horizontal)))
        rows, cols = (slice(max(0, d), len(source) + min(0, d)) for d in (dy, dx))
        back = (slice(max(0, -d), len(source) + min(0, -d)) for d in (dy, dx))
        target[rows, cols] = source[tuple(back)]
    return moved


def _shift(inked: np.ndarray, direction: int) -> int:
    """Pixels by which ink in these rows or columns, (H,) bool, can move in a direction."""
    if not direction:
        return 0
    indices = np.flatnonzero(inked)
    return -int(indices[0]) if direction < 0 else len(inked) - 1 - int(indices[-1])


def _labels(letters: Letters) -> Tensor:
    return torch.from_numpy(letters.labels)
