"""A detector whose weights, settings or outputs cannot be right is refused before it is measured."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mindpad_mm.border import border_loss
from mindpad_mm.core.detector import DetectorFiles
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import check_model, load_config, load_detector, load_weights
from mindpad_mm.core.weights import check_weights, finite_outputs, unusual_buffers
from mindpad_mm.evaluation.compare import compare
from mindpad_mm.evaluation.entries import Run
from mindpad_mm.scan import blindspot_scan
from mindpad_mm.settings.compare import CompareSettings
from mindpad_mm.testing.small import write_small_ssd
from tests.evaluation.known_objects import config_text, draw_set

SCAN = {'sizes': [20], 'stride': 32, 'label': 'car'}
WEIGHT = 'bbox_head.cls_convs.0.1.weight'
BIAS = 'bbox_head.cls_convs.0.1.bias'
NORM = 'backbone.conv1.bn'


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    return write_small_ssd(tmp_path_factory.mktemp('small'))


@pytest.fixture
def stored(small):
    return torch.load(small / 'weights.pth')['state_dict']


def first_is(value):
    def change(tensor):
        tensor.view(-1)[0] = value
        return tensor

    return change


def in_half(tensor):
    return first_is(6e4)(tensor.clone()).half()


def everything_in_half(weights):
    return {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}


FAULTS = {
    'NaN in a weight': (WEIGHT, first_is(math.nan), f'diverged; NaN: {WEIGHT}'),
    'infinite weight': (WEIGHT, first_is(math.inf), f'cannot be right; infinite: {WEIGHT}'),
    'infinite bias': (BIAS, first_is(-math.inf), f'infinite: {BIAS}'),
    'infinite mean': (f'{NORM}.running_mean', first_is(math.inf), 'infinite: .*running_mean'),
    'infinite variance': (f'{NORM}.running_var', first_is(math.inf), 'infinite: .*running_var'),
    'negative variance': (f'{NORM}.running_var', first_is(-1e-3), f'variance below 0: {NORM}'),
    'too large for double': (WEIGHT, lambda t: first_is(1e300)(t.double()), 'infinite'),
    'huge weight': (WEIGHT, first_is(-1e30), f'above 1e\\+08: {WEIGHT}'),
    'huge variance': (f'{NORM}.running_var', first_is(1e30), 'above 1e\\+15: .*running_var'),
    'end of half precision': (WEIGHT, in_half, f'at the end of half precision: {WEIGHT}'),
    'mean in half': (f'{NORM}.running_mean', in_half, 'end of half precision: .*running_mean'),
    'overflown in half precision': (WEIGHT, lambda t: first_is(1e6)(t).half(), 'infinite'),
    'whole numbers': (WEIGHT, lambda t: (t * 99).to(torch.int8), f'stored as int8: {WEIGHT}'),
    'yes and no': (WEIGHT, lambda t: t > 0, f'stored as bool: {WEIGHT}'),
    'complex': (WEIGHT, lambda t: t.to(torch.complex64), f'stored as complex64: {WEIGHT}'),
}


@pytest.mark.parametrize('fault', FAULTS)
@pytest.mark.filterwarnings('ignore:Casting complex values')
def test_weights_that_cannot_be_right_are_refused_by_name(small, stored, tmp_path, fault):
    key, change, message = FAULTS[fault]
    stored[key] = change(stored[key])
    path = tmp_path / 'bad.pth'
    torch.save({'state_dict': stored}, path)
    cfg = load_config(str(small / 'config.py'))
    for call in (
        lambda: check_model(cfg, str(path)),  # before MMDetection's own test
        lambda: blindspot_scan((small / 'config.py', path), **SCAN),
    ):
        with pytest.raises(UserError, match=message) as info:
            call()
        assert '\n' not in str(info.value)
        assert 'bad.pth' in str(info.value)


class Layers(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(4, 2))
        self.register_buffer('mask', torch.full((2, 2), -math.inf))


NAMES = [key for key, value in Layers().state_dict().items() if value.is_floating_point()]


@given(
    key=st.sampled_from(NAMES),
    place=st.integers(0, 10**6),
    value=st.floats(width=32, allow_nan=True, allow_infinity=True),
    double=st.booleans(),
)
@settings(deadline=None)
def test_weights_pass_exactly_if_they_are_of_any_possible_size_and_variances_not_below_0(
    key, place, value, double
):
    model = Layers()
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    if double:
        weights = {k: v.double() for k, v in weights.items()}
    weights[key].view(-1)[place % weights[key].numel()] = value
    negative = key.endswith('running_var') and value < 0
    # The model's own mask is infinite, so its values are not judged.
    right = (abs(value) <= (1e15 if 'running' in key else 1e8) or key == 'mask') and not negative
    try:
        load_weights(model, weights, 'x.pth')
    except UserError:
        assert not right
    else:
        assert right


def test_real_weights_in_half_precision_pass(small, stored, tmp_path):
    path = tmp_path / 'half.pth'
    torch.save({'state_dict': everything_in_half(stored)}, path)
    check_model(load_config(str(small / 'config.py')), str(path))


def test_a_model_in_memory_is_checked_too(small):
    model = load_detector(str(small / 'config.py'), str(small / 'weights.pth'))
    before = model.test_cfg.score_thr
    model.test_cfg['score_thr'] = math.nan
    with pytest.raises(UserError, match='score_thr = nan'):
        blindspot_scan(model, **SCAN)
    model.test_cfg['score_thr'] = before
    model.data_preprocessor.std.zero_()
    with pytest.raises(UserError, match=r'data_preprocessor\.std = \[0\.0'):
        blindspot_scan(model, **SCAN)
    model.data_preprocessor.std.fill_(1)
    with torch.no_grad():
        model.get_parameter(WEIGHT)[0] = math.nan
    with pytest.raises(UserError, match=f'NaN: {WEIGHT}'):
        blindspot_scan(model, **SCAN)


SETTINGS = {
    'std 0': ({'model.data_preprocessor.std': [0, 1, 1]}, r'data_preprocessor\.std = \[0, 1'),
    'std below 0': ({'model.data_preprocessor.std': [-1] * 3}, 'above 0'),
    'std NaN': ({'model.data_preprocessor.std': [math.nan] * 3}, r'std\.0 = nan'),
    'std infinite': ({'model.data_preprocessor.std': [math.inf] * 3}, 'above 0'),
    'mean infinite': ({'model.data_preprocessor.mean': [math.inf] * 3}, 'finite'),
    'pad NaN': ({'model.data_preprocessor.pad_value': math.nan}, r'pad_value = nan'),
    'score': ({'model.test_cfg.score_thr': math.nan}, 'score_thr = nan'),
    'nms': ({'model.test_cfg.nms.iou_threshold': math.nan}, 'iou_threshold = nan'),
    'coder': ({'model.bbox_head.bbox_coder.target_stds': [math.nan] * 4}, 'target_stds.0 = nan'),
}


@pytest.mark.parametrize('case', SETTINGS)
def test_settings_that_cannot_be_right_are_refused_by_name(small, case):
    options, message = SETTINGS[case]
    weights = str(small / 'weights.pth')
    for call in (
        lambda: load_detector(str(small / 'config.py'), weights, cfg_options=options),
        lambda: check_model(load_config(str(small / 'config.py'), options), weights),
    ):
        with pytest.raises(UserError, match=message):
            call()


def test_outputs_that_are_not_finite_stop_a_scan_and_a_border_loss(small, tmp_path):
    overflowing = DetectorFiles(
        small / 'config.py', small / 'weights.pth', {'model.data_preprocessor.std': [1e-37] * 3}
    )
    photo = np.random.default_rng(0).integers(0, 256, (200, 220, 3), np.uint8)
    cv2.imwrite(str(tmp_path / 'photo.png'), photo)
    message = r'input of layer backbone\.conv1\.conv is not finite: check model\.data_preprocessor'
    with pytest.raises(UserError, match=message):
        blindspot_scan(overflowing, **SCAN)
    with pytest.raises(UserError, match=message):
        border_loss(overflowing, [str(tmp_path / 'photo.png')], window=(96, 96))


def test_boxes_that_are_not_finite_stop_a_comparison(tmp_path):
    folder = draw_set(tmp_path / 'set')
    evaluator = dict(type='CocoMetric', ann_file=str(folder / 'coco.json'))
    (folder / 'config.py').write_text(config_text(folder, dict(type='CocoDataset'), evaluator))
    torch.save({'state_dict': {'scale': torch.full((1,), 1e8)}}, folder / 'weights.pth')
    run = Run(str(folder / 'config.py'), str(folder / 'weights.pth'))
    with pytest.raises(UserError, match='boxes or scores that are not finite'):
        compare([run], folder / 'out', CompareSettings(draws=1))


HALF = pytest.param(
    torch.float16,
    marks=pytest.mark.skipif(
        tuple(map(int, torch.__version__.split('.')[:2])) < (2, 2),
        reason='linear layers in half precision need torch 2.2 on a CPU',
    ),
)


@pytest.mark.parametrize('dtype', [HALF, torch.float32])
def test_the_first_layer_that_overflows_is_named(dtype):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 4)).to(dtype)
    large = 6e4 if dtype == torch.float16 else 3e38
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1)
        model[2].weight.fill_(large)
    images = torch.ones(1, 4, dtype=dtype)
    with pytest.raises(UserError, match='output of layer 2 is not finite'), finite_outputs(model):
        model(images)
    with pytest.raises(UserError, match=r'input of layer 0 .*preprocessor'), finite_outputs(model):
        model(images * math.nan)
    assert not any(module._forward_hooks for module in model.modules())
    if dtype == torch.float16:
        with pytest.raises(UserError, match=r'end of half precision: 2\.weight'):
            check_weights(model, 'the model')


def test_masks_of_a_model_may_be_infinite():
    model = Layers()
    assert unusual_buffers(model) == {'mask'}
    load_weights(model, Layers().state_dict(), 'x.pth')
