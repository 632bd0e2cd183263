"""Scan any function from images to detections."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.scenes import Background, Scene

Detections = Mapping[str, Any]
"""Detections of one image as tensors, arrays or lists: ``boxes`` (M, 4) ``x1, y1, x2, y2`` in pixels of
the image, ``scores`` (M,) in 0..1, and ``labels`` (M,) int."""


class CallableDetector(nn.Module):
    """Wraps a function so that :func:`mindpad_mm.blindspot_scan` can scan it.

    Objects are pasted into the image, and the full engine runs the function on every pasted image. The
    incremental engine needs MMDetection's modules.

    Args:
        function: Takes a list of N (H, W, 3) uint8 arrays and returns N :data:`Detections`. They must be
            final, i.e. after non-maximum suppression. The score threshold should be low, because the
            score is low at a blind spot.
        classes: Name of each label.
        colors: Order of the channels that ``function`` expects: ``'rgb'`` (default) or ``'bgr'``.

    Raises:
        UserError: ``colors`` is unknown.

    Example:
        >>> from torchvision.models.detection import SSD300_VGG16_Weights, ssd300_vgg16
        >>> weights = SSD300_VGG16_Weights.DEFAULT
        >>> model = ssd300_vgg16(weights=weights, score_thresh=0.001).eval()
        >>> def detect(images):
        ...     tensors = [torch.from_numpy(image).permute(2, 0, 1) / 255 for image in images]
        ...     with torch.inference_mode():
        ...         return model(tensors)
        >>> detector = CallableDetector(detect, weights.meta['categories'])
        >>> result = blindspot_scan(detector, 'street.jpg', 'light.png', label='traffic light')
    """

    def __init__(
        self,
        function: Callable[[list[np.ndarray]], Sequence[Detections]],
        classes: Sequence[str],
        colors: str = 'rgb',
    ) -> None:
        super().__init__()
        if colors not in ('rgb', 'bgr'):
            raise UserError(f"`colors` {colors!r} is unknown; choose one of: 'rgb', 'bgr'")
        self.function = function
        self.colors = colors
        self.dataset_meta = {'classes': tuple(classes)}

    def make_scene(self, background: Background, space: str = 'input') -> Scene:
        """The background itself as a scene; the spaces ``input`` and ``image`` are the same here."""
        return Scene(background.pixels, background.source, space, _as_input, {})

    def test_step(self, data: dict[str, Any]) -> list[DetDataSample]:
        """Run the function on a batch from :meth:`Scene.pack`.

        Raises:
            UserError: The function returned something else than detections of each image.
        """
        images = [image.permute(1, 2, 0).numpy() for image in data['inputs']]
        if self.colors == 'rgb':
            images = [image[..., ::-1] for image in images]
        found = self.function([np.ascontiguousarray(image) for image in images])
        if len(found) != len(images):
            raise UserError(
                f'the detector function returned {len(found)} detections for {len(images)} images: '
                f'it must return one mapping for each image'
            )
        return [DetDataSample(pred_instances=_instances(each)) for each in found]


def _as_input(data: dict[str, Any]) -> dict[str, Any]:
    inputs = torch.from_numpy(np.ascontiguousarray(data['img'])).permute(2, 0, 1)
    return {'inputs': inputs, 'data_samples': DetDataSample()}


def _instances(detections: Detections) -> InstanceData:
    missing = [key for key in ('boxes', 'scores', 'labels') if key not in detections]
    if missing:
        raise UserError(
            f'the detector function returned detections without {", ".join(missing)}: each image '
            f'needs boxes (x1, y1, x2, y2), scores and labels'
        )

    def tensor(key: str) -> Tensor:
        return torch.as_tensor(detections[key]).detach().cpu()

    boxes, scores, labels = (
        tensor('boxes').float().reshape(-1, 4),
        tensor('scores').float(),
        tensor('labels'),
    )
    if not len(boxes) == len(scores) == len(labels):
        raise UserError(
            f'the detector function returned {len(boxes)} boxes, {len(scores)} scores and '
            f'{len(labels)} labels for one image: the numbers must be equal'
        )
    if not (torch.isfinite(boxes).all() and torch.isfinite(scores).all()):
        raise UserError('the detector function returned boxes or scores that are not finite')
    return InstanceData(bboxes=boxes, scores=scores, labels=labels.long())
