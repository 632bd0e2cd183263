from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS

from mindpad_mm.core.errors import UserError
from mindpad_mm.evaluation import SpatialCocoMetric
from tests.evaluation.random_sets import CLASSES, random_set, samples


@pytest.fixture(scope='module')
def known(tmp_path_factory):
    """A random set, its detections and its annotation file."""
    dataset, detections = random_set(0, images=20)
    path = tmp_path_factory.mktemp('set') / 'annotations.json'
    path.write_text(json.dumps(dataset))
    return dataset, detections, str(path)


def run(metric, predicted):
    metric.dataset_meta = {'classes': CLASSES}
    predicted = list(predicted)
    metric.process({}, predicted)
    return metric.evaluate(len(predicted))


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'classwise': True, 'iou_thrs': np.linspace(0.3, 0.8, 6)},
        {'metric': ['bbox', 'proposal']},
        {'metric_items': ['mAP', 'AR@100'], 'proposal_nums': (10, 100, 200)},
    ],
)
def test_every_metric_of_cocometric_is_unchanged(known, options):
    dataset, detections, path = known
    stock = run(CocoMetric(path, **options), samples(dataset, detections))
    ours = run(SpatialCocoMetric(path, **options), samples(dataset, detections))
    assert stock
    np.testing.assert_equal({name: ours[name] for name in stock}, dict(stock))
    assert {'coco/bbox_mAP_20', 'coco/bbox_zone0_mAP', 'coco/bbox_zone_SP'} <= set(ours) - set(
        stock
    )


def test_thresholds_may_come_from_a_config_as_a_list(known):
    dataset, detections, path = known
    thrs = [0.3, 0.5, 0.75]
    stock = run(CocoMetric(path, iou_thrs=np.array(thrs)), samples(dataset, detections))
    ours = run(SpatialCocoMetric(path, iou_thrs=thrs), samples(dataset, detections))
    assert {name: ours[name] for name in stock} == stock


def test_metric_is_registered_by_importing_the_package():
    metric = METRICS.build(dict(type='SpatialCocoMetric', border_px=(4, 20)))
    assert isinstance(metric, SpatialCocoMetric)


def test_metrics_by_region_are_within_0_and_1_or_undefined(known):
    dataset, detections, path = known
    found = run(SpatialCocoMetric(path, border_px=(4, 20)), samples(dataset, detections))
    assert found['coco/bbox_mAP_20'] >= found['coco/bbox_mAP_50']
    regions = [*(f'zone{i}' for i in range(5)), 'border_0_4', 'border_4_20', 'border_20_up']
    for region in regions:
        ap, ap_50 = (found[f'coco/bbox_{region}_mAP{end}'] for end in ('', '_50'))
        assert ap == ap_50 == -1 or 0 <= ap <= ap_50 <= 1
    zones = np.array([found[f'coco/bbox_zone{i}_mAP'] for i in range(5)])
    assert found['coco/bbox_zone_var'] == pytest.approx(np.var(zones), abs=1e-3)
    assert found['coco/bbox_zone_SP'] == pytest.approx(
        zones @ [0.36, 0.28, 0.20, 0.12, 0.04], abs=1e-3
    )


def test_masks_that_fill_their_boxes_have_the_ap_of_the_boxes(tmp_path):
    dataset, detections = random_set(3, whole_pixels=True)
    for ann in dataset['annotations']:
        ann['iscrowd'] = 0  # a crowd's mask would have to be run-length encoded
    path = tmp_path / 'annotations.json'
    path.write_text(json.dumps(dataset))
    predicted = list(samples(dataset, detections))
    for sample in predicted:
        boxes = sample['pred_instances'].bboxes.int()
        masks = torch.zeros(len(boxes), *sample['ori_shape'], dtype=torch.bool)
        for mask, (left, top, right, bottom) in zip(masks, boxes.tolist()):
            mask[top:bottom, left:right] = True
        inside = masks.flatten(1).any(1)
        sample['pred_instances'] = sample['pred_instances'][inside]
        sample['pred_instances'].masks = masks[inside]
        # Boxes are clipped to the image, as masks are.
        limit = torch.tensor(sample['ori_shape'][::-1]).repeat(2)
        clipped = torch.minimum(sample['pred_instances'].bboxes, limit)
        sample['pred_instances'].bboxes = clipped
    found = run(SpatialCocoMetric(str(path), metric=['bbox', 'segm']), predicted)
    segm = {name: value for name, value in found.items() if 'segm' in name and 'zone' in name}
    assert len(segm) == 12
    for name, value in segm.items():
        assert value == pytest.approx(found[name.replace('segm', 'bbox')], abs=2e-3)


def test_ground_truth_may_come_from_the_data_samples():
    dataset, detections = random_set(4)
    predicted = list(samples(dataset, detections))
    for sample in predicted:
        sample['instances'] = [
            {
                'bbox': [*ann['bbox'][:2], *(np.add(ann['bbox'][:2], ann['bbox'][2:]))],
                'bbox_label': ann['category_id'] - 1,
                'ignore_flag': ann['iscrowd'],
            }
            for ann in dataset['annotations']
            if ann['image_id'] == sample['img_id']
        ]
    for sample in predicted:
        for instance in sample['instances']:
            instance['bbox'] = [float(value) for value in instance['bbox']]
    found = run(SpatialCocoMetric(), predicted)
    assert 0 <= found['coco/bbox_zone0_mAP'] <= 1


def test_without_any_detection_there_is_no_metric_as_in_cocometric(known):
    dataset, _, path = known
    assert run(CocoMetric(path), samples(dataset, [])) == {}
    assert run(SpatialCocoMetric(path), samples(dataset, [])) == {}


def test_format_only_writes_the_result_file_alone(known, tmp_path):
    dataset, detections, path = known
    prefix = str(tmp_path / 'found')
    metric = SpatialCocoMetric(path, format_only=True, outfile_prefix=prefix)
    assert run(metric, samples(dataset, detections)) == {}
    assert len(json.loads((tmp_path / 'found.bbox.json').read_text())) == len(detections)


def test_bins_that_do_not_ascend_are_refused():
    with pytest.raises(UserError, match='ascend'):
        SpatialCocoMetric(border_px=(9, 3))
