"""AP by region, against plain COCOeval on data sets edited by hand."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.cocoeval import COCOeval

from mindpad_mm.evaluation.regions import BorderBins, Whole, Zones
from mindpad_mm.evaluation.spatial import (
    SpatialEval,
    default_partitions,
    spatial_precisions,
    zone_summary,
)
from tests.evaluation.random_sets import as_coco, random_set

BINS = BorderBins((5, 15, 40))
PARTITIONS = [Whole(), Zones(), BINS]
FAR = 1e12  # an area outside every area range, which COCOeval ignores


def plain_coco(dataset, detections, thrs, max_dets):
    """AP computed by pycocotools alone; -1 without objects."""
    with contextlib.redirect_stdout(io.StringIO()):
        gt = as_coco(dataset)
        evaluation = COCOeval(gt, gt.loadRes([dict(d) for d in detections]), 'bbox')
        # loadRes recomputes areas, but edited ones must be kept.
        for ann, detection in zip(evaluation.cocoDt.dataset['annotations'], detections):
            ann['area'] = detection.get('area', ann['area'])
        evaluation.params.iouThrs = np.array(thrs)
        evaluation.params.maxDets = [max_dets]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval['precision'][:, :, :, 0]
    return precision[precision > -1].mean() if (precision > -1).any() else -1


def edited(dataset, detections, region):
    """The data set with everything outside a region ignored, or detections removed if it is a zone."""
    sizes = {image['id']: (image['width'], image['height']) for image in dataset['images']}

    def inside(ann):
        x, y, w, h = ann['bbox']
        width, height = sizes[ann['image_id']]
        if region.startswith('zone'):
            depth = min((x + w / 2) / width, (y + h / 2) / height)
            depth = min(depth, 1 - (x + w / 2) / width, 1 - (y + h / 2) / height)
            return region == f'zone{min(4, max(0, int(np.ceil(depth * 10)) - 1))}'
        distance = max(0, min(x, y, width - x - w, height - y - h))
        low, high = region.split('_')[1:]
        return float(low) <= distance < (np.inf if high == 'up' else float(high))

    objects = [ann if inside(ann) else {**ann, 'area': FAR} for ann in dataset['annotations']]
    if region.startswith('zone'):
        detections = [d for d in detections if inside(d)]
    else:
        detections = [d if inside(d) else {**d, 'area': FAR} for d in detections]
    return {**dataset, 'annotations': objects}, detections


@settings(max_examples=5)
@given(st.integers(0, 10**6))
def test_regions_equal_coco_on_a_set_filtered_by_hand(seed):
    dataset, detections = random_set(seed)
    precisions = spatial_precisions(PARTITIONS)
    found = SpatialEval(as_coco(dataset), detections, PARTITIONS, precisions).metrics()
    for precision in precisions:
        if precision.region == 'all':
            by_hand = dataset, detections
        else:
            by_hand = edited(dataset, detections, precision.region)
        if not by_hand[1]:
            continue  # loadRes refuses an empty list
        expected = plain_coco(*by_hand, precision.iou_thrs, precision.max_dets)
        assert found[precision.name] == pytest.approx(expected, abs=1e-12), precision


def test_a_detection_just_outside_its_objects_bin_is_a_true_positive():
    dataset = {
        'images': [{'id': 1, 'width': 100, 'height': 100}],
        'annotations': [
            {'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [5.5, 40, 20, 20], 'area': 400,
             'iscrowd': 0}
        ],
        'categories': [{'id': 1, 'name': 'car'}],
    }  # fmt: skip
    strayed = [{'image_id': 1, 'category_id': 1, 'bbox': [4.5, 40, 20, 20], 'score': 0.9}]
    found = SpatialEval(
        as_coco(dataset), strayed, PARTITIONS, spatial_precisions(PARTITIONS)
    ).metrics()
    assert found['border_5_15_mAP_50'] == found['mAP_50'] == pytest.approx(1)
    assert found['border_0_5_mAP_50'] == -1


def test_without_detections_every_region_with_objects_has_0():
    dataset, _ = random_set(1)
    partitions = default_partitions()
    found = SpatialEval(as_coco(dataset), [], partitions, spatial_precisions(partitions)).metrics()
    assert found['mAP'] == found['zone0_mAP'] == found['zone_var'] == found['zone_SP'] == 0
    assert found['border_128_up_mAP'] == -1  # no image is as large


def test_detections_and_annotations_are_left_as_they_were():
    dataset, detections = random_set(2)
    gt, given_detections = as_coco(dataset), [dict(d) for d in detections]
    SpatialEval(gt, detections, PARTITIONS, spatial_precisions(PARTITIONS))
    assert detections == given_detections
    areas = [ann['area'] for ann in dataset['annotations']]
    assert [ann['area'] for ann in gt.dataset['annotations']] == areas


def test_zone_summary_is_the_variance_and_the_area_weighted_sum():
    zones = np.array([0.1, 0.2, 0.35, 0.4, 0.6])
    variance, equilibrium = zone_summary(zones)
    assert variance == pytest.approx(np.var(zones))
    weighted = 0.36 * 0.1 + 0.28 * 0.2 + 0.2 * 0.35 + 0.12 * 0.4 + 0.04 * 0.6
    assert equilibrium == pytest.approx(weighted)


def test_zone_summary_leaves_out_empty_zones():
    variance, equilibrium = zone_summary(np.array([[0.1, -1, 0.3, -1, -1], [-1] * 5]))
    assert variance == pytest.approx([0.01, -1])
    assert equilibrium == pytest.approx([(0.36 * 0.1 + 0.2 * 0.3) / 0.56, -1])
