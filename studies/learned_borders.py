"""A cure without labels: what touches borders learns from the detector's own outputs on larger photos.

Each padded convolution gets, for every side, its padding values (a gain of the cell next to the border
and a constant, by input channel) and a gain and a shift of its outermost outputs (by output channel).
They begin as zero padding. The weights stay, so all outputs that read no border stay the same bits.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import YOLOXHead
from torch import Tensor, nn

from mindpad_mm.core.scenes import paste
from mindpad_mm.diagnose import Subject

SIDES = ('top', 'bottom', 'left', 'right')


class LearnedBorder(nn.Module):
    """What a convolution learns about one side of its maps.

    Args:
        inputs, outputs: Channels of the convolution.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.edge, self.constant = (nn.Parameter(torch.zeros(inputs)) for _ in range(2))
        self.gain, self.shift = (nn.Parameter(torch.zeros(outputs)) for _ in range(2))

    def outside(self, edge: Tensor) -> Tensor:
        """The padding beyond the cells next to the border, (N, C, 1, W) or (N, C, H, 1)."""
        return edge * self.edge.view(1, -1, 1, 1) + self.constant.view(1, -1, 1, 1)


class LearnedConv2d(nn.Conv2d):
    """A convolution whose padding and outermost outputs are learned; see :func:`learn_borders`."""

    borders: nn.ModuleDict

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, C, H, W)."""
        (rows, cols), size = self.padding, x.shape[2:]
        top, bottom, left, right = (self.borders[side] for side in SIDES)
        if rows:
            above, below = top.outside(x[:, :, :1]), bottom.outside(x[:, :, -1:])
            x = torch.cat([above.expand(-1, -1, rows, -1), x, below.expand(-1, -1, rows, -1)], 2)
        if cols:
            before, after = left.outside(x[..., :1]), right.outside(x[..., -1:])
            x = torch.cat([before.expand(-1, -1, -1, cols), x, after.expand(-1, -1, -1, cols)], 3)
        y = F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
        # Gains and shifts are 0 inside, where y * (1 + 0) + 0 is y to the bit.
        gain, shift = (self._outermost(name, size, y) for name in ('gain', 'shift'))
        return y * (1 + gain) + shift

    def _outermost(self, name: str, size: Sequence[int], y: Tensor) -> Tensor:
        """(1, C, H, W): the values of the sides in the outermost cells, 0 elsewhere."""
        total = y.new_zeros(1, *y.shape[1:])
        for side, axis in zip(SIDES, (2, 2, 3, 3)):
            length = y.shape[axis]
            if not self._reads_border(side, (size[axis - 2], length), axis):
                continue
            at = 0 if side in ('top', 'left') else length - 1
            line = F.one_hot(torch.tensor(at, device=y.device), length).to(y.dtype)
            shape = (1, 1, -1, 1) if axis == 2 else (1, 1, 1, -1)
            total = total + getattr(self.borders[side], name).view(1, -1, 1, 1) * line.view(shape)
        return total

    def _reads_border(self, side: str, lengths: Sequence[int], axis: int) -> bool:
        """Whether the outermost output on a side reads padding: strides may skip that at the end."""
        k = axis - 2
        if side in ('top', 'left'):
            return self.padding[k] > 0
        before, after = lengths
        last = (after - 1) * self.stride[k] + (self.kernel_size[k] - 1) * self.dilation[k]
        return last >= before + self.padding[k]


def learn_borders(model: nn.Module) -> tuple[nn.Module, list[nn.Parameter]]:
    """A copy of a detector whose zero-padded convolutions can learn their borders, and what may learn.

    The copy's outputs equal the model's until something is learned.
    """
    model = copy.deepcopy(model).eval().requires_grad_(False)
    learned: list[nn.Parameter] = []
    for conv in [each for each in model.modules() if type(each) is nn.Conv2d and any(each.padding)]:
        conv.__class__ = LearnedConv2d
        sides = {side: LearnedBorder(conv.in_channels, conv.out_channels) for side in SIDES}
        conv.borders = nn.ModuleDict(sides).to(conv.weight.device)
        learned += conv.borders.parameters()
    return model, learned


def confidences(model: nn.Module, outputs: Any) -> Tensor:
    """The largest confidence at each prior, (N, P) in 0..1, of a head's raw outputs.

    Raises:
        TypeError: The head's outputs are not understood.
    """
    head = model.bbox_head
    classes = [_by_prior(level, head.cls_out_channels) for level in outputs[0]]
    if isinstance(head, YOLOXHead):
        objectness = torch.cat([_by_prior(level, 1) for level in outputs[2]], 1).sigmoid()
        return (torch.cat(classes, 1).sigmoid() * objectness).amax(2)
    if head.use_sigmoid_cls:
        return torch.cat(classes, 1).sigmoid().amax(2)
    return torch.cat(classes, 1).softmax(2)[..., :-1].amax(2)


def _divergence(ours: Tensor, theirs: Tensor) -> Tensor:
    """Kullback and Leibler's divergence of two confidences, element by element."""
    ours, theirs = (each.clamp(1e-6, 1 - 1e-6) for each in (ours, theirs))
    yes = theirs * (theirs / ours).log()
    return yes + (1 - theirs) * ((1 - theirs) / (1 - ours)).log()


