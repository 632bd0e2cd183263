from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.fileio import dump
from PIL import Image

from mindpad_mm.cli.mmdet_scripts import run_mmdet_script
from mindpad_mm.core.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
_base_ = 'mmdet::ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py'
custom_imports = dict(imports=['mindpad_mm'], allow_failed_imports=False)
scale = (96, 96)
meta = dict(classes=('square',))
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=False),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=(
        'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
data = dict(_delete_=True, type='CocoDataset', data_root='{root}', ann_file='ann.json',
            data_prefix=dict(img=''), metainfo=meta, pipeline=pipeline)
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset=data)
val_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False,
                      dataset=dict(test_mode=True, **data))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file='{root}/ann.json')
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=1)
custom_hooks = [dict(type='EMAHook')]
model = dict(bbox_head=dict(num_classes=1), test_cfg=dict(score_thr=0.0))
"""


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """A folder with a config and four photos of squares in COCO's format."""
    folder = tmp_path_factory.mktemp('project')
    random = np.random.default_rng(0)
    images, annotations = [], []
    for k in range(4):
        pixels = random.integers(0, 80, (96, 96, 3), dtype=np.uint8)
        x, y = (int(v) for v in random.integers(0, 60, 2))
        pixels[y : y + 30, x : x + 30] = 255
        Image.fromarray(pixels).save(folder / f'{k}.png')
        images.append({'id': k, 'file_name': f'{k}.png', 'width': 96, 'height': 96})
        box = {'bbox': [x, y, 30, 30], 'area': 900, 'iscrowd': 0, 'category_id': 1}
        annotations.append({'id': k + 1, 'image_id': k, **box})
    categories = [{'id': 1, 'name': 'square'}]
    dump(
        {'images': images, 'annotations': annotations, 'categories': categories},
        str(folder / 'ann.json'),
    )
    (folder / 'config.py').write_text(CONFIG.format(root=folder))
    return folder


def tool(name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    # Works from any folder, without the checkout on the path.
    env = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    command = [sys.executable, str(ROOT / 'tools' / f'{name}.py'), *arguments]
    return subprocess.run(
        command,
        env={**env, 'OMP_NUM_THREADS': '1'},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope='module')
def checkpoint(project):
    """One epoch trained with reflect padding by the tool."""
    padding = ('--cfg-options', 'model.backbone.padding_cfg=reflect')
    done = tool('train', 'config.py', '--work-dir', 'work', *padding, cwd=project)
    assert done.returncode == 0, done.stderr
    assert 'zeros -> reflect' in done.stdout + done.stderr
    return project / 'work' / 'epoch_1.pth'


def test_a_trained_checkpoint_gives_metrics_and_predictions(project, checkpoint):
    done = tool(
        'test', 'config.py', str(checkpoint), '--work-dir', 'tested', '--out', 'found.pkl',
        cwd=project,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    metrics = json.loads(next((project / 'tested').glob('*/*.json')).read_text())
    assert 0 <= metrics['coco/bbox_mAP'] <= 1
    assert (project / 'found.pkl').stat().st_size > 0


def test_training_resumes_where_it_stopped(project, checkpoint):
    more = ('--cfg-options', 'train_cfg.max_epochs=2', 'train_cfg.val_interval=9')
    done = tool('train', 'config.py', '--work-dir', 'work', '--resume', *more, cwd=project)
    assert done.returncode == 0, done.stderr
    assert re.search('resumed epoch: 1, iter: 2', done.stdout + done.stderr)
    assert (project / 'work' / 'epoch_2.pth').exists()


def test_a_mistake_ends_in_one_line_and_status_2(project):
    done = tool('test', 'config.py', 'gone.pth', cwd=project)
    assert done.returncode == 2
    assert 'Traceback' not in done.stderr
    assert done.stderr.splitlines()[-1] == 'error: checkpoint gone.pth does not exist'


@pytest.mark.parametrize('name', ['train', 'test'])
def test_help_shows_mmdetections_options_and_an_example(monkeypatch, capsys, name):
    monkeypatch.setenv('LOCAL_RANK', '0')  # the script sets it, and this takes it back
    monkeypatch.setattr(sys, 'argv', [f'{name}.py', '--help'])
    with pytest.raises(SystemExit) as end:
        run_mmdet_script(name, f'python tools/{name}.py THIS')
    assert not end.value.code
    text = capsys.readouterr().out
    for option in ('--work-dir', '--cfg-options', '--launcher'):
        assert option in text
    assert text.endswith(f'python tools/{name}.py THIS\n')


@pytest.mark.parametrize(
    ('name', 'arguments', 'message'),
    [
        ('train', ['gone.py'], r'config gone\.py does not exist'),
        ('train', ['empty.py'], r'empty\.py has no model'),
        ('train', ['config.py', '--cfg-options', 'pad'], r'KEY=VALUE'),
        ('train', ['config.py', '--resume', 'other.pth'], r'other\.pth does not fit the detector'),
        (
            'test',
            ['config.py', 'other.pth'],
            r'other\.pth does not fit the detector.*missing: .*conv',
        ),
        ('test', ['config.py', 'empty.py'], r'empty\.py cannot be read'),
        ('test', ['config.py', 'other.pth', '--out', 'a.json'], r'a\.json.*\.pkl'),
        (
            'train',
            ['config.py', '--cfg-options', 'model.backbone.padding_cfg.mode=mirror'],
            r"'mirror'.*reflect",
        ),
        ('train', ['config.py', '--cfg-options', 'model.neck.type=Nek'], r'Nek is not in'),
        ('train', ['config.py', '--cfg-options', 'model.neck.padding_cgf=reflect'], 'padding_cgf'),
        (
            'train',
            ['config.py', '--cfg-options', 'train_dataloader.dataset.ann_file=gone.json'],
            r'gone\.json',
        ),
    ],
)
def test_a_users_mistake_is_a_message_of_one_line(project, monkeypatch, name, arguments, message):
    monkeypatch.chdir(project)
    (project / 'empty.py').write_text('')
    torch.save({'state_dict': {'fc.weight': torch.ones(1)}}, project / 'other.pth')
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.setattr(sys, 'argv', [f'{name}.py', *arguments])
    with pytest.raises(UserError, match=message) as info:
        run_mmdet_script(name, '')
    assert '\n' not in str(info.value)
