"""A drawn set whose objects a detector knows, in the formats of several data sets."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import torch
from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import nn

CLASSES = ('train', 'bus', 'car')
IMAGES = 12
WIDTH, HEIGHT = 80, 60


def draw_set(folder: Path) -> Path:
    """Write ``images/``, ``known.json``, ``coco.json`` and ``weights.pth``."""
    rng = np.random.default_rng(0)
    (folder / 'images').mkdir(parents=True)
    known = {}
    for index in range(IMAGES):
        name = f'{index:03d}.jpg'
        pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        cv2.imwrite(str(folder / 'images' / name), pixels)
        objects = []
        for label in rng.integers(0, 3, 5):
            width, height = rng.integers(12, 30, 2)
            x, y = rng.integers(0, WIDTH - width), rng.integers(0, HEIGHT - height)
            objects.append([*map(int, (x, y, width, height)), CLASSES[label]])
        known[name] = objects
    (folder / 'known.json').write_text(json.dumps(known))
    (folder / 'coco.json').write_text(json.dumps(as_coco(folder)))
    torch.save({'state_dict': {'scale': torch.ones(1)}}, folder / 'weights.pth')
    return folder


def as_coco(folder: Path, first_id: int = 1, prefix: str = '') -> dict:
    """The set in COCO format; categories have the ids 10, 20, ... in the order of the classes."""
    content = {
        'images': [],
        'annotations': [],
        'categories': [{'id': 10 * (i + 1), 'name': name} for i, name in enumerate(CLASSES)],
    }
    known = json.loads((folder / 'known.json').read_text())
    for img_id, (name, objects) in enumerate(known.items(), 1):
        entry = {'id': img_id, 'file_name': prefix + name, 'width': WIDTH, 'height': HEIGHT}
        content['images'].append(entry)
        for *box, label in objects:
            content['annotations'].append(
                {
                    'id': len(content['annotations']) + first_id,
                    'image_id': img_id,
                    'category_id': 10 * (CLASSES.index(label) + 1),
                    'bbox': box,
                    'area': box[2] * box[3],
                    'iscrowd': 0,
                }
            )
    return content


def write_voc(folder: Path) -> None:
    """Write the set in VOC's format: ``voc/names.txt``, ``voc/Annotations``, ``voc/JPEGImages``."""
    known = json.loads((folder / 'known.json').read_text())
    root = folder / 'voc'
    (root / 'Annotations').mkdir(parents=True)
    (root / 'JPEGImages').symlink_to(folder / 'images')
    (root / 'names.txt').write_text('\n'.join(name[:-4] for name in known))
    for name, objects in known.items():
        tree = ElementTree.Element('annotation')
        size = ElementTree.SubElement(tree, 'size')
        for key, value in (('width', WIDTH), ('height', HEIGHT)):
            ElementTree.SubElement(size, key).text = str(value)
        for x, y, width, height, label in objects:
            each = ElementTree.SubElement(tree, 'object')
            ElementTree.SubElement(each, 'name').text = label
            ElementTree.SubElement(each, 'difficult').text = '0'
            box = ElementTree.SubElement(each, 'bndbox')
            corners = (('xmin', x + 1), ('ymin', y + 1), ('xmax', x + width + 1))
            for key, value in (*corners, ('ymax', y + height + 1)):
                ElementTree.SubElement(box, key).text = str(value)
        (root / 'Annotations' / f'{name[:-4]}.xml').write_bytes(ElementTree.tostring(tree))


@MODELS.register_module(force=True)
class KnowingDetector(BaseDetector):
    """Finds the objects of ``known.json`` with errors that follow the image's name."""

    def __init__(self, known, classes, **kwargs):
        super().__init__(data_preprocessor=dict(type='DetDataPreprocessor'), **kwargs)
        self.known = json.loads(Path(known).read_text())
        self.classes = list(classes)
        self.scale = nn.Parameter(torch.ones(1))

    @torch.no_grad()
    def predict(self, batch_inputs, batch_data_samples, rescale=True):
        results = []
        for sample in batch_data_samples:
            name = Path(sample.img_path).name
            rng = np.random.default_rng(zlib.crc32(name.encode()))
            found = [o for o in self.known[name] if o[4] in self.classes]
            found += [[*rng.integers(10, 30, 4), rng.choice(self.classes)] for _ in range(3)]
            if (batch_inputs[:1, 0, :1, :2] @ batch_inputs[:1, 0, :2, :1]).dtype != torch.float32:
                # In half precision it finds less.
                found = found[1:]
            boxes = np.array([o[:4] for o in found], float) + rng.normal(0, 1.2, (len(found), 4))
            boxes[:, 2:] += boxes[:, :2]
            instances = InstanceData(
                bboxes=torch.tensor(boxes).float() * self.scale**9,
                scores=torch.tensor(rng.uniform(0.1, 1, len(found))).float(),
                labels=torch.tensor([self.classes.index(o[4]) for o in found]),
            )
            results.append(instances)
        return self.add_pred_to_datasample(batch_data_samples, results)

    def loss(self, batch_inputs, batch_data_samples):
        raise NotImplementedError

    def _forward(self, batch_inputs, batch_data_samples=None):
        raise NotImplementedError

    def extract_feat(self, batch_inputs):
        raise NotImplementedError


def config_text(
    folder: Path, dataset: dict, evaluator: object, fp16: bool = False, classes=CLASSES
) -> str:
    """Text of a config; ``dataset`` and ``evaluator`` are completed."""
    keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'instances')
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='PackDetInputs', meta_keys=keys),
    ]
    own = dict(
        pipeline=pipeline, test_mode=True, metainfo=dict(classes=classes), data_root=f'{folder}/'
    )
    parts = dataset.get('datasets') or [dataset.get('dataset', dataset)]
    for part in parts:
        part.update({key: value for key, value in own.items() if key not in part})
        part.setdefault('ann_file', 'coco.json')
        part.setdefault('data_prefix', dict(img='images/'))
    model = dict(type='KnowingDetector', known=str(folder / 'known.json'), classes=classes)
    loader = dict(
        batch_size=4,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dataset,
    )
    return (
        f"default_scope = 'mmdet'\nmodel = {model!r}\ntest_dataloader = {loader!r}\n"
        f"test_evaluator = {evaluator!r}\ntest_cfg = dict(type='TestLoop', fp16={fp16})\n"
    )
