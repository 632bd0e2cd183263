"""MMDetection's config folders, and a small config of each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mmdet
from mmengine.config import Config

from mindpad_mm.core.loading import load_config

CONFIGS = Path(mmdet.__file__).parent / '.mim' / 'configs'
SIZE = 128
"""Side of the network's input, pixels."""
# SSD's head has layers for one size only; two-stage DETRs choose more queries than 128 px have cells.
_SIZES = {'ssd300': 300, 'dino-': 256, 'ddq-': 256, 'twostage': 256}

# Most proposals before and after suppression, and detections.
_MOST = {'nms_pre': 100, 'max_per_img': 20}

# Where the rule of `chosen_config` misses what the folder is about, or takes a slow one.
_CHOSEN = {
    'albu_example': 'mask-rcnn_r50_fpn_albu-1x_coco.py',
    'centernet': 'centernet_r18_8xb16-crop512-140e_coco.py',
    'cityscapes': 'faster-rcnn_r50_fpn_1x_cityscapes.py',
    'detectors': 'detectors_cascade-rcnn_r50_1x_coco.py',
    'efficientnet': 'retinanet_effb3_fpn_8xb4-crop896-1x_coco.py',
    'guided_anchoring': 'ga-retinanet_r50_fpn_1x_coco.py',
    'hrnet': 'faster-rcnn_hrnetv2p-w18-1x_coco.py',
    'legacy_1.x': 'retinanet_r50_fpn_1x_coco_v1.py',
    'nas_fcos': 'nas-fcos_r50-caffe_fpn_nashead-gn-head_4xb4-1x_coco.py',
    'nas_fpn': 'retinanet_r50_nasfpn_crop640-50e_coco.py',
    'pisa': 'faster-rcnn_r50_fpn_pisa_1x_coco.py',
    'pvt': 'retinanet_pvt-t_fpn_1x_coco.py',
    'res2net': 'faster-rcnn_res2net-101_fpn_2x_coco.py',
    'resnet_strikes_back': 'retinanet_r50-rsb-pre_fpn_1x_coco.py',
    'ssd': 'ssd300_coco.py',
    'timm_example': 'retinanet_timm-efficientnet-b1_fpn_1x_coco.py',
    'yolo': 'yolov3_d53_8xb8-320-273e_coco.py',
    'yolox': 'yolox_tiny_8xb8-300e_coco.py',
}
_LARGE = re.compile(r'101|152|200|swin-[slb]|_[xlm]_|hourglass|w40|w32|-[ml]_fpn|s50')
_SMALL = re.compile(r'r18|r34|tiny|swin-t|_s_|w18|400MF')


def folders() -> list[str]:
    """Names of all folders with configs of their own; ``_base_`` has parts of configs only."""
    return sorted(
        path.name for path in CONFIGS.iterdir() if path.name != '_base_' and any(path.glob('*.py'))
    )


def chosen_config(folder: str) -> Path:
    """A config of a folder: one for a small network with a short name."""
    if folder in _CHOSEN:
        return CONFIGS / folder / _CHOSEN[folder]
    files = sorted((CONFIGS / folder).glob('*.py'))
    return min(
        files,
        key=lambda file: (
            bool(_LARGE.search(file.name)),
            not _SMALL.search(file.name),
            len(file.name),
            file.name,
        ),
    )


def size_of(path: Path) -> int:
    """Side of the input for a config, pixels: :data:`SIZE`, or the least that it takes."""
    return next((size for part, size in _SIZES.items() if part in path.name), SIZE)


def small_config(path: Path) -> Config:
    """A config that runs fast: a small input, and few proposals.

    The test pipeline resizes every photo to :func:`size_of` in both directions. Only the numbers of
    proposals and detections change in the model.
    """
    config = load_config(str(path))
    dataset = (config.get('test_dataloader') or {}).get('dataset')
    while isinstance(dataset, dict) and 'pipeline' not in dataset and 'dataset' in dataset:
        dataset = dataset['dataset']
    if isinstance(dataset, dict) and 'pipeline' in dataset:
        size = size_of(path)
        dataset['pipeline'] = [_small(step, size) for step in dataset['pipeline']]
    for settings in _test_settings(config.get('model')):
        for key, most in _MOST.items():
            if isinstance(settings.get(key), int) and settings[key] > most:
                settings[key] = most
    return config


def _test_settings(node: Any, inside: bool = False) -> Iterator[dict[str, Any]]:
    """All dicts in the ``test_cfg`` of a model and of its parts."""
    if isinstance(node, dict):
        if inside:
            yield node
        for key, value in node.items():
            yield from _test_settings(value, inside or key == 'test_cfg')
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _test_settings(value, inside)


def _small(step: Any, size: int) -> Any:
    """A step of a pipeline with the small size; steps inside of it too."""
    if isinstance(step, (list, tuple)):
        return [_small(inner, size) for inner in step]
    if not isinstance(step, dict):
        return step
    step = {
        key: _small(value, size) if key == 'transforms' else value for key, value in step.items()
    }
    kind = str(step.get('type'))
    if 'Resize' in kind and 'scale' in step:
        step.update(scale=(size, size), keep_ratio=False)
    if 'Pad' in kind and step.get('size'):
        step['size'] = (size, size)
    return step
