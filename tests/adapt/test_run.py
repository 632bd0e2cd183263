"""The whole way: files that MMDetection reads, a measurement on held-out photos, mistakes in one line."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.apis import init_detector

from mindpad_mm import zoo
from mindpad_mm.adapt import AdaptResult, AdaptSettings, adapt
from mindpad_mm.border.verdict import LearnedChange
from mindpad_mm.core.detector import DetectorFiles
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import load_detector
from tests.border.toys import noise_photo

FAST = dict(steps=2, batch=1, minutes=0.01, sizes=(20,))
PHOTOS = [noise_photo(260, 270, seed) for seed in range(9)]
DETECTOR = tuple(map(str, zoo.model_files('zeros', 'ssd128')))


@pytest.fixture(scope='module')
def adapted(files, tmp_path_factory):
    out = tmp_path_factory.mktemp('adapt') / 'out'
    return adapt(DETECTOR, PHOTOS, out, object=files / 'light.png', **FAST)


def test_mmdetection_itself_reads_the_config_and_the_weights(adapted):
    model = init_detector(str(adapted.config), str(adapted.checkpoint), device='cpu')
    values = {n: v for n, v in model.state_dict().items() if n.endswith('learned_padding')}
    assert sum(value.numel() for value in values.values()) == adapted.numbers
    assert any(value.abs().max() > 0 for value in values.values())
    plain = load_detector(*DETECTOR).state_dict()
    assert all(torch.equal(model.state_dict()[name], value) for name, value in plain.items())


def test_the_measurement_is_of_held_out_photos_and_both_detectors(adapted):
    info = adapted.border.info
    assert [variant.name for variant in info.variants[:2]] == ['as trained', 'learned']
    assert len(info.photos) == 2  # of the 3 that are held out, in so little time
    content = json.loads((adapted.config.parent / 'adapt.json').read_text('utf-8'))
    assert content['verdict'] == adapted.verdict
    assert content['gain'] == adapted.border.statistics['learned']['differences']['near']['cut']
    assert (adapted.config.parent / 'border' / 'border.json').is_file()


def test_finished_work_is_returned_as_it_is_and_other_work_is_not(adapted, files):
    out, light = adapted.config.parent, files / 'light.png'
    before = adapted.checkpoint.read_bytes()
    again = adapt(DETECTOR, PHOTOS, out, object=light, resume=True, **FAST)
    assert again.verdict == adapted.verdict
    assert again.to_json() == adapted.to_json()
    assert adapted.checkpoint.read_bytes() == before
    with pytest.raises(UserError, match='differs in settings'):
        adapt(DETECTOR, PHOTOS, out, object=light, resume=True, **(FAST | dict(steps=3)))


def test_mistakes_are_one_line(tmp_path, files):
    with pytest.raises(UserError, match='too few'):
        adapt(DETECTOR, PHOTOS[:4], tmp_path / 'few')
    with pytest.raises(UserError, match='random weights'):
        adapt((DETECTOR[0], None), PHOTOS, tmp_path / 'random')
    with pytest.raises(UserError, match='init_detector'):
        adapt(torch.nn.Linear(1, 1), PHOTOS, tmp_path / 'linear')
    reflect = zoo.model_files('reflect', 'ssd128')
    with pytest.raises(UserError, match='nothing to learn'):
        adapt(tuple(map(str, reflect)), PHOTOS, tmp_path / 'reflect')
    head = {'model.padding_cfg': dict(mode='reflect', include=['bbox_head.*'])}
    with pytest.raises(UserError, match='swaps the padding of the whole model'):
        adapt(DetectorFiles(*DETECTOR, head), PHOTOS, tmp_path / 'head')
    with pytest.raises(UserError, match='not empty'):
        adapt(DETECTOR, PHOTOS, files)


@pytest.mark.parametrize(
    'wrong', [dict(steps=0), dict(batch=0), dict(rate=0), dict(surroundings=0), dict(near=0),
              dict(sizes=()), dict(minutes=-1), dict(seed=-1)]
)  # fmt: skip
def test_impossible_settings_are_named(wrong):
    with pytest.raises(UserError, match=f'`{next(iter(wrong))}`'):
        AdaptSettings(**wrong)


def estimate(mean, low=None, high=None):
    interval = None if low is None else [low, high]
    return {'mean': mean, 'interval': interval, 'n': 9, 'photos': 9}


@pytest.mark.parametrize(
    ('gain', 'wins', 'price', 'says'),
    [
        (estimate(0.3, 0.2, 0.4), True, None, 'wins back .30 [.20, .40] within 16 px'),
        (estimate(0.01, -0.01, 0.02), False, None, 'wins nothing that shows'),
        (
            estimate(0.2, 0.1, 0.3),
            True,
            ('farther off', estimate(-0.05, -0.09, -0.03)),
            'leave the',
        ),
        (estimate(0.3), False, None, 'Nothing is decided'),
    ],
)
def test_the_verdict_says_whether_to_use_it(gain, wins, price, says, tmp_path):
    border = SimpleNamespace(info=SimpleNamespace(settings={'near': 16}))
    change = LearnedChange(gain, estimate(0.0, -0.01, 0.01), wins, price)
    result = AdaptResult(
        tmp_path / 'a.py', tmp_path / 'a.pth', {}, 1, np.zeros(1, np.float32), 1.0, border, change
    )
    (sentence,) = result.verdict
    assert says in sentence
