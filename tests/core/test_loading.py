from __future__ import annotations

import functools
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.apis import inference_detector

from mindpad_mm.core import loading
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import load_config, load_detector

SSD = """
_base_ = 'mmdet::ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py'
randomness = dict(seed={seed})
"""


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp('config') / 'ssd.py'
    path.write_text(SSD.format(seed=3))
    return load_config(str(path))


@pytest.fixture(scope='module')
def detector(config):
    return load_detector(config, None)


def save(folder: Path, weights: dict, **rest) -> str:
    path = str(folder / 'weights.pth')
    torch.save({'state_dict': OrderedDict(weights), **rest}, path)
    return path


def test_overrides_reach_the_config_they_are_for_and_no_other(config):
    before = config.pretty_text
    model = load_detector(config, None, cfg_options={'model.test_cfg.score_thr': 0.5})
    assert model.cfg.model.test_cfg.score_thr == model.bbox_head.test_cfg.score_thr == 0.5
    assert config.pretty_text == before


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('model = dict(', r'SyntaxError'),
        ("_base_ = 'mmdet::ssd/no_such.py'", r'no_such'),
        ("_base_ = './gone.py'", r'gone\.py'),
        ("_base_ = 'broken.yaml'", r'ParserError'),
        ('model = undefined', r'NameError.*undefined'),
        ("custom_imports = dict(imports=['no_such_module'])", r'no_such_module'),
    ],
)
def test_a_config_that_cannot_be_read_gives_a_one_line_error(tmp_path, text, message):
    path = tmp_path / 'bad.py'
    path.write_text(text + '\n')
    (tmp_path / 'broken.yaml').write_text('a: [')
    with pytest.raises(UserError, match=rf'bad\.py cannot be read: .*{message}') as info:
        load_config(str(path))
    assert '\n' not in str(info.value)


def test_missing_config_unfit_override_and_config_without_model_are_refused(tmp_path, config):
    with pytest.raises(UserError, match=r'gone\.py does not exist'):
        load_config(str(tmp_path / 'gone.py'))
    with pytest.raises(UserError, match=r"contains _base_ = 'mmdet::ssd/a\.py'"):
        load_config('mmdet::ssd/a.py')
    with pytest.raises(UserError, match='`cfg_options`'):
        load_config(config.filename, {'model.type.name': 1})
    (tmp_path / 'empty.py').write_text('')
    with pytest.raises(UserError, match=r'empty\.py has no'):
        load_detector(str(tmp_path / 'empty.py'), None)


@pytest.mark.parametrize(
    ('override', 'message'),
    [
        ({'model.neck.type': 'Nek'}, 'Nek is not in'),
        ({'model.bbox_head.in_channels': 3}, 'cannot be built: TypeError'),
        ({'model.backbone.out_indices': (99,)}, 'cannot be built: ValueError'),
        ({'model.backbone.padding_cgf': 'reflect'}, "unexpected keyword argument 'padding_cgf'"),
    ],
)
def test_a_model_that_cannot_be_built_names_what_is_misspelt(config, override, message):
    with pytest.raises(UserError, match=message) as info:
        load_detector(config, None, cfg_options=override)
    assert '\n' not in str(info.value)


def test_a_bug_of_mindpad_mm_is_not_blamed_on_the_config(config, monkeypatch):
    monkeypatch.setattr(loading, '_without_pretrained', functools.partial(loading.some, 'keys', 3))
    with pytest.raises(TypeError, match='has no len'):
        load_detector(config, None)


def test_random_weights_follow_the_seed_and_keep_torchs_random_state(config, detector):
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    again = load_detector(config, None).state_dict()
    assert torch.equal(torch.rand(3), want)
    first = detector.state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    other = load_detector(config, None, cfg_options={'randomness.seed': 4}).state_dict()
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_a_detector_predicts_and_knows_its_config_and_classes(config, detector):
    assert not detector.training
    assert detector.cfg.filename == config.filename
    assert detector.dataset_meta['classes'][9] == 'traffic light'
    found = inference_detector(detector, np.zeros((40, 60, 3), np.uint8)).pred_instances
    assert found.bboxes.shape == (len(found.scores), 4)


