"""Random test sets in COCO's format, with several classes, crowds and images of several sizes."""

from __future__ import annotations

import json

import numpy as np
import torch
from mmengine.structures import InstanceData
from pycocotools.coco import COCO

CLASSES = ('car', 'light', 'absent')


def random_set(seed, images=12, whole_pixels=False):
    """(annotations in COCO's format, detections as in a result file)."""
    rng = np.random.default_rng(seed)
    step = 1 if whole_pixels else 0.01
    dataset = {'images': [], 'annotations': [], 'detections': []}
    for image in range(images):
        size = rng.integers(60, 160, 2)
        dataset['images'].append(
            {'id': image + 5, 'width': int(size[0]), 'height': int(size[1]), 'file_name': ''}
        )
        for _ in range(rng.integers(0, 6)):
            box = _box(rng, size, step)
            category = int(rng.integers(1, 3))
            dataset['annotations'].append(
                {
                    'id': len(dataset['annotations']) + 1,
                    'image_id': image + 5,
                    'bbox': box.tolist(),
                    'area': float(box[2] * box[3]),
                    'iscrowd': int(rng.random() < 0.1),
                    'category_id': category,
                    'segmentation': [_corners(box)],
                }
            )
            for _ in range(rng.integers(0, 3)):
                near = np.maximum(box + np.rint(rng.normal(0, 2, 4) / step) * step, [0, 0, 4, 4])
                _detect(dataset, rng, image + 5, category, near)
        for _ in range(rng.integers(0, 5)):
            _detect(dataset, rng, image + 5, int(rng.integers(1, 3)), _box(rng, size, step))
    categories = [{'id': k + 1, 'name': name} for k, name in enumerate(CLASSES)]
    detections = dataset.pop('detections')
    return {**dataset, 'categories': categories}, detections


def _box(rng, size, step):
    extent = rng.uniform(6, 40, 2)
    corner = rng.uniform(0, size - extent)
    return np.rint(np.concatenate([corner, extent]) / step) * step


def _corners(box):
    x, y, width, height = box.tolist()
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def _detect(dataset, rng, image, category, box):
    dataset['detections'].append(
        {
            'image_id': image,
            'category_id': category,
            'bbox': box.tolist(),
            'score': float(np.float32(rng.random())),
        }
    )


def as_coco(dataset):
    coco = COCO()
    coco.dataset = json.loads(json.dumps(dataset))
    coco.createIndex()
    return coco


def samples(dataset, detections):
    """The detections as a detector of MMDetection gives them, one data sample an image."""
    for image in dataset['images']:
        found = [d for d in detections if d['image_id'] == image['id']]
        boxes = np.array([d['bbox'] for d in found], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        instances = InstanceData(
            bboxes=torch.tensor(boxes),
            scores=torch.tensor([d['score'] for d in found]),
            labels=torch.tensor([d['category_id'] - 1 for d in found]).long(),
        )
        yield {
            'pred_instances': instances,
            'img_id': image['id'],
            'ori_shape': (image['height'], image['width']),
        }
