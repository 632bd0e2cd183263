"""MMDetection's detectors for tests and benchmarks, with random weights whose scores vary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from mmcv.cnn import ConvModule
from mmdet.models.dense_heads import FCOSHead
from mmengine.config import Config
from mmengine.hub import get_config
from torch import Tensor, nn

from mindpad_mm import zoo
from mindpad_mm.core.detector import lowered_thresholds
from mindpad_mm.core.loading import load_config, load_detector
from mindpad_mm.core.scenes import Background, Scene, make_scene

LABEL = 9
"""Index of ``traffic light`` in COCO's classes."""

# Largest output of a head after `settle`: large enough for high scores, without saturation.
_LARGEST_OUTPUT = 5
# Subtracted from the logits of all other classes.
_HANDICAP = 9.0
_R18 = {'model.backbone.depth': 18, 'model.neck.in_channels': [64, 128, 256, 512]}


@dataclass(frozen=True)
class Family:
    """A detector of MMDetection or of the zoo.

    Attributes:
        config: A config of MMDetection, or a padding mode of the zoo.
        size: Side of the network's input, pixels.
        options: Overrides of the config.
        whole_maps: Functions that the incremental engine runs on whole maps; None if this depends on
            the installed versions.
    """

    config: str
    size: int
    options: dict[str, Any] = field(default_factory=dict)
    whole_maps: tuple[str, ...] | None = ()

    @property
    def trained(self) -> bool:
        """Whether its weights are trained (the zoo's)."""
        return self.config in zoo.modes()


FAMILIES = {
    'SSD300': Family('ssd/ssd300_coco.py', 300),
    'SSD512': Family('ssd/ssd512_coco.py', 512),
    'SSDLite': Family('ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py', 320),
    'RetinaNet': Family('retinanet/retinanet_r18_fpn_1x_coco.py', 160),
    'FCOS': Family('fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py', 160, _R18, ('group_norm',)),
    'ATSS': Family('atss/atss_r50_fpn_1x_coco.py', 160, _R18, ('group_norm',)),
    'YOLOX': Family('yolox/yolox_tiny_8xb8-300e_coco.py', 160),
    'YOLOv3': Family('yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py', 160),
    'Faster R-CNN': Family(
        'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
        160,
        {**_R18, 'model.test_cfg.rpn.max_per_img': 100},
        None,
    ),
    'zoo zeros': Family('zeros', 256),
    'zoo reflect': Family('reflect', 256),
}


def family_config(name: str, size: int | None = None) -> Config:
    """The config of a family, with a test pipeline that only resizes.

    Args:
        name: A key of :data:`FAMILIES`.
        size: Side of the network's input, pixels. Default: the family's.
    """
    family = FAMILIES[name]
    size = size or family.size
    if family.trained:
        config = load_config(str(zoo.model_files(family.config)[0]))
    else:
        config = get_config(f'mmdet::{family.config}')
    config.merge_from_dict(family.options)
    config.test_dataloader.dataset.pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(size, size), keep_ratio=False),
        dict(type='PackDetInputs',
             meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
    ]  # fmt: skip
    return config


def family_detector(
    name: str, size: int | None = None, max_per_img: int | None = None, seed: int = 1
) -> tuple[nn.Module, Scene]:
    """A family's detector, prepared as for a scan, and a drawn scene.

    Args:
        name: A key of :data:`FAMILIES`.
        size: Side of the network's input, pixels. Default: the family's.
        max_per_img: Maximum number of detections per image. Default: the config's.
        seed: Seed of the drawn street.

    Returns:
        The detector in evaluation mode, with the low score thresholds of a scan. Its weights are the
        zoo's, or random weights by :func:`settle` that favour :data:`LABEL`.
    """
    config = family_config(name, size)
    config.merge_from_dict(lowered_thresholds(config))
    if max_per_img is not None:
        test_cfg = config.model.test_cfg
        test_cfg.get('rcnn', test_cfg).max_per_img = max_per_img
    family = FAMILIES[name]
    weights = str(zoo.model_files(family.config)[1]) if family.trained else None
    model = load_detector(config, weights)
    scene = make_scene(Background.drawn(seed), config)
    if not family.trained:
        settle(model, scene, LABEL)
    return model, scene


