"""An SSD that finds an object, in seconds: random features, and a head fitted to them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import SSDHead
from torch import Tensor, nn

from mindpad_mm.core.matching import paired_iou
from mindpad_mm.core.scenes import Scene, paste
from mindpad_mm.scan.positions import position_boxes

# Logits over the background's that the head is fitted to, on the object and away from it.
_FOUND, _ELSEWHERE = 4.0, -6.0
# What the other levels say everywhere, give or take what settled weights make of the scene.
_OTHER_LEVELS = -6.0
_IMAGES, _CELLS = 48, 48
_RIDGE = 1e-3


def teach_ssd(model: nn.Module, scene: Scene, pixels: np.ndarray, label: int) -> None:
    """Fit the first level of an SSD's head, so that it finds one object in one scene.

    The priors that overlap the object answer by a linear map of the features about them, found by
    ridge regression. Detections are then as a trained detector's are: few of high score where the
    object is, many of low score everywhere.

    Args:
        model: A detector with an ``SSDHead`` whose first level has priors of the object's size, with
            settled weights; changed in place.
        scene: Where the object will be.
        pixels: (h, w, 4) uint8 BGRA, the object.
        label: Its class.
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
    # Logits are linear in the overlap: nothing at 0.3, all of it at 0.5.
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
    """(1, C, H, W), the head's input where the priors are smallest."""
    image = paste(scene.pixels, pixels, *map(int, position))
    data = model.data_preprocessor(scene.pack([image]), False)
    with torch.no_grad():
        return model.extract_feat(data['inputs'])[0]


def _cells(overlap: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Indices of cells to learn from: all that see the object, and some of the others."""
    near = np.flatnonzero(overlap.max(1) > 0)
    return np.concatenate([near, rng.choice(len(overlap), _CELLS)])


def _patches(maps: Tensor) -> Tensor:
    """(H * W, C * 9), what a 3 x 3 convolution sees at every cell of one map."""
    return F.unfold(maps, 3, padding=1)[0].T


def _ridge(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (D, K) and biases (K,) of a linear map from (N, D) to (N, K)."""
    mean, centre = inputs.mean(0), targets.mean(0)
    centred = (inputs - mean).double()
    gram = centred @ centred.T
    ridge = _RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    weight = (centred.T @ torch.linalg.solve(gram + ridge, (targets - centre).double())).float()
    return weight, centre - mean @ weight
