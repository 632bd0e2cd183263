"""Detectors of a few lines, whose border loss is known."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from mindpad_mm import CallableDetector

STRIDE, BOX = 4, 24


class HeatDetector:
    """Convolutions to a map of scores at stride 4, each cell a box of 24 x 24 pixels around it.

    Args:
        layers: From (N, 3, H, W), (pixels - 128) / 64, to one map.
        first: Pixel at the centre of the first cell.
    """

    def __init__(self, layers: nn.Module, first: float = 1.5) -> None:
        self.layers, self.first = layers.double(), first

    def __call__(self, images: list[np.ndarray]) -> list[dict[str, Tensor]]:
        batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).double()
        with torch.inference_mode():
            scores = torch.sigmoid(self.layers((batch - 128) / 64))[:, 0]
        rows, cols = (torch.arange(n) * STRIDE + self.first + 0.5 for n in scores.shape[1:])
        centres = torch.stack(torch.meshgrid(cols, rows, indexing='xy'), -1).reshape(-1, 2)
        boxes = torch.cat([centres - BOX / 2, centres + BOX / 2], 1)
        labels = torch.zeros(len(boxes)).long()
        return [{'boxes': boxes, 'scores': each.flatten(), 'labels': labels} for each in scores]

    def wrapped(self) -> CallableDetector:
        return CallableDetector(self, ['thing'], colors='bgr')


def convolutions(padding_mode: str, strides=(2, 2, 1, 1), padding: int = 1) -> nn.Sequential:
    """Random 3 x 3 convolutions with ReLUs between."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    channels = 3
    for stride in strides:
        last = len(layers) == 2 * (len(strides) - 1)
        out = 1 if last else 6
        layer = nn.Conv2d(channels, out, 3, stride, padding, padding_mode=padding_mode)
        nn.init.kaiming_normal_(layer.weight)
        layers += [layer, nn.ReLU()]
        channels = out
    return nn.Sequential(*layers[:-1])


def noise_photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth noise, BGR."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (height // 6, width // 6, 3), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


class SquareDetector:
    """Finds one pure red square; ``score`` decides how sure it is.

    Args:
        score: From the image and the square's box to 0..1.
    """

    def __init__(self, score) -> None:
        self.score = score

    def __call__(self, images):
        found = []
        for image in images:
            red = (image == (0, 0, 255)).all(-1)
            if red.any():
                rows, cols = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
                box = [int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1]
                found.append({'boxes': [box], 'scores': [self.score(image, box)], 'labels': [0]})
            else:
                found.append({'boxes': np.zeros((0, 4)), 'scores': [], 'labels': []})
        return found

    def wrapped(self) -> CallableDetector:
        return CallableDetector(self, ['square'], colors='bgr')


def street(number: int, height: int = 420, width: int = 460) -> np.ndarray:
    """Noise without a pure red pixel, and not the same on any two numbers."""
    return np.clip(noise_photo(height, width, number), 40, 200)
