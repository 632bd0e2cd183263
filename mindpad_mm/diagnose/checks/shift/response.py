"""The response of a network to an object: a detector's score or a classifier's probability."""

from __future__ import annotations

import abc
import copy
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from mmcv.transforms import Compose
from torch import Tensor

from mindpad_mm.core.detector import detector_classes, find_label, in_channels_last
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.matching import match_each
from mindpad_mm.core.names import SCORE_THR
from mindpad_mm.core.scenes import Scene, detect_images
from mindpad_mm.diagnose.subject import Subject

BATCH = 8


class Response(abc.ABC):
    """The response to an object in an image, 0..1.

    Attributes:
        kind: ``score`` or ``probability``.
        label: The class.
    """

    kind: ClassVar[str]
    label: str

    def __call__(self, images: Sequence[np.ndarray], boxes: np.ndarray) -> np.ndarray:
        """The response to one object in each image.

        Args:
            images: N input-sized (H, W, 3) uint8 BGR.
            boxes: (N, 4) ``x1, y1, x2, y2``, input pixels: the visible part of the object.

        Returns:
            (N,) float32.
        """
        parts = [
            self._batch(images[start : start + BATCH], boxes[start : start + BATCH])
            for start in range(0, len(images), BATCH)
        ]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    @abc.abstractmethod
    def _batch(self, images: Sequence[np.ndarray], boxes: np.ndarray) -> np.ndarray:
        """The response for at most :data:`BATCH` images."""


class DetectorScore(Response):
    """The highest score of a class among a detector's final detections that overlap the object.

    0 if there is no such detection.

    Args:
        subject: A detector of MMDetection; a copy with score threshold 0.001 is run.
        label: The class; default ``traffic light``, else the only class.
        iou_thr: Minimum IoU of a detection with the object, 0..1.

    Raises:
        UserError: There is no such class or no default, or the model has no class names.
    """

    kind = 'score'

    def __init__(self, subject: Subject, label: str | None, iou_thr: float) -> None:
        if not getattr(subject.model, 'dataset_meta', {}).get('classes'):
            raise UserError(f'{subject.name} has no class names (dataset_meta of the model)')
        classes = detector_classes(subject.model)
        self.index = find_label(label, classes)
        self.label = classes[self.index]
        self.iou_thr = iou_thr
        # Convolutions on a CPU are up to twice as fast in this memory format.
        self.model = in_channels_last(copy.deepcopy(subject.model))
        for module in self.model.modules():
            _lower_thresholds(getattr(module, 'test_cfg', None))
        size = subject.input_size
        metainfo = dict(img_id=0, img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0))
        blank = np.zeros((*size, 3), np.uint8)
        self.scene = Scene(
            blank, subject.name, 'input', Compose([]), metainfo, grey=subject.channels == 1
        )

    def _batch(self, images: Sequence[np.ndarray], boxes: np.ndarray) -> np.ndarray:
        detections = detect_images(self.model, self.scene, list(images))
        return match_each(detections, self.index, boxes, self.iou_thr).scores


class ClassProbability(Response):
    """The softmax probability of one class.

    Args:
        subject: A module that returns (N, K) class scores.
        label: The class index as text; default the most probable class of ``example``.
        example: (H, W, 3) uint8 BGR.

    Raises:
        UserError: The module returns something else, or has no such class.
    """

    kind = 'probability'

    def __init__(self, subject: Subject, label: str | None, example: np.ndarray) -> None:
        self.subject = subject
        likely = self._probabilities([example])[0]
        if label is not None and not (label.isdigit() and int(label) < len(likely)):
            raise UserError(
                f'{subject.name} has classes 0 to {len(likely) - 1}: give one as a number, '
                f'not {label!r}'
            )
        self.index = int(likely.argmax()) if label is None else int(label)
        self.label = f'class {self.index}'

    def _probabilities(self, images: Sequence[np.ndarray]) -> Tensor:
        with torch.no_grad():
            scores = self.subject.dense(self.subject.preprocess(images))
        if not isinstance(scores, Tensor) or scores.ndim != 2:
            raise UserError(
                f'{self.subject.name} is neither a detector of MMDetection nor a classifier with '
                '(N, classes) scores, so the shift check has no response to measure'
            )
        return scores.float().softmax(1)

    def _batch(self, images: Sequence[np.ndarray], boxes: np.ndarray) -> np.ndarray:
        return self._probabilities(images)[:, self.index].cpu().numpy()


def find_response(
    subject: Subject, label: str | None, iou_thr: float, example: np.ndarray
) -> Response:
    """A :class:`DetectorScore` for detectors, else a :class:`ClassProbability`."""
    if is_detector(subject):
        return DetectorScore(subject, label, iou_thr)
    return ClassProbability(subject, label, example)


def is_detector(subject: Subject) -> bool:
    """Whether the network has the interface of MMDetection's detectors."""
    return hasattr(subject.model, 'extract_feat') and hasattr(subject.model, 'test_step')


def _lower_thresholds(test_cfg: Any) -> None:
    if isinstance(test_cfg, dict):
        if 'score_thr' in test_cfg:
            test_cfg['score_thr'] = min(test_cfg['score_thr'], SCORE_THR)
        for value in test_cfg.values():
            _lower_thresholds(value)
