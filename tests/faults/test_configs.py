"""Wrong values in configs, missing packages, devices and seeds: one line, before any work."""

from __future__ import annotations

import importlib
import re
import sys

import pytest
import torch
from mmdet.registry import MODELS

from mindpad_mm import blindspot_scan
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import check_device, load_config, load_detector, users_faults
from mindpad_mm.diagnose.subject import pipeline_size
from tests.faults.commands import ending

BASE = """
default_scope = 'mmdet'
model = dict(type='SSD')
test_dataloader = dict(dataset=dict(type='CocoDataset', pipeline=[], metainfo=dict(classes=('a',))))
"""

# What is added to a config -> a word that the line must hold.
SHAPES = {
    'test_dataloader = 5': 'test_dataloader = 5',
    "test_dataloader = 'x'": 'test_dataloader',
    'test_dataloader = [1]': 'test_dataloader',
    'test_dataloader = dict(_delete_=True, dataset=5)': 'test_dataloader.dataset = 5',
    'test_dataloader = dict(_delete_=True, batch_size=1)': 'test_dataloader.dataset',
    'test_dataloader = dict(dataset=dict(pipeline=3))': 'test_dataloader.dataset.pipeline',
    "test_dataloader = dict(dataset=dict(pipeline='LoadImageFromFile'))": 'pipeline',
    "test_dataloader = dict(dataset=dict(pipeline=['LoadImageFromFile']))": 'pipeline.0',
    'test_dataloader = dict(dataset=dict(pipeline=[dict()]))': 'pipeline.0',
    "test_dataloader = dict(dataset=dict(metainfo=dict(classes='car')))": "('car',)",
    'test_dataloader = dict(dataset=dict(metainfo=dict(classes=2)))': 'metainfo.classes',
    'test_dataloader = dict(dataset=dict(metainfo=dict(classes=(1, 2))))': 'metainfo.classes',
    'test_dataloader = dict(dataset=dict(metainfo=dict(classes=((), ()))))': 'metainfo.classes',
    'test_dataloader = dict(dataset=dict(metainfo=7))': 'metainfo',
    'default_scope = 5': 'default_scope = 5',
    'default_scope = []': 'default_scope',
    "default_scope = dict(name='mmdet')": 'default_scope',
    'model = 5': 'model',
    "model = 'mmdet.SSD'": 'model',
    'randomness = 3': 'randomness',
    "raise SystemExit(0)": 'cannot be read',
    "import sys; sys.exit('bye')": 'cannot be read',
    "import sys; sys.exit(0)": 'cannot be read',
    'x = 1 / 0': 'cannot be read',
    'assert False': 'cannot be read',
    "raise StopIteration": 'cannot be read',
    'custom_imports = 5': 'cannot be read',
    "custom_imports = dict(imports=5)": 'cannot be read',
    'custom_hooks = 5': 'custom_hooks',
    'test_evaluator = 5': 'test_evaluator',
    'test_evaluator = [3]': 'test_evaluator',
    'test_cfg = 3': 'test_cfg',
    'train_dataloader = dict(dataset=dict(datasets=3))': 'train_dataloader.dataset.datasets',
    'train_dataloader = dict(dataset=dict(datasets=[3]))': 'train_dataloader.dataset.datasets.0',
    'train_dataloader = dict(dataset=dict(dataset=3))': 'train_dataloader.dataset.dataset',
}  # fmt: skip
# Of what is built from a config.
WRONG = {
    'test_dataloader = dict(dataset=dict(pipeline=[]))': 'pipeline',
    'test_dataloader = dict(dataset=dict(type=4))': 'test_dataloader.dataset',
    "test_dataloader = dict(dataset=dict(type='NoSuchSet'))": 'NoSuchSet',
    'model = None': 'model',
    'model = dict(type=3)': 'model',
    'model = dict(backbone=5)': 'model',
    'model = dict(neck=[1, 2])': 'model',
    "model = dict(bbox_head=dict(num_classes='two'))": 'model',
    'model = dict(bbox_head=dict(num_classes=-1))': 'does not fit',
    "model = dict(test_cfg=5)": 'predict',
    "model = dict(test_cfg=dict(nms='soft'))": 'predict',
    "model = dict(test_cfg=dict(nms=dict(type='no such nms')))": 'predict',
    "model = dict(test_cfg=dict(nms_pre='many'))": 'predict',
    "model = dict(test_cfg=dict(score_thr='high'))": 'score_thr',
    "model = dict(data_preprocessor=dict(mean='grey'))": 'model',
    'model = dict(data_preprocessor=dict(mean=[1, 2]))': 'model',
    'model = dict(backbone=dict(widen_factor=None))': 'model',
    "model = dict(backbone=dict(widen_factor='1'))": 'model',
    "randomness = dict(seed='x')": 'randomness.seed',
    "model = dict(backbone=dict(type='mmpretrain.ConvNeXt'))": 'mmpretrain',
}  # fmt: skip
# Steps of the test pipeline with values of wrong types.
STEPS = (
    "dict(type='Resize', scale=(0, 96))",
    "dict(type='Resize', scale='big')",
    "dict(type='Resize', scale=None)",
    "dict(type='Resize', scale=(96, 96), keep_ratio='x', backend='none')",
    "dict(type='Pad', size=-3)",
    "dict(type='Pad', size_divisor='a')",
    "dict(type='Normalize', mean=3, std='x')",
    "dict(type='NoSuchStep')",
    'dict(type=5)',
    'dict(type=len)',
)


