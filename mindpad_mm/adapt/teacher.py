"""What a detector says inside a larger photo, as the aim of its outputs on a window of that photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import YOLOXHead
from torch import Tensor, nn

from mindpad_mm.core.errors import UserError


@dataclass(frozen=True)
class Level:
    """The raw outputs of a head on one level.

    Attributes:
        scores: (N, H, W, A), the largest confidence over the classes, 0..1, of A priors a cell.
        boxes: (N, H, W, A, B), the box branch as it is; B is 4, or the bins of 4 distributions.
    """

    scores: Tensor
    boxes: Tensor


def levels_of(model: nn.Module, outputs: Any) -> list[Level]:
    """The outputs of a dense head by level.

    Args:
        model: A one-stage detector of MMDetection.
        outputs: What its ``bbox_head`` returns: class maps and box maps (N, A * C, H, W) by level;
            YOLOX's objectness third.

    Raises:
        UserError: The head is of another kind.
    """
    head = getattr(model, 'bbox_head', None)
    channels = getattr(head, 'cls_out_channels', None)
    pairs = isinstance(outputs, (tuple, list)) and len(outputs) >= 2
    if not channels or not pairs or not all(_is_maps(each) for each in outputs[:2]):
        kind = type(model if head is None else head).__name__
        raise UserError(
            f'padding cannot learn from the outputs of {kind}: it needs a one-stage detector whose '
            f'bbox_head gives classes and boxes by level, such as SSD, RetinaNet, FCOS, RTMDet or YOLOX'
        )
    levels = []
    for number, (classes, boxes) in enumerate(zip(*outputs[:2])):
        logits = _by_prior(classes, classes.shape[1] // channels)
        if isinstance(head, YOLOXHead):
            objectness = _by_prior(outputs[2][number], 1).sigmoid()
            scores = (logits.sigmoid() * objectness).amax(-1)
        elif getattr(head, 'use_sigmoid_cls', True):
            scores = logits.sigmoid().amax(-1)
        else:
            scores = logits.softmax(-1)[..., :-1].amax(-1)
        levels.append(Level(scores, _by_prior(boxes, scores.shape[-1])))
    return levels


def _is_maps(branch: Any) -> bool:
    return isinstance(branch, (tuple, list)) and all(
        isinstance(level, Tensor) and level.dim() == 4 for level in branch
    )


def _by_prior(level: Tensor, priors: int) -> Tensor:
    """(N, A * C, H, W) -> (N, H, W, A, C)."""
    n, channels, height, width = level.shape
    return level.permute(0, 2, 3, 1).reshape(n, height, width, priors, channels // priors)


def within(large: Level, small: Level, surroundings: int, sizes: Sequence[int]) -> Level | None:
    """The priors of a level that lie in a window in the middle of a larger photo.

    Args:
        large: The level on the larger photo.
        small: The level on the window.
        surroundings: Pixels around the window on each side.
        sizes: (height, width) of the window, pixels.

    Returns:
        As large as ``small``; None if the level's stride does not divide the surroundings, so that the
        priors of the two stand at different places.
    """
    firsts = []
    for whole, part, size in zip(large.scores.shape[1:3], small.scores.shape[1:3], sizes):
        cells, odd = divmod(whole - part, 2)
        if cells < 1 or odd or surroundings % cells:
            return None
        stride = surroundings // cells
        # Convolutions without padding take a cell or two; strides of detectors are powers of two.
        if stride & (stride - 1) or not 0 <= -(-size // stride) - part <= 2:
            return None
        firsts.append(cells)
    (top, left), (height, width) = firsts, small.scores.shape[1:3]
    rows, cols = slice(top, top + height), slice(left, left + width)
    return Level(large.scores[:, rows, cols], large.boxes[:, rows, cols])


def distance(
    ours: Sequence[Level], aims: Sequence[Level | None], sizes: Sequence[int], near: int
) -> Tensor:
    """How far the outputs near a window's sides are from those inside the larger photo.

    The divergence of confidences, and the distance of boxes times the confidence of the aim, over the
    confidence that is there. It is 0 if the outputs are equal.

    Args:
        ours: Levels of the window, which gradients flow into.
        aims: Levels of :func:`within`, by level.
        sizes: (height, width) of the window, pixels.
        near: Priors of at most these many pixels from a side count.

    Raises:
        UserError: No level has an aim.
    """
    total, there = 0.0, 0.0
    known = [(mine, aim) for mine, aim in zip(ours, aims) if aim is not None]
    if not known:
        raise UserError(
            'no level has its priors at the same places in a window and in a larger photo: give '
            '`surroundings` that the strides of the detector divide, such as 64 or 128'
        )
    for mine, aim in known:
        weight = _near(mine, sizes, near)
        moved = F.smooth_l1_loss(mine.boxes, aim.boxes, reduction='none').sum(-1) * aim.scores
        total = total + ((_divergence(mine.scores, aim.scores) + moved) * weight).sum()
        there = there + (aim.scores * weight).sum()
    return total / torch.as_tensor(there).clamp(min=1)


def _near(level: Level, sizes: Sequence[int], near: int) -> Tensor:
    """(H, W, 1) of 0 and 1: which cells stand near a side of the window."""
    rows, cols = level.scores.shape[1:3]
    device = level.scores.device
    away = []
    for count, size in zip((rows, cols), sizes):
        cells = torch.arange(count, device=device)
        away.append(torch.minimum(cells, count - 1 - cells) * size / count)
    return (torch.minimum(away[0][:, None], away[1]) <= near).float()[..., None]


def _divergence(ours: Tensor, theirs: Tensor) -> Tensor:
    """Kullback and Leibler's divergence of two confidences, element by element."""
    ours, theirs = (each.clamp(1e-6, 1 - 1e-6) for each in (ours, theirs))
    yes = theirs * (theirs / ours).log()
    return yes + (1 - theirs) * ((1 - theirs) / (1 - ours)).log()
