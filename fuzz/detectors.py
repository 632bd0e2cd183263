"""Small detectors on disk that the mutated inputs are given to."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import torch

from mindpad_mm.core.loading import load_detector
from mindpad_mm.core.scenes import Background, detect_images, make_scene
from mindpad_mm.testing.small import CLASSES, write_small_ssd

_PHOTOS = 4
_TEST_SET = """
_base_ = 'config.py'
test_dataloader = dict(num_workers=0, persistent_workers=False, batch_size=2, dataset=dict(
    type='CocoDataset', ann_file={ann_file!r}, data_prefix=dict(img={photos!r}), data_root=''))
test_evaluator = dict(type='CocoMetric', ann_file={ann_file!r}, metric='bbox')
"""


def write_evaluated(folder: Path) -> tuple[Path, Path, Path]:
    """Write a detector, and a test set that it knows in part: what it finds, moved a little.

    Returns:
        The config, the checkpoint and the annotation file.
    """
    write_small_ssd(folder)
    model = load_detector(str(folder / 'config.py'), str(folder / 'weights.pth'))
    noise = np.random.default_rng(1)
    content: dict[str, list[dict[str, object]]] = {
        'images': [],
        'annotations': [],
        'categories': [{'id': 7 * (i + 1), 'name': name} for i, name in enumerate(CLASSES)],
    }
    ids = {each['name']: each['id'] for each in content['categories']}
    for number in range(_PHOTOS):
        pixels = cv2.resize(noise.integers(0, 256, (8, 10, 3), np.uint8), (80, 64))
        file = f'{number}.png'
        cv2.imwrite(str(folder / file), pixels)
        content['images'].append({'id': number, 'file_name': file, 'width': 80, 'height': 64})
        scene = make_scene(Background(pixels, file), model.cfg, 'image')
        with torch.inference_mode():
            found = detect_images(model, scene, [pixels])[0]
        for index in range(6):
            x1, y1, x2, y2 = (float(value) for value in found.bboxes[index])
            x, y = x1 + noise.uniform(0, 3), y1 + noise.uniform(0, 3)
            width, height = max(2.0, x2 - x1), max(2.0, y2 - y1)
            content['annotations'].append(
                {
                    'id': 1 + 6 * number + index,
                    'image_id': number,
                    'category_id': ids[CLASSES[int(found.labels[index])]],
                    'bbox': [round(value, 2) for value in (x, y, width, height)],
                    'area': round(width * height, 2),
                    'iscrowd': 0,
                }
            )
    ann_file = folder / 'set.json'
    ann_file.write_text(json.dumps(content))
    config = folder / 'evaluated.py'
    config.write_text(_TEST_SET.format(ann_file=str(ann_file), photos=f'{folder}/'))
    return config, folder / 'weights.pth', ann_file
