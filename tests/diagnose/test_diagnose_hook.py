"""The hook logs the border-bias index to all backends and does not affect training."""

from __future__ import annotations

import mindpad_mm  # noqa: F401  # isort: skip  # registers the hook

import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from mindpad_mm.core.errors import UserError
from mindpad_mm.diagnose import DiagnoseHook
from mindpad_mm.diagnose.inputs import random_images

SIZE = (24, 32)


class Net(BaseModel):
    """A network with batch norm, dropout and a frozen stage, which the hook must not affect."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        )
        self.frozen = nn.Sequential(nn.Conv2d(4, 4, 3, 1, 1), nn.BatchNorm2d(4))
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(4, 1, 1))

    def train(self, mode=True):
        super().train(mode)
        self.frozen.eval()
        return self

    def forward(self, inputs, mode='tensor'):
        y = self.head(self.frozen(self.stem(inputs)))
        return {'loss': y.square().mean()} if mode == 'loss' else y


class Watch(Hook):
    """Stores the batch and the modes of the modules at every iteration."""

    priority = 'VERY_LOW'

    def __init__(self):
        self.seen = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        modes = [module.training for module in runner.model.modules()]
        self.seen.append((outputs['loss'].item(), modes, torch.rand(1).item()))


def collate(batch):
    return {'inputs': torch.stack(batch)}


def train(folder, hooks, backends=(), epochs=2):
    torch.manual_seed(0)
    model = Net()
    images = list(torch.randn(4, 3, *SIZE, generator=torch.Generator().manual_seed(1)))
    watch = Watch()
    runner = Runner(
        model,
        str(folder),
        train_dataloader=dict(
            dataset=images,
            batch_size=2,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=collate,
        ),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
        custom_hooks=[*hooks, watch],
        visualizer=dict(type='Visualizer', vis_backends=list(backends), name=folder.name),
        randomness=dict(seed=0),
        experiment_name=folder.name,
        default_scope='mmengine',
    )
    runner.train()
    return runner, watch.seen


def test_training_is_the_same_with_and_without(tmp_path):
    runs = [
        train(tmp_path / name, hooks)
        for name, hooks in (
            ('without', []),
            ('with', [dict(type='DiagnoseHook', interval=1, input_size=SIZE)]),
        )
    ]
    (without, seen), (with_hook, also_seen) = runs
    assert seen == also_seen
    assert len(seen) == 4
    ours, theirs = with_hook.model.state_dict(), without.model.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert 'train/border_bias' in with_hook.message_hub.log_scalars
    # The frozen stage is still in evaluation mode, and the other modules are in training mode.
    assert not with_hook.model.frozen.training
    assert with_hook.model.head.training


def test_scalars_arrive_at_local_and_tensorboard_backends(tmp_path):
    events = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
    hook = dict(type='DiagnoseHook', interval=2, input_size=SIZE, layers=['stem.*', 'frozen.*'])
    train(tmp_path / 'run', [hook], backends)
    names = {'border_bias/stem.0', 'border_bias/frozen.0'}

    (local,) = (tmp_path / 'run').glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in local.read_text().splitlines()]
    logged = {line['step']: line for line in lines if 'border_bias/stem.0' in line}
    assert sorted(logged) == [2, 4]
    assert names <= set(logged[2])
    assert logged[4]['border_bias/frozen.0'] > 0.1

    (folder,) = {path.parent for path in (tmp_path / 'run').rglob('events.out.tfevents*')}
    board = events.EventAccumulator(str(folder)).Reload()
    assert {'border_bias', *names} <= set(board.Tags()['scalars'])
    for name in sorted(names):
        assert [event.step for event in board.Scalars(name)] == [2, 4]
        values = [event.value for event in board.Scalars(name)]
        assert values == pytest.approx([logged[step][name] for step in (2, 4)])
    # The text log shows the mean next to the loss.
    (text,) = (tmp_path / 'run').glob('*/*.log')
    assert 'border_bias: ' in text.read_text()


def test_epochs_can_be_counted_instead(tmp_path):
    runner, _ = train(
        tmp_path, [dict(type='DiagnoseHook', interval=2, by_epoch=True, input_size=SIZE)], epochs=3
    )
    buffer = runner.message_hub.get_scalar('train/border_bias')
    assert buffer.data[1].sum() == 1


def test_the_index_is_that_of_the_network_in_evaluation_mode():
    model = Net().train()
    hook = DiagnoseHook(input_size=SIZE, layers='stem.*')
    hook.inputs = random_images(SIZE, 4, 0)
    measured = hook.measure(model)
    assert list(measured) == ['stem.0']
    assert measured == hook.measure(model.eval())
    assert np.isfinite(measured['stem.0'])


def test_the_input_size_is_the_test_pipelines_unless_given():
    cfg = Config(
        dict(test_dataloader=dict(dataset=dict(pipeline=[dict(type='Resize', scale=(32, 24))])))
    )

    class Stub:
        pass

    runner = Stub()
    runner.cfg = cfg
    hook = HOOKS.build(dict(type='DiagnoseHook', images=2))
    hook.before_train(runner)
    assert [image.shape for image in hook.inputs] == [(24, 32, 3)] * 2
    runner.cfg = Config(dict(test_dataloader=None))
    with pytest.raises(UserError, match='has no test pipeline'):
        DiagnoseHook().before_train(runner)
    with pytest.raises(UserError, match='interval is 0'):
        DiagnoseHook(interval=0)