def test_pretrained_weights_of_the_config_are_not_fetched(tmp_path):
    path = tmp_path / 'ssd300.py'
    path.write_text("_base_ = 'mmdet::ssd/ssd300_coco.py'\n")
    options = {'model.backbone.init_cfg.checkpoint': str(tmp_path / 'no_such.pth')}
    assert not load_detector(str(path), None, cfg_options=options).training


def test_all_weights_are_loaded_and_the_checkpoints_classes_win(tmp_path, config, detector):
    weights = {
        f'module.{key}': torch.full_like(value, 0.5)
        for key, value in detector.state_dict().items()
        if 'num_batches_tracked' not in key
    }
    weights['ema_backbone_conv1'] = torch.ones(1)
    path = save(tmp_path, weights, meta={'dataset_meta': {'CLASSES': ('a', 'b')}})
    loaded = load_detector(config, path)
    assert all((p == 0.5).all() for p in loaded.parameters())
    assert loaded.dataset_meta['classes'] == ('a', 'b')
    old = save(tmp_path, weights, meta={'CLASSES': ('c',), 'epoch': 3})
    assert load_detector(config, old).dataset_meta['classes'] == ('c',)


@pytest.mark.parametrize(
    ('meta', 'classes'),
    [
        ({'CLASSES': 'lamp'}, ('lamp',)),  # ('lamp') is not a tuple
        ({'CLASSES': None}, None),
        ('of another tool', None),
    ],
)
def test_class_names_in_old_or_foreign_checkpoints_are_understood(
    tmp_path, config, detector, meta, classes
):
    loaded = load_detector(config, save(tmp_path, detector.state_dict(), meta=meta))
    assert loaded.dataset_meta['classes'] == (classes or detector.dataset_meta['classes'])


def test_weights_of_a_training_that_diverged_are_refused_by_name(tmp_path, config, detector):
    weights = dict(detector.state_dict())
    key = 'bbox_head.cls_convs.0.1.weight'
    weights[key] = weights[key].clone()
    weights[key][0] = float('nan')
    with pytest.raises(UserError, match=f'diverged; NaN: {key}: use an earlier one'):
        load_detector(config, save(tmp_path, weights))
    path = str(tmp_path / 'nothing.pth')
    torch.save({'state_dict': None}, path)
    with pytest.raises(UserError, match='holds a NoneType'):
        load_detector(config, path)


@pytest.mark.parametrize('change', ['missing', 'left over', 'of another shape'])
def test_weights_that_do_not_fit_are_refused_by_name(tmp_path, config, detector, change):
    weights = dict(detector.state_dict())
    key = 'bbox_head.cls_convs.0.1.weight'
    if change == 'missing':
        del weights[key]
    elif change == 'left over':
        key = 'backbone.layer9.weight'
        weights[key] = torch.ones(1)
    else:
        weights[key] = weights[key][:-6]
    with pytest.raises(
        UserError, match=f'does not fit the detector in the config: {change}: {key}$'
    ):
        load_detector(config, save(tmp_path, weights))


def test_many_unfit_weights_are_counted_and_a_few_named(tmp_path, config, detector):
    weights = {'another.' + key: value for key, value in detector.state_dict().items()}
    with pytest.raises(
        UserError, match=r'missing: (\S+, ){3}\.\.\. \(\d+ in all\); left over'
    ) as e:
        load_detector(config, save(tmp_path, weights))
    assert len(str(e.value)) < 600


def test_a_device_that_is_not_available_is_refused(config):
    if torch.cuda.is_available():
        pytest.skip('this machine has the device')
    with pytest.raises(UserError, match="`device` 'cuda:0' cannot be used"):
        load_detector(config, None, device='cuda:0')


def test_a_checkpoint_that_needs_a_missing_client_gives_a_one_line_error(config):
    with pytest.raises(UserError, match=r's3://a/b\.pth cannot be fetched: .*install'):
        load_detector(config, 's3://a/b.pth')


def test_a_config_inherits_from_the_packages_own_ones(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text("_base_ = 'mindpad_mm::ssd/ssd300_reflect_coco.py'\n")
    assert load_config(str(path)).model.padding_cfg.mode == 'reflect'
