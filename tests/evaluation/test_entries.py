from __future__ import annotations

import pytest
from mmengine.config import Config

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import load_config
from mindpad_mm.evaluation.entries import (
    Group,
    Run,
    padding_options,
    runs_of,
    swapped_runs,
    with_unique_names,
)
from mindpad_mm.padding.modes import swappable_modes


@pytest.mark.parametrize(
    ('text', 'checkpoint', 'options', 'name'),
    [
        ('a/b.py:c.pth', 'c.pth', {}, 'b'),
        ('a/b.py:https://x.org/c.pth', 'https://x.org/c.pth', {}, 'b'),
        ('a/b.py:c.pth:model.padding_cfg=reflect', 'c.pth', {'model.padding_cfg': 'reflect'}, None),
        (
            'a/b.py:http://x.org/c.pth:k=[1,2],model.padding_cfg.mode=(a,b),x.y=3',
            'http://x.org/c.pth',
            {'k': [1, 2], 'model.padding_cfg.mode': ('a', 'b'), 'x.y': 3},
            None,
        ),
    ],
)
def test_run_is_config_checkpoint_and_options(text, checkpoint, options, name):
    run = Run.parse(text)
    assert (run.config, run.checkpoint, run.cfg_options) == ('a/b.py', checkpoint, options)
    assert name is None or run.name == name
    assert Run.parse(text, 'mine').name == 'mine'


def test_a_port_in_an_address_is_no_option():
    run = Run.parse('a.py:https://x.org:8443/c.pth:x.y=http://z:1')
    assert (run.config, run.checkpoint) == ('a.py', 'https://x.org:8443/c.pth')
    assert run.cfg_options == {'x.y': 'http://z:1'}


def test_paths_may_hold_colons(tmp_path):
    folder = tmp_path / 'run 12:30'
    folder.mkdir()
    config, checkpoint = folder / 'a.py', folder / 'c.pth'
    for file in (config, checkpoint):
        file.touch()
    for text in (f'{config}:{checkpoint}', f'a.py:{checkpoint}', f'{config}:c.pth'):
        run = Run.parse(f'{text}:x.y=1')
        assert f'{run.config}:{run.checkpoint}' == text
        assert run.cfg_options == {'x.y': 1}
    (folder / 'last_checkpoint').write_text('c.pth')
    run = Run.parse(f'{folder}:x.y=1')
    assert (run.config, run.checkpoint) == (str(config), str(checkpoint))
    assert (run.name, run.cfg_options) == ('run 12:30', {'x.y': 1})


@pytest.fixture
def work_dir(tmp_path):
    folder = tmp_path / 'reflect_1'
    folder.mkdir()
    for name in ('ssd.py', 'epoch_9.pth', 'epoch_10.pth', 'best_mAP_epoch_9.pth'):
        (folder / name).touch()
    (folder / 'last_checkpoint').write_text('/where/it/was/trained/reflect_1/epoch_10.pth')
    return folder


def test_work_dir_gives_its_config_and_last_checkpoint_also_where_it_was_moved(work_dir):
    run = Run.parse(f'{work_dir}:model.neck=None')
    assert run.config == str(work_dir / 'ssd.py')
    assert run.checkpoint == str(work_dir / 'epoch_10.pth')
    assert run.name == 'reflect_1'
    assert run.cfg_options == {'model.neck': None}


def test_work_dir_without_last_checkpoint_gives_the_best(work_dir):
    (work_dir / 'last_checkpoint').unlink()
    assert Run.parse(str(work_dir)).checkpoint == str(work_dir / 'best_mAP_epoch_9.pth')


def test_ambiguous_work_dir_is_refused(work_dir):
    (work_dir / 'best_mAP_epoch_9.pth').unlink()
    (work_dir / 'last_checkpoint').unlink()
    with pytest.raises(UserError, match='did its training finish'):
        Run.parse(str(work_dir))
    (work_dir / 'other.py').touch()
    with pytest.raises(UserError, match=r'one config.*other\.py, ssd\.py'):
        Run.parse(str(work_dir))


@pytest.mark.parametrize('text', ['a.py', 'a.py:', 'nowhere', ':c.pth:x=1:y', 'a.py:c.pth:pad'])
def test_text_that_is_not_a_run_is_refused(text):
    with pytest.raises(UserError, match=r'run .*(neither|KEY=VALUE)'):
        Run.parse(text)


def test_runs_of_one_name_are_told_apart_by_their_checkpoints():
    entries = [Run('a.py', 'x/epoch_1.pth'), Run('a.py', 'x/epoch_2.pth'), Run('b.py', 'c.pth')]
    assert [e.name for e in with_unique_names(entries)] == ['a epoch_1', 'a epoch_2', 'b']
    with pytest.raises(UserError, match='own name'):
        with_unique_names([entries[0], entries[0]])
    with pytest.raises(UserError, match="'b'"):
        with_unique_names([Group('b', entries[2:]), Group('b', entries[:2])])


def test_group_needs_runs():
    run = Run('a.py', 'b.pth')
    assert runs_of(run) == [run]
    assert runs_of(Group('g', [run, run])) == [run, run]
    with pytest.raises(UserError, match='no runs'):
        Group('g', [])


def test_swap_takes_the_place_of_every_padding_cfg_there_is():
    def options(**model):
        return padding_options(Config(dict(model=model)), 'circular')

    assert options(backbone=dict(type='A')) == {'model.padding_cfg': 'circular'}
    assert options(
        backbone=dict(padding_cfg=dict(mode='reflect', exclude=['x'])),
        neck=[dict(type='N'), dict(padding_cfg='zeros')],
        bbox_head=dict(padding_cfg=None),
    ) == {
        'model.backbone.padding_cfg.mode': 'circular',
        'model.neck.1.padding_cfg': 'circular',
    }


def test_one_run_under_every_mode(zoo_runs):
    run = zoo_runs['reflect']
    runs = swapped_runs(run, 'all', [0, 40])
    assert runs[0] is run
    assert len(runs) == 1 + 2 * len(swappable_modes())
    assert {r.checkpoint for r in runs} == {run.checkpoint}
    assert len({r.name for r in runs}) == len(runs)
    by_name = {r.name: r for r in runs}
    circular = by_name['reflect → circular, BN of 40']
    assert circular.recalibrate == 40
    assert load_config(circular.config, circular.cfg_options).model.padding_cfg.mode == 'circular'
    with pytest.raises(UserError, match='did you mean'):
        swapped_runs(run, ['circlar'])


def test_pair_of_modes_is_swapped_too(zoo_runs):
    (_, swapped) = swapped_runs(zoo_runs['zeros'], [('reflect', 'circular')])
    cfg = load_config(swapped.config, swapped.cfg_options)
    assert tuple(cfg.model.padding_cfg.mode) == ('reflect', 'circular')
    assert swapped.name == 'zeros → reflect/circular'
