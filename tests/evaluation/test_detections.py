from __future__ import annotations

import json
import os
import shutil

import pytest

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import load_config
from mindpad_mm.evaluation.detections import detections_digest
from mindpad_mm.evaluation.digests import file_digest
from mindpad_mm.evaluation.ground_truth import TestSet


@pytest.fixture
def setting(zoo_runs, overrides, lights, tmp_path):
    """A config on a copy of the drawn set, and a checkpoint."""
    folder = tmp_path / 'set'
    shutil.copytree(lights, folder)
    checkpoint = tmp_path / 'weights.pth'
    shutil.copy(zoo_runs['zeros'].checkpoint, checkpoint)
    options = {
        **overrides,
        'test_dataloader.dataset.data_root': f'{folder}/',
        'test_evaluator.ann_file': f'{folder}/annotations/val.json',
    }
    return load_config(zoo_runs['zeros'].config, options), checkpoint, folder


def digest(cfg, checkpoint):
    return detections_digest(cfg, str(checkpoint), TestSet.of(cfg), 'cpu')


def _weights(cfg, checkpoint, folder):
    checkpoint.write_bytes(checkpoint.read_bytes() + b'\0')


def _model(cfg, checkpoint, folder):
    cfg.model.test_cfg.score_thr = 0.5


def _pipeline(cfg, checkpoint, folder):
    cfg.test_dataloader.dataset.pipeline[1].scale = (320, 320)


def _image(cfg, checkpoint, folder):
    os.utime(next((folder / 'val').iterdir()), (1, 1))


def _annotations(cfg, checkpoint, folder):
    file = folder / 'annotations' / 'val.json'
    content = json.loads(file.read_text())
    content['annotations'][0]['bbox'][0] += 1
    file.write_text(json.dumps(content))


@pytest.mark.parametrize('change', [_weights, _model, _pipeline, _image, _annotations])
def test_the_digest_changes_with_everything_that_detections_depend_on(setting, change):
    cfg, checkpoint, folder = setting
    before = digest(cfg, checkpoint)
    assert digest(cfg, checkpoint) == before
    change(cfg, checkpoint, folder)
    assert digest(cfg, checkpoint) != before


def test_the_digest_does_not_change_with_anything_else(setting, tmp_path):
    cfg, checkpoint, _ = setting
    before = digest(cfg, checkpoint)
    cfg.work_dir = 'elsewhere'
    cfg.optim_wrapper.optimizer.lr = 1
    moved = tmp_path / 'moved.pth'
    shutil.move(checkpoint, moved)
    assert digest(cfg, moved) == before


def test_the_digest_of_a_checkpoint_at_a_url_is_that_of_the_url(tmp_path):
    assert file_digest('https://x.org/a.pth') != file_digest('https://x.org/b.pth')
    with pytest.raises(UserError, match=r'gone\.pth does not exist'):
        file_digest(str(tmp_path / 'gone.pth'))


def test_a_class_without_a_category_is_refused(setting):
    # MMDetection would assign the detections of the first class to the only category.
    cfg, _, _ = setting
    cfg.test_dataloader.dataset.metainfo = dict(classes=('car', 'traffic light'))
    with pytest.raises(UserError, match=r"no category 'car' \(1 of the detector's 2 classes"):
        TestSet.of(cfg)


def _without(part, field):
    def change(content):
        for entry in content[part]:
            del entry[field]

    return change


BROKEN = {
    'no COCO': (lambda content: content.pop('annotations'), 'no list of annotations'),
    'no image': (lambda content: content['images'].clear(), 'list no images'),
    'no crowds': (_without('annotations', 'iscrowd'), r"'iscrowd' in annotations\[0\]"),
    'no sizes': (_without('images', 'width'), r"'width' in images\[0\]"),
    'image gone': (lambda content: content['images'].pop(), 'not in their list'),
}


@pytest.mark.parametrize('case', BROKEN)
def test_broken_annotations_are_refused(setting, case):
    cfg, _, folder = setting
    change, message = BROKEN[case]
    file = folder / 'annotations' / 'val.json'
    content = json.loads(file.read_text())
    content['annotations'][0]['image_id'] = content['images'][-1]['id']
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf'val\.json .*{message}'):
        TestSet.of(cfg)


@pytest.mark.parametrize('text', ['{"images": [', '[]', ''])
def test_files_that_are_not_annotations_are_refused(setting, text):
    cfg, _, folder = setting
    (folder / 'annotations' / 'val.json').write_text(text)
    with pytest.raises(UserError, match=r'val\.json(: not JSON| are not)'):
        TestSet.of(cfg)


def test_set_without_any_of_the_classes_is_refused(setting):
    cfg, _, folder = setting
    file = folder / 'annotations' / 'val.json'
    content = json.loads(file.read_text())
    content['categories'][0]['name'] = 'boat'
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match='none of the classes traffic light'):
        TestSet.of(cfg)
