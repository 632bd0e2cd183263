from __future__ import annotations

import pytest
import torch
from mmdet.models.task_modules import MlvlPointGenerator
from mmengine.config import Config
from torch import nn

from mindpad_mm.core.detector import find_label, lowered_thresholds, weights_sha256
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import load_detector
from mindpad_mm.scan.phase import grid_strides


def test_score_thresholds_are_lowered_wherever_there_is_one_and_never_raised():
    test_cfg = {
        'rpn': {'nms_pre': 1000},
        'rcnn': {'score_thr': 0.05, 'nms': {'type': 'nms', 'iou_threshold': 0.5}},
    }
    config = Config({'model': {'test_cfg': test_cfg, 'score_thr': 0.5}})
    options = lowered_thresholds(config)
    assert options == {'model.test_cfg.rcnn.score_thr': 0.001}
    config.merge_from_dict(options)
    assert lowered_thresholds(config) == {}
    assert lowered_thresholds(Config({'model': {'test_cfg': {'score_thr': 1e-5}}})) == {}


def test_threshold_inside_a_wrapped_detector_or_a_list_is_found():
    inner = {'detector': {'test_cfg': {'heads': [{'score_thr': 0.1}, {'score_thr': 0.0}]}}}
    config = Config({'model': inner})
    (key,) = lowered_thresholds(config)
    config.merge_from_dict({key: 0.001})
    assert config.model.detector.test_cfg.heads == [{'score_thr': 0.001}, {'score_thr': 0.0}]


def test_default_label_is_traffic_light_or_the_only_class():
    assert find_label(None, ['car', 'traffic light']) == 1
    assert find_label(None, ['lamp']) == 0
    with pytest.raises(UserError, match='it has car, bus'):
        find_label(None, ['car', 'bus'])


def test_unknown_label_names_the_close_ones_or_all():
    with pytest.raises(UserError, match="did you mean 'bus'"):
        find_label('buss', ['car', 'bus'])
    with pytest.raises(UserError, match='it has car, bus'):
        find_label('zebra', ['car', 'bus'])


def test_digest_changes_with_any_weight():
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))
    before = weights_sha256(model)
    assert weights_sha256(model.to(memory_format=torch.channels_last)) == before
    model[1].running_var[0] += 1e-6
    assert weights_sha256(model) != before


def test_strides_of_the_grid_are_those_of_the_detectors_priors(files):
    model = load_detector(str(files / 'config.py'), str(files / 'weights.pth'))
    assert grid_strides(model) == [(p, p) for p in (16, 32, 64, 107, 160, 320)]
    assert grid_strides(nn.Conv2d(1, 1, 1)) == []


def test_strides_keep_their_fractions_and_differ_by_axis_where_the_priors_do():
    model = nn.Module()
    # MMDetection's order is (horizontal, vertical).
    model.prior_generator = MlvlPointGenerator([300 / 19, (32, 30)])
    assert grid_strides(nn.Sequential(model)) == [(300 / 19, 300 / 19), (30, 32)]
