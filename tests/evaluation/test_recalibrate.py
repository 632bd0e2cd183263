from __future__ import annotations

import os
import shutil

import pytest
import torch
from mmengine.model import BaseModel
from torch import nn

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import load_config, load_detector
from mindpad_mm.evaluation.recalibrate import (
    recalibrate,
    recalibrated_checkpoint,
    training_batches,
    training_digest,
)


class Detector(BaseModel):
    """A detector with dropout, and with batch norms that stay in eval mode as with ``norm_eval``."""

    def __init__(self, norm=nn.BatchNorm2d):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), norm(4), nn.Dropout(0.9), nn.Conv2d(4, 5, 3), norm(5)
        )

    def train(self, mode=True):
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, inputs, data_samples=None, mode='tensor'):
        assert mode == 'tensor'
        return self.layers(inputs)


class Plain(nn.Module):
    def forward(self, data, training):
        assert not training
        return data


def detector(norm=nn.BatchNorm2d):
    torch.manual_seed(0)
    model = Detector(norm)
    model.data_preprocessor = Plain()
    return model


def batches(count):
    torch.manual_seed(1)
    return [{'inputs': torch.randn(4, 3, 9, 9) * (k + 1)} for k in range(count)]


def test_statistics_become_the_mean_over_the_batches():
    model, data = detector(), batches(3)
    model.layers[1].running_mean.fill_(7)
    model.layers[4].running_var.fill_(7)
    assert recalibrate(model, data) == 2
    means, variances = [], []
    for batch in data:
        with torch.no_grad():
            x = model.layers[0](batch['inputs'])
        means.append(x.mean((0, 2, 3)))
        variances.append(x.transpose(0, 1).flatten(1).var(1))
    first = model.layers[1]
    torch.testing.assert_close(first.running_mean, torch.stack(means).mean(0))
    torch.testing.assert_close(first.running_var, torch.stack(variances).mean(0))
    assert first.momentum == 0.1
    assert not any(module.training for module in model.modules() if module is not model)


def test_no_parameter_changes_and_dropout_does_not_act():
    model, data = detector(), batches(2)
    before = [p.clone() for p in model.parameters()]
    recalibrate(model, data)
    first = model.layers[4].running_var.clone()
    recalibrate(model, data)
    torch.testing.assert_close(model.layers[4].running_var, first, rtol=0, atol=0)
    for old, new in zip(before, model.parameters()):
        assert torch.equal(old, new)


def test_without_batch_norm_there_is_nothing_to_recalibrate():
    with pytest.raises(UserError, match='no batch norm'):
        recalibrate(detector(lambda channels: nn.GroupNorm(1, channels)), batches(1))


def test_checkpoint_differs_in_its_statistics_alone_and_loads(zoo_runs, overrides, tmp_path):
    run = zoo_runs['zeros']
    cfg = load_config(run.config, {**overrides, 'model.padding_cfg.mode': 'circular'})
    path = tmp_path / 'recalibrated.pth'
    recalibrated_checkpoint(cfg, run.checkpoint, 8, path)
    before = load_detector(cfg, run.checkpoint).state_dict()
    after = load_detector(cfg, str(path)).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(
        name.endswith(('running_mean', 'running_var', 'num_batches_tracked')) for name in changed
    )


def test_training_images_come_undistorted_by_the_test_pipeline(zoo_runs, overrides):
    cfg = load_config(zoo_runs['zeros'].config, overrides)
    found = list(training_batches(cfg, 10, seed=4))
    assert [len(batch['inputs']) for batch in found] == [8]  # the last is not full
    assert all('flip' not in sample.metainfo for sample in found[0]['data_samples'])
    assert all('train' in sample.img_path for sample in found[0]['data_samples'])
    (again,) = training_batches(cfg, 10, seed=4)
    assert torch.equal(torch.stack(again['inputs']), torch.stack(found[0]['inputs']))


def test_another_image_to_recalibrate_on_changes_the_digest(zoo_runs, overrides, lights, tmp_path):
    folder = tmp_path / 'set'
    shutil.copytree(lights, folder)
    options = {**overrides, 'train_dataloader.dataset.data_root': f'{folder}/'}
    cfg = load_config(zoo_runs['zeros'].config, options)
    before = training_digest(cfg, 8)
    assert training_digest(cfg, 8) == before
    assert training_digest(cfg, 6) != before
    (batch,) = training_batches(cfg, 8)
    os.utime(batch['data_samples'][0].img_path, (1, 1))
    assert training_digest(cfg, 8) != before


@pytest.mark.parametrize('images', [1, 10_000])
def test_impossible_numbers_of_images_are_refused(zoo_runs, overrides, images):
    cfg = load_config(zoo_runs['zeros'].config, overrides)
    with pytest.raises(UserError, match=f'{images} images'):
        training_batches(cfg, images)


@pytest.mark.parametrize('wrapper', ['RepeatDataset', 'ConcatDataset', 'both'])
def test_sets_in_wrappers_give_the_images_of_all_their_parts(zoo_runs, overrides, wrapper):
    cfg = load_config(zoo_runs['zeros'].config, overrides)
    plain = cfg.train_dataloader.dataset
    parts = [plain, dict(plain, indices=[0, 3, 5])]
    wrapped = {
        'RepeatDataset': dict(type='RepeatDataset', times=3, dataset=plain),
        'ConcatDataset': dict(type='ConcatDataset', datasets=parts),
        'both': dict(
            type='ConcatDataset',
            datasets=[dict(type='RepeatDataset', times=2, dataset=p) for p in parts],
        ),
    }[wrapper]
    cfg.train_dataloader.dataset = wrapped
    count = 11 if wrapper == 'RepeatDataset' else 14
    batches = list(training_batches(cfg, count))
    paths = [sample.img_path for batch in batches for sample in batch['data_samples']]
    size = cfg.train_dataloader.batch_size
    assert len(paths) == count // size * size
    assert len(training_digest(cfg, count)) == 64
    with pytest.raises(UserError, match=f'{count + 1} images'):
        training_batches(cfg, count + 1)
