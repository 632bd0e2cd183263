"""The shipped checkpoints match their names and the model card."""

from pathlib import Path

import pytest
import torch
from torch import nn

from mindpad_mm import zoo
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import load_config, load_detector
from mindpad_mm.padding.modes import swappable_modes
from mindpad_mm.zoo.publish import publish

SHIPPED = [(mode, family) for family in zoo.FAMILIES for mode in zoo.modes(family)]


def test_each_checkpoint_is_under_three_mebibytes_and_named_after_its_mode():
    assert zoo.modes() == ['zeros', 'reflect']
    assert set(zoo.modes('ssd128')) == {*swappable_modes()}
    for mode, family in SHIPPED:
        config, checkpoint = zoo.model_files(mode, family)
        assert config.stem == checkpoint.stem == f'{family}_{mode}_traffic-light'
        assert checkpoint.stat().st_size < 3 * 2**20


@pytest.mark.parametrize(('mode', 'family'), SHIPPED)
def test_a_checkpoint_loads_strictly_and_every_padded_layer_runs_in_its_mode(mode, family):
    config, checkpoint = zoo.model_files(mode, family)
    model = load_detector(str(config), str(checkpoint))
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d) and any(m.padding)]
    assert {conv.padding_mode for conv in convs} == {mode}
    assert model.dataset_meta['classes'] == ('traffic light',)
    assert sum(p.numel() for p in model.parameters()) < 1.5e6


@pytest.mark.parametrize('family', zoo.FAMILIES)
def test_the_configs_differ_in_the_padding_alone(family):
    configs = []
    for mode in zoo.modes(family):
        config = load_config(str(zoo.model_files(mode, family)[0])).to_dict()
        assert config['model'].pop('padding_cfg') == {'mode': mode}
        configs.append(config)
    assert all(config == configs[0] for config in configs)


def test_an_unknown_mode_or_family_is_an_error_that_lists_the_known_ones():
    with pytest.raises(UserError, match='zeros, reflect'):
        zoo.model_files('nope')
    with pytest.raises(UserError, match='ssdlite256, ssd128'):
        zoo.model_files('zeros', 'nope')


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


def test_kernels_in_half_precision_are_the_models_own_again_when_loaded(tmp_path):
    conv, norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
    model = nn.Sequential(conv, norm)
    torch.save({'meta': {}, 'state_dict': model.state_dict()}, tmp_path / 'run.pth')
    publish(tmp_path / 'run.pth', tmp_path / 'half.pth', half=True)
    stored = torch.load(tmp_path / 'half.pth', weights_only=True)['state_dict']
    assert {name for name, value in stored.items() if value.dtype == torch.float16} == {'0.weight'}
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    other.load_state_dict(stored)
    assert other[0].weight.dtype == torch.float32
    torch.testing.assert_close(other[0].weight, conv.weight, rtol=1e-3, atol=1e-4)