def _by_prior(level: Tensor, channels: int) -> Tensor:
    """(N, A * C, H, W) -> (N, H * W * A, C)."""
    return level.permute(0, 2, 3, 1).reshape(len(level), -1, channels)


def _cropped(outputs: Any, like: Any, offset: int, size: int) -> Any:
    """The part of a larger photo's outputs that a window in it has, by level and branch."""
    found = []
    for branch, small in zip(outputs, like):
        levels = []
        for whole, part in zip(branch, small):
            top, left = (round(offset * n / size) for n in part.shape[2:])
            levels.append(whole[:, :, top : top + part.shape[2], left : left + part.shape[3]])
        found.append(levels)
    return found


@dataclasses.dataclass(frozen=True)
class Adaptation:
    """How borders learn.

    Attributes:
        steps: Steps of Adam.
        batch: Photos a step.
        rate: Learning rate of the first step; it falls to 0 by half a cosine.
        offset: Pixels of the larger photo around the window on each side: a multiple of the largest
            stride, so that both have the same priors.
        near: The loss looks at priors of these many pixels from the border at most.
        seed: Of photos, places and objects.
    """

    steps: int = 400
    batch: int = 4
    rate: float = 0.01
    offset: int = 128
    near: int = 64
    seed: int = 0

    def learn(
        self,
        subject: Subject,
        photos: Sequence[np.ndarray],
        objects: Sequence[np.ndarray] = (),
        told: Callable[[int, float], None] = lambda step, loss: None,
    ) -> nn.Module:
        """A copy of a detector whose borders have learned to do as if the photo went on.

        Args:
            subject: The detector, and the size of its windows.
            photos: (H, W, 3) uint8 BGR, at the scale of the network's input, each larger than the
                window and its surroundings.
            objects: (h, w, 4) uint8 BGRA, pasted at random near the window's sides. Default: none.
            told: Called with the number and loss of each step.
        """
        model, learned = learn_borders(subject.model)
        mine = Subject(model, subject.input_size)
        optimizer = torch.optim.Adam(learned, self.rate)
        decay = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: (1 + math.cos(math.pi * step / self.steps)) / 2
        )
        batches = self._batches(subject, photos, objects)
        for step in range(self.steps):
            large = subject.preprocess(next(batches))
            height, width = subject.input_size
            window = large[..., self.offset :, self.offset :][..., :height, :width]
            outputs = mine.dense(window.contiguous(memory_format=torch.channels_last))
            with torch.no_grad():
                aim = _cropped(subject.dense(large), outputs, self.offset, height)
            loss = self._loss(mine.model, outputs, aim, height)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            decay.step()
            told(step, loss.item())
        return model

    def _loss(self, model: nn.Module, outputs: Any, aim: Any, size: int) -> Tensor:
        """Divergence of confidences and distance of boxes near the border, by what is there.

        It is 0 if the window's outputs are those of the larger photo.
        """
        ours, theirs = confidences(model, outputs), confidences(model, aim)
        near = torch.cat(
            [self._near(level, size, boxes.shape[1] // 4) for level, boxes in zip(*outputs[:2])]
        )
        scores = _divergence(ours, theirs)
        boxes, aims = (
            torch.cat([_by_prior(level, 4) for level in each[1]], 1) for each in (outputs, aim)
        )
        moved = F.smooth_l1_loss(boxes, aims, reduction='none').sum(2) * theirs
        return ((scores + moved) * near).sum() / (theirs * near).sum().clamp(min=1)

    def _near(self, level: Tensor, size: int, anchors: int) -> Tensor:
        """(P,) of 0 and 1: whether the priors of a level stand near a side of the window."""
        rows, cols = level.shape[2:]
        away = [
            torch.minimum(torch.arange(n), n - 1 - torch.arange(n)) * size / n for n in (rows, cols)
        ]
        return (
            (torch.minimum(away[0][:, None], away[1][None]) <= self.near)
            .float()
            .flatten()
            .repeat_interleave(anchors)
        )

    def _batches(
        self, subject: Subject, photos: Sequence[np.ndarray], objects: Sequence[np.ndarray]
    ) -> Iterator[list[np.ndarray]]:
        rng = np.random.default_rng(self.seed)
        (height, width), around = subject.input_size, 2 * self.offset
        shape = height + around, width + around
        while True:
            batch = []
            for _ in range(self.batch):
                photo = photos[rng.integers(len(photos))]
                top, left = (rng.integers(0, n - m + 1) for n, m in zip(photo.shape, shape))
                scene = photo[top : top + shape[0], left : left + shape[1]]
                if rng.random() < 0.5:
                    scene = scene[:, ::-1]
                if objects:
                    scene = self._pasted(scene, objects[rng.integers(len(objects))], rng)
                batch.append(np.ascontiguousarray(scene))
            yield batch

    def _pasted(
        self, scene: np.ndarray, pixels: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """The scene with an object inside the window, near one of its sides."""
        spots = []
        for side, length in zip(scene.shape[:2], pixels.shape):
            room = side - 2 * self.offset - length
            spots.append([int(rng.integers(0, room + 1)), room])
        axis = rng.integers(2)
        inside = int(rng.integers(0, min(self.near, spots[axis][1]) + 1))
        spots[axis][0] = inside if rng.random() < 0.5 else spots[axis][1] - inside
        return paste(scene, pixels, self.offset + spots[0][0], self.offset + spots[1][0])
