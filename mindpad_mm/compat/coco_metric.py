"""MMDetection's CocoMetric counts images that were not tested, and misses objects with id 0."""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
from typing import Any

import numpy as np

_FAULTY = 'self.img_ids = self._coco_api.get_img_ids()'


def coco_metric_images() -> bool:
    """Let CocoMetric evaluate the images that were tested, with objects of any id.

    It evaluates all images of its ``ann_file``, also those that the data set left out by ``indices``:
    every object in them counts as missed. And pycocotools marks a detection that found an object by
    the object's id, so the detection of an object with id 0 counts as false. A list as ``iou_thrs``, as
    a config gives it, fails in pycocotools.

    Not applied if CocoMetric no longer takes all images of the file.

    Upstream: open-mmlab/mmdetection#2761 asks for subsets; no issue is known for the rest.
    """
    from mmdet.evaluation import CocoMetric

    stock = CocoMetric.compute_metrics
    if _FAULTY not in inspect.getsource(stock):
        return False

    @functools.wraps(stock)
    def compute_metrics(self: Any, results: list) -> dict[str, float]:
        self.iou_thrs = np.atleast_1d(self.iou_thrs)
        self.img_ids = list(dict.fromkeys(found['img_id'] for _, found in results))
        if self._coco_api is not None:
            number_from_one(self._coco_api)
        return stock(self, results)

    CocoMetric.compute_metrics = compute_metrics
    return True


def number_from_one(annotations: Any) -> None:
    """Give the annotations of a COCO object the ids 1, 2, ..., if an id is not a whole number above 0.

    Args:
        annotations: A ``pycocotools.coco.COCO``, changed in place.
    """
    entries = annotations.dataset.get('annotations', [])
    if all(isinstance(entry['id'], int) and entry['id'] > 0 for entry in entries):
        return
    for number, entry in enumerate(entries, 1):
        entry['id'] = number
    with contextlib.redirect_stdout(io.StringIO()):
        annotations.createIndex()