def family_label(name: str) -> int:
    """Index of the class to look for."""
    return 0 if FAMILIES[name].trained else LABEL


def random_object(height: int = 32, width: int = 16) -> np.ndarray:
    """An object of noise, (height, width, 4) uint8 BGRA, opaque except for its first row."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 4)).astype(np.uint8)
    pixels[..., 3] = 255
    pixels[0, :, 3] = 90
    return pixels


def settle(
    model: nn.Module, scene: Scene, label: int | None = None, least_variance: float = 0.3
) -> None:
    """Give a detector random weights whose scores vary between positions and are not saturated.

    Batch norms take their statistics from the scene. Each of the head's last convolutions is scaled
    to a fixed largest output.

    Args:
        model: A detector of any architecture, in evaluation mode; changed in place.
        scene: The scene that the detector will run on.
        label: A class to favour: the logits of all others are lowered, so that most detections are
            of this class. Default: none.
        least_variance: Lower limit of the batch norms' variances. The variance over a few cells can
            be almost 0, and dividing by it would enlarge rounding errors; 1 prevents this.
    """
    torch.manual_seed(0)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    head = dense_head(model)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    for norm in norms:
        # The last norm of a residual branch starts at 0, which would disable the branch.
        nn.init.ones_(norm.weight)
        norm.train().momentum = 1.0
    outputs: dict[nn.Module, float] = dict.fromkeys(_last_convs(head), 0.0)

    def note(conv: nn.Module, args: Any, output: Tensor) -> None:
        outputs[conv] = max(outputs[conv], float(output.abs().max()))

    hooks = [conv.register_forward_hook(note) for conv in outputs]
    images = [np.ascontiguousarray(scene.pixels[::y, ::x]) for x in (1, -1) for y in (1, -1)]
    with torch.inference_mode():
        inputs = model.data_preprocessor(scene.pack(images), False)['inputs']
        head(model.extract_feat(inputs))
    model.eval()
    for hook in hooks:
        hook.remove()
    for norm in norms:
        norm.running_var.clamp_(min=least_variance)
    for conv, largest in outputs.items():
        conv.weight.data.mul_(_LARGEST_OUTPUT / largest)
    if label is not None:
        for conv in outputs:
            if conv.bias is not None:
                # The initial biases of heads keep all scores low.
                nn.init.zeros_(conv.bias)
        _favour(model, label)


def dense_head(model: nn.Module) -> nn.Module:
    """The head on the feature maps: ``bbox_head``, or the RPN of a two-stage detector."""
    return model.bbox_head if hasattr(model, 'bbox_head') else model.rpn_head


def _last_convs(head: nn.Module) -> Iterator[nn.Conv2d]:
    """The convolutions whose outputs are the head's: those without a norm or activation."""
    inner = {child for m in head.modules() if isinstance(m, ConvModule) for child in m.modules()}
    inner.add(getattr(head, 'rpn_conv', None))
    for module in head.modules():
        if isinstance(module, nn.Conv2d) and module not in inner:
            yield module


def _favour(model: nn.Module, label: int) -> None:
    """Lower the logits of all classes except ``label`` and the background."""
    if hasattr(model, 'roi_head'):
        head = model.roi_head.bbox_head
        nn.init.normal_(head.fc_cls.weight, std=0.002)
        layers, width, first = [head.fc_cls], head.fc_cls.out_features, 0
    else:
        head = model.bbox_head
        # YOLOv3 predicts the box and its objectness before the classes.
        width = getattr(head, 'num_attrib', None) or head.cls_out_channels
        first = width - head.num_classes if hasattr(head, 'num_attrib') else 0
        if isinstance(head, FCOSHead):
            # FCOS predicts logarithms of distances to the sides, pixels: the boxes have about 24.
            nn.init.constant_(head.conv_reg.bias, 2.5)
        layers = [conv for conv in _last_convs(head) if conv.out_channels % width == 0]
    for layer in layers:
        classes = layer.bias.data.view(-1, width)[:, first : first + head.num_classes]
        classes -= _HANDICAP
        classes[:, label] += _HANDICAP
