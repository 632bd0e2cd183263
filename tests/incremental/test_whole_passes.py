"""Whole passes with faster post-processing give MMDetection's own detections, to the bit."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from mindpad_mm.core.scenes import detect_images
from mindpad_mm.incremental.postprocess import BatchPrediction
from mindpad_mm.incremental.whole_passes import faster_whole_passes
from mindpad_mm.testing.detectors import FAMILIES, family_detector


def images_of(scene, count=3):
    rng = np.random.default_rng(0)
    shifted = [np.roll(scene.pixels, 7 * n, axis=n % 2) for n in range(count)]
    return [np.clip(s + rng.integers(-9, 9, s.shape), 0, 255).astype(np.uint8) for s in shifted]


def same(found, expected, least=-1.0, tolerance=0.0):
    for mine, theirs in zip(found, expected, strict=True):
        above = theirs.scores >= least
        count = int(above.sum())
        apart = (mine.scores[:count] - theirs.scores[above]).abs()
        assert apart.max() <= tolerance
        assert torch.equal(mine.bboxes[:count], theirs.bboxes[above])
        assert torch.equal(mine.labels[:count], theirs.labels[above])


@pytest.mark.parametrize(
    'family', ['SSDLite', 'RetinaNet', 'ATSS', 'YOLOX', 'Faster R-CNN', 'zoo zeros']
)
def test_all_detections_are_the_same_bits(family):
    assert family in FAMILIES
    model, scene = family_detector(family)
    images = images_of(scene)
    expected = detect_images(model, scene, images)
    assert sum(len(each.scores) for each in expected)
    with faster_whole_passes(model):
        found = detect_images(model, scene, images)
    # YOLOX's scores are computed for all images at once, and may differ in the last bit.
    same(found, expected, tolerance=1e-7 if family == 'YOLOX' else 0.0)
    assert all(len(mine.scores) == len(theirs.scores) for mine, theirs in zip(found, expected))
    same(detect_images(model, scene, images), expected)  # nothing stays behind


@pytest.mark.parametrize('family', ['SSDLite', 'zoo zeros'])
def test_detections_from_the_floor_up_are_the_same_bits(family):
    model, scene = family_detector(family)
    images = images_of(scene)
    expected = detect_images(model, scene, images)
    floor = float(expected[0].scores[min(3, len(expected[0].scores) - 1)])
    with faster_whole_passes(model, lambda image, found: floor):
        same(detect_images(model, scene, images), expected, floor)


def test_the_batch_is_processed_at_once_or_image_by_image_where_images_differ(monkeypatch):
    model, scene = family_detector('zoo zeros')
    calls = []
    whole = BatchPrediction._predicted
    monkeypatch.setattr(
        BatchPrediction, '_predicted', lambda self, *args: calls.append(1) or whole(self, *args)
    )
    data = scene.pack(images_of(scene, 2))
    resized = copy.deepcopy(data)
    resized['data_samples'][1].set_metainfo({'scale_factor': (0.5, 0.5)})
    for each, batches in ((data, 1), (resized, 0)):
        calls.clear()
        with torch.inference_mode():
            expected = model.test_step(copy.deepcopy(each))
            with faster_whole_passes(model):
                found = model.test_step(copy.deepcopy(each))
        same([f.pred_instances for f in found], [e.pred_instances for e in expected])
        assert len(calls) == batches
