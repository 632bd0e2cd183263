"""CocoMetric evaluates the images that were tested, with objects of any id."""

from __future__ import annotations

import json

import numpy as np
import pytest
from mmdet.evaluation import CocoMetric

from mindpad_mm.compat.coco_metric import coco_metric_images


def found(img_id, box):
    shown = {'img_id': img_id, 'width': 50, 'height': 50}
    boxes = np.array([box], np.float32)
    result = {'bboxes': boxes, 'scores': np.ones(1), 'labels': np.zeros(1, int), 'img_id': img_id}
    return shown, result


@pytest.mark.parametrize('first_id', [0, 1])
@pytest.mark.parametrize('iou_thrs', [None, [0.5, 0.75]])
def test_all_objects_of_the_tested_images_found_is_an_ap_of_1(tmp_path, first_id, iou_thrs):
    annotations = [
        dict(id=first_id + n, image_id=n, category_id=1, bbox=[5, 5, 20, 20], area=400, iscrowd=0)
        for n in range(3)
    ]
    content = {
        'images': [dict(id=n, width=50, height=50, file_name='') for n in range(3)],
        'categories': [dict(id=1, name='thing')],
        'annotations': annotations,
    }
    (tmp_path / 'ann.json').write_text(json.dumps(content))
    metric = CocoMetric(str(tmp_path / 'ann.json'), iou_thrs=iou_thrs)
    metric.dataset_meta = {'classes': ('thing',)}
    tested = [found(n, [5, 5, 25, 25]) for n in range(2)]
    assert metric.compute_metrics(tested)['bbox_mAP'] == 1
    assert metric.compute_metrics([*tested, found(2, [30, 30, 49, 49])])['bbox_mAP'] < 0.9


def test_a_metric_that_takes_the_tested_images_itself_is_left_alone(monkeypatch):
    def compute_metrics(self, results):
        return {}

    monkeypatch.setattr(CocoMetric, 'compute_metrics', compute_metrics)
    assert coco_metric_images() is False
    assert CocoMetric.compute_metrics is compute_metrics
