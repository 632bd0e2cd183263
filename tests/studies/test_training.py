"""Interrupted trainings resume to the same weights, and finished ones are reused."""

from __future__ import annotations

import json

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mindpad_mm.core.errors import UserError
from studies import training as module
from studies.training import Training, train_all


class Kill(Hook):
    """Raise KeyboardInterrupt in the second epoch, like Ctrl-C."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.epoch == 1 and batch_idx == 1:
            raise KeyboardInterrupt


@pytest.fixture(scope='module')
def whole(tiny_config, tmp_path_factory):
    training = Training(tiny_config, 3, tmp_path_factory.mktemp('whole'))
    training.run()
    return training


def weights(training):
    return torch.load(training.checkpoint, weights_only=False)['state_dict']


def test_an_interrupted_training_ends_in_the_same_weights(whole, tmp_path, monkeypatch):
    broken = Training(whole.config, 3, tmp_path / 'run')
    build = Runner.from_cfg
    with monkeypatch.context() as patch:
        patch.setattr(Runner, 'from_cfg', lambda cfg: with_hook(build(cfg)))
        with pytest.raises(KeyboardInterrupt):
            broken.run()
    assert broken.epochs_done == 1
    broken.run()
    assert broken.epochs_done == broken.epochs == 2
    assert json.loads(whole.cost.read_text())['cpu_seconds'] > 0
    assert not broken.cost.exists()  # the time before the interruption is not known
    once = weights(whole)
    assert all(torch.equal(value, once[name]) for name, value in weights(broken).items())


def test_another_seed_ends_in_other_weights(whole, tmp_path):
    other = Training(whole.config, 4, tmp_path)
    other.run()
    name = 'backbone.conv1.weight'
    assert not torch.equal(weights(other)[name], weights(whole)[name])


def test_finished_trainings_are_not_run_again(whole, monkeypatch):
    monkeypatch.setattr(module, 'ProcessPoolExecutor', None)  # nothing may be started
    train_all([whole], jobs=2)


def test_a_work_dir_of_another_config_is_refused(whole, tmp_path):
    other = tmp_path / whole.config.name
    other.write_text(f"_base_ = r'{whole.config}'\noptim_wrapper = dict(optimizer=dict(lr=1e-5))\n")
    with pytest.raises(UserError, match='optim_wrapper differs'):
        train_all([Training(other, 3, whole.work_dir)])


def test_a_work_dir_of_another_seed_is_refused(whole):
    with pytest.raises(UserError, match='randomness differs'):
        train_all([Training(whole.config, 7, whole.work_dir)])


def with_hook(runner):
    runner.register_hook(Kill())
    return runner