def fault_of(files, tmp_path, text):
    """What a scan says about a config with a text added."""
    config = tmp_path / 'child.py'
    config.write_text(f"_base_ = '{files / 'config.py'}'\n{text}\n")
    with pytest.raises(UserError) as raised:
        blindspot_scan(
            (config, files / 'weights.pth'), files / 'photo.png', sizes=8, stride=60,
            out=tmp_path / 'out',
        )  # fmt: skip
    assert not (tmp_path / 'out' / 'scan.json').exists()
    assert '\n' not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize('text', SHAPES)
def test_a_value_of_the_wrong_type_is_named_before_anything_is_built(tmp_path, text):
    (tmp_path / 'base.py').write_text(BASE)
    (tmp_path / 'child.py').write_text(f"_base_ = './base.py'\n{text}\n")
    with pytest.raises(UserError, match=re.escape(SHAPES[text])) as raised:
        load_config(str(tmp_path / 'child.py'))
    assert '\n' not in str(raised.value)


@pytest.mark.parametrize('text', WRONG)
def test_a_value_that_cannot_be_built_or_run_is_one_line_that_names_it(files, tmp_path, text):
    assert WRONG[text] in fault_of(files, tmp_path, text)


@pytest.mark.parametrize('step', STEPS)
def test_a_step_of_the_pipeline_with_a_wrong_value_is_one_line(files, tmp_path, step):
    steps = f"[dict(type='LoadImageFromFile'), {step}, dict(type='PackDetInputs')]"
    text = f'test_dataloader = dict(dataset=dict(pipeline={steps}))'
    assert re.search('pipeline|test_dataloader|NoSuchStep', fault_of(files, tmp_path, text))


@pytest.mark.parametrize(
    ('scale', 'size'), [('96', (96, 96)), ('(64, 32)', (32, 64)), ("'big'", None), ('(1,)', None)]
)
def test_the_scale_of_a_pipeline_may_be_one_number(tmp_path, scale, size):
    steps = f"[dict(type='LoadImageFromFile'), dict(type='Resize', scale={scale})]"
    config = BASE.replace('pipeline=[]', f'pipeline={steps}')
    (tmp_path / 'config.py').write_text(config)
    cfg = load_config(str(tmp_path / 'config.py'))
    if size is None:
        with pytest.raises(UserError, match='scale'):
            pipeline_size(cfg)
    else:
        assert pipeline_size(cfg) == size


@pytest.mark.parametrize('package', ['skimage', 'lap', 'panopticapi', 'mmpretrain', 'transformers'])
@pytest.mark.parametrize('place', ['config', 'model', 'text'])
def test_a_package_that_is_missing_is_named_in_one_line(tmp_path, monkeypatch, package, place):
    monkeypatch.setitem(sys.modules, package, None)

    def needs(**kwargs):
        if place == 'text':
            raise RuntimeError(f'{package} is not installed,\n please install it')
        importlib.import_module(package)

    MODELS.register_module('Needs', module=needs, force=True)
    imports = f"custom_imports = dict(imports=['{package}.x'], allow_failed_imports=False)"
    config = BASE + (imports if place == 'config' else "model = dict(type='Needs')")
    (tmp_path / 'config.py').write_text(config)
    with pytest.raises(UserError, match=package):
        load_detector(str(tmp_path / 'config.py'), None)
    with pytest.raises(UserError, match=package), users_faults():
        needs()


@pytest.mark.parametrize(
    'device', ['meta', 'cuda:77', 'gpu', '', 'cpu:x', 'xla', 'mps', '0', 'cpu:3']
)
def test_a_device_is_usable_or_told(device):
    """The oracle: a sum on the device."""
    try:
        usable = torch.ones(2, device=device).sum().item() == 2
    except Exception:
        usable = False
    if usable:
        check_device(device)
    else:
        with pytest.raises(UserError, match='`device`'):
            check_device(device)


@pytest.mark.parametrize('device', ['meta', 'cuda:77', ''])
@pytest.mark.parametrize('command', ['scan', 'diagnose', 'compare', 'border'])
def test_a_device_that_cannot_compute_is_one_line(capsys, files, tmp_path, command, device):
    argv = {
        'scan': [],
        'diagnose': [],
        'border': ['--photos', files / 'photo.png'],
        'compare': [],
    }[command]
    detector = [files / 'config.py', files / 'weights.pth']
    if command == 'compare':
        detector = [f'{detector[0]}:{detector[1]}']
    out = tmp_path / 'out'
    status, line = ending(capsys, command, *detector, *argv, '--device', device, '--out', out)
    assert status == 2
    assert '--device' in line


@pytest.mark.parametrize('seed', ['-1', str(-(2**40))])
@pytest.mark.parametrize('command', ['scan', 'diagnose', 'compare', 'border', 'lights'])
def test_a_seed_out_of_range_is_one_line(capsys, files, tmp_path, command, seed):
    detector = [files / 'config.py', files / 'weights.pth']
    argv = {
        'scan': detector,
        'diagnose': detector,
        'border': [*detector, '--photos', files / 'photo.png'],
        'compare': [f'{detector[0]}:{detector[1]}'],
        'lights': [],
    }[command]
    status, line = ending(capsys, command, *argv, '--seed', seed, '--out', tmp_path / 'out')
    assert status == 2
    assert '--seed' in line
