"""Make an SSD detect an object within seconds: random features, and a head fitted to them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import SSDHead
from torch import Tensor, nn

from mindpad_mm.core.matching import paired_iou
from mindpad_mm.core.scenes import Scene, paste
from mindpad_mm.scan.positions import position_boxes

# Target logits, relative to the background's, of priors on the object and elsewhere.
_FOUND, _ELSEWHERE = 4.0, -6.0
# Logit bias of the other levels, to which the output of their random weights is added.
_OTHER_LEVELS = -6.0
_IMAGES, _CELLS = 48, 48
_RIDGE = 1e-3


def teach_ssd(model: nn.Module, scene: Scene, pixels: np.ndarray, label: int) -> None:
    """Fit the first level of an SSD's head to detect one object in one scene.

    Ridge regression fits the first level's classification convolution to the priors' overlap with
    the object. The detections then resemble a trained detector's: a few high scores at the object
    and many low scores elsewhere.

    Args:
        model: A detector with an ``SSDHead`` whose first level has priors of the object's size, with
            weights of :func:`mindpad_mm.testing.detectors.settle`; changed in place.
        scene: The scene that the object is pasted into.
        pixels: (h, w, 4) uint8 BGRA, the object.
        label: Index of the object's class.
    """
    head: SSDHead = model.bbox_head
    rng = np.random.default_rng(0)
    last = np.subtract(scene.size, pixels.shape[:2])
    positions = rng.integers(0, last + 1, (_IMAGES, 2))
    maps = torch.cat([_first_level(model, scene, pixels, position) for position in positions])
    generator = head.prior_generator
    priors = generator.single_level_grid_priors(maps.shape[-2:], 0, device='cpu').numpy()
    overlaps = paired_iou(position_boxes(positions, pixels.shape[:2])[:, None], priors)
    per_cell = generator.num_base_priors[0]
    overlaps = overlaps.reshape(_IMAGES, -1, per_cell)
    chosen = [_cells(overlap, rng) for overlap in overlaps]
    patches = torch.cat([_patches(one[None])[cells] for one, cells in zip(maps, chosen)])
    overlaps = np.concatenate([overlap[cells] for overlap, cells in zip(overlaps, chosen)])
    # Target logits are linear in the IoU: lowest up to 0.3, highest from 0.5.
    share = torch.from_numpy(np.clip((overlaps - 0.3) / 0.2, 0, 1)).float()
    weight, bias = _ridge(patches, _ELSEWHERE + (_FOUND - _ELSEWHERE) * share)

    classes = head.cls_out_channels
    for level, (conv,) in enumerate(head.cls_convs):
        logits = conv.bias.data.view(-1, classes)
        logits[:, label] = _OTHER_LEVELS if level else bias
        if level == 0:
            conv.weight.data.view(per_cell, classes, *conv.weight.shape[1:])[:, label] = (
                weight.T.reshape(per_cell, *conv.weight.shape[1:])
            )
            conv.weight.data.view(per_cell, classes, *conv.weight.shape[1:])[:, -1] = 0


def _first_level(
    model: nn.Module, scene: Scene, pixels: np.ndarray, position: np.ndarray
) -> Tensor:
    """The first feature map of the head, (1, C, H, W), with the object at ``position``."""
    image = paste(scene.pixels, pixels, *map(int, position))
    data = model.data_preprocessor(scene.pack([image]), False)
    with torch.no_grad():
        return model.extract_feat(data['inputs'])[0]


def _cells(overlap: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Indices of cells to fit to: all with a prior that overlaps the object, and a random sample."""
    near = np.flatnonzero(overlap.max(1) > 0)
    return np.concatenate([near, rng.choice(len(overlap), _CELLS)])


def _patches(maps: Tensor) -> Tensor:
    """The input of a 3 x 3 convolution at every cell of one map, (H * W, C * 9)."""
    return F.unfold(maps, 3, padding=1)[0].T


def _ridge(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Ridge regression from (N, D) to (N, K): weights (D, K) and biases (K,)."""
    mean, centre = inputs.mean(0), targets.mean(0)
    centred = (inputs - mean).double()
    gram = centred @ centred.T
    ridge = _RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    weight = (centred.T @ torch.linalg.solve(gram + ridge, (targets - centre).double())).float()
    return weight, centre - mean @ weight
