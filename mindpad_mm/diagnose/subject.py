"""The network to diagnose: a detector or any other module, and how to run it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
import torchvision
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.utils import get_test_pipeline_cfg
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import load_config, load_detector, load_weights, to_device
from mindpad_mm.core.names import ModeSpec
from mindpad_mm.core.scenes import in_grey
from mindpad_mm.padding import swap_padding

TORCHVISION = 'torchvision:'
_LARGEST = 8192
_IMAGENET_MEAN = (123.675, 116.28, 103.53)
_IMAGENET_STD = (58.395, 57.12, 57.375)


@dataclass
class Subject:
    """A network in evaluation mode, and the size of its input.

    Attributes:
        model: A detector of MMDetection or any module that takes (N, 3, H, W).
        input_size: (height, width), pixels.
        name: Name for messages and titles.
    """

    model: nn.Module
    input_size: tuple[int, int]
    name: str = 'the network'

    @classmethod
    def load(
        cls,
        config: str,
        checkpoint: str | None = None,
        input_size: Sequence[int] | None = None,
        cfg_options: dict[str, Any] | None = None,
        device: str = 'cpu',
    ) -> Subject:
        """Load a network from file names.

        Args:
            config: An MMDetection config, or ``torchvision:<name>`` for one of its classifiers.
            checkpoint: Checkpoint file; None for random weights.
            input_size: (height, width), pixels. Default: the scale of the config's test
                pipeline; 224 x 224 for classifiers.
            cfg_options: Overrides of the config.
            device: torch device.

        Raises:
            UserError: The config or checkpoint cannot be loaded, or the input size is invalid or
                unknown.
        """
        if input_size is not None and not 1 <= min(input_size) <= max(input_size) <= _LARGEST:
            raise UserError(
                f'`input_size` {input_size[0]} x {input_size[1]}: each side must have 1 to {_LARGEST} '
                'pixels'
            )
        if config.startswith(TORCHVISION):
            model = _classifier(config[len(TORCHVISION) :], checkpoint)
            return cls(to_device(model, device), tuple(input_size or (224, 224)), config)
        cfg = load_config(config, cfg_options)
        model = load_detector(cfg, checkpoint, device)
        return cls(model, tuple(input_size or pipeline_size(cfg)), config)

    @property
    def device(self) -> torch.device:
        """The device of the network's weights."""
        return next(self.model.parameters()).device

    @property
    def channels(self) -> int:
        """Channels of the network's input: 1 if its first convolution takes one, else 3."""
        first = next((m for m in self.model.modules() if isinstance(m, nn.Conv2d)), None)
        return 1 if first is not None and first.in_channels == 1 else 3

    def dense(self, images: Tensor) -> Any:
        """Run the convolutional part: backbone, neck and dense head of a detector, all of other modules.

        Heads that are not dense (a DETR's transformer, learned proposals) are skipped: they have no
        padding.

        Args:
            images: (N, 3, H, W) float32, preprocessed.

        Returns:
            The output of the last of these parts.
        """
        if not hasattr(self.model, 'extract_feat'):
            return self.model(images)
        features = self.model.extract_feat(images)
        for name in ('bbox_head', 'rpn_head'):
            head = getattr(self.model, name, None)
            if isinstance(head, BaseDenseHead):
                return head(features)
        return features

    def preprocess(self, images: Sequence[np.ndarray]) -> Tensor:
        """Normalise images for the network.

        Applies a detector's data preprocessor without its padding to a divisor; for any other module
        converts to RGB and normalises by ImageNet's mean and standard deviation.

        Args:
            images: (H, W, 3) uint8 BGR, all of one size.

        Returns:
            (N, 3, H, W) float32 on the network's device; (N, 1, H, W) for a network of grey images.
        """
        if self.channels == 1:
            images = [in_grey(image)[..., None] for image in images]
        batch = torch.from_numpy(np.stack(images)).to(self.device).permute(0, 3, 1, 2)
        # Convolutions on a CPU are up to twice as fast in this memory format and keep it.
        batch = batch.float().contiguous(memory_format=torch.channels_last)
        own = getattr(self.model, 'data_preprocessor', None)
        if own is None:
            mean, std = (torch.tensor(v).view(3, 1, 1) for v in (_IMAGENET_MEAN, _IMAGENET_STD))
            if self.channels == 1:
                mean, std = mean.mean(0, keepdim=True), std.mean(0, keepdim=True)
            return (batch.flip(1) - mean.to(self.device)) / std.to(self.device)
        if getattr(own, '_channel_conversion', False):
            batch = batch.flip(1)
        return (batch - own.mean) / own.std if getattr(own, '_enable_normalize', False) else batch

    def fitted(self, image: np.ndarray) -> np.ndarray:
        """An image resized to the input size, (H, W, 3) uint8 BGR."""
        height, width = self.input_size
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)

    def padded_by(self, mode: ModeSpec) -> Subject:
        """A copy of the network with another padding mode that shares the weights."""
        # Weights are shared: six copies of a large detector could exceed the memory.
        weights = [*self.model.parameters(), *self.model.buffers()]
        model = copy.deepcopy(self.model, {id(weight): weight for weight in weights})
        swap_padding(model, mode)
        return Subject(model, self.input_size, f'{self.name} ({mode})')


def pipeline_size(cfg: Any) -> tuple[int, int]:
    """The (height, width) in pixels to which a config's test pipeline resizes images.

    With ``keep_ratio`` it is the size that they have to fit in.

    Raises:
        UserError: No step of the pipeline has a scale.
    """
    for step in get_test_pipeline_cfg(cfg):
        if 'Resize' in str(step['type']) and step.get('scale'):
            scale = step['scale']  # (width, height), or one number for both
            numbers = list(scale) if isinstance(scale, (list, tuple)) else [scale, scale]
            if len(numbers) != 2 or not all(isinstance(n, int) and n > 0 for n in numbers):
                raise UserError(
                    f'the test pipeline has a Resize with scale = {scale!r}: it must be (width, height)'
                )
            return numbers[1], numbers[0]
    raise UserError('the test pipeline has no step with a scale: set `input_size`')


def _classifier(name: str, checkpoint: str | None) -> nn.Module:
    choices = torchvision.models.list_models(module=torchvision.models)
    if name not in choices:
        raise UserError(
            f'torchvision has no classifier {name!r}; choose one of: {", ".join(choices)}'
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = torchvision.models.get_model(name, weights=None)
    if checkpoint is not None:
        load_weights(model, CheckpointLoader.load_checkpoint(checkpoint, 'cpu'), checkpoint)
    return model.eval()
