"""The shipped checkpoints are what their names and the model card say."""

from pathlib import Path

import pytest
import torch
from torch import nn

from mindpad_mm import zoo
from mindpad_mm.errors import UserError
from mindpad_mm.loading import load_config, load_detector
from mindpad_mm.zoo.publish import publish


def test_the_zoo_holds_zeros_and_reflect_each_under_three_mebibytes():
    assert zoo.modes()[:2] == ['zeros', 'reflect']
    for mode in zoo.modes():
        config, checkpoint = zoo.model_files(mode)
        assert mode in config.name
        assert mode in checkpoint.name
        assert checkpoint.stat().st_size < 3 * 2**20


@pytest.mark.parametrize('mode', zoo.modes())
def test_a_checkpoint_loads_strictly_and_every_padded_layer_runs_in_its_mode(mode):
    config, checkpoint = zoo.model_files(mode)
    model = load_detector(str(config), str(checkpoint))
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d) and any(m.padding)]
    assert {conv.padding_mode for conv in convs} == {mode}
    assert model.dataset_meta['classes'] == ('traffic light',)
    assert sum(p.numel() for p in model.parameters()) < 1.5e6


def test_the_configs_differ_in_the_padding_alone():
    (config, _), (other, _) = (zoo.model_files(mode) for mode in ('zeros', 'reflect'))
    config, other = load_config(str(config)).to_dict(), load_config(str(other)).to_dict()
    assert config['model'].pop('padding_cfg') == {'mode': 'zeros'}
    assert other['model'].pop('padding_cfg') == {'mode': 'reflect'}
    assert config == other


def test_an_unknown_mode_is_told_what_there_is():
    with pytest.raises(UserError, match='zeros, reflect'):
        zoo.model_files('nope')


def test_publishing_keeps_weights_and_drops_the_optimizer_and_paths(tmp_path):
    weights = {'a': torch.rand(3)}
    meta = {'epoch': 2, 'cfg': "work_dir = '/somewhere'", 'dataset_meta': {'classes': ('x',)}}
    torch.save({'meta': meta, 'state_dict': weights, 'optimizer': {}}, tmp_path / 'run.pth')
    publish(tmp_path / 'run.pth', tmp_path / 'out.pth')
    published = torch.load(tmp_path / 'out.pth', weights_only=True)
    assert published.keys() == {'meta', 'state_dict'}
    assert published['meta'] == {'epoch': 2, 'dataset_meta': {'classes': ('x',)}}
    assert torch.equal(published['state_dict']['a'], weights['a'])
    assert b'/somewhere' not in Path(tmp_path / 'out.pth').read_bytes()
