"""The deviation equals its definition; it is zero if padding is exact or out of reach."""

from __future__ import annotations

import mindpad_mm  # noqa: F401  # isort: skip  # first, so that MMDetection imports on mmcv-lite

import io
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mindpad_mm.core.errors import UserError
from mindpad_mm.diagnose import Subject, check_padding_error
from mindpad_mm.zoo import model_files

PHOTOS = Path(__file__).parents[3] / 'shared' / 'data' / 'coco96' / 'images'
# Another size of map is another order of summation.
ROUNDING = 1e-5


def network(*strides, pool=None):
    torch.manual_seed(0)
    layers, channels = [], 3
    for stride in strides:
        layers += [nn.Conv2d(channels, 6, 3, stride, 1), nn.BatchNorm2d(6), nn.ReLU(inplace=True)]
        channels = 6
    if pool is not None:
        layers.insert(3, pool)
    return nn.Sequential(*layers).eval()


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ('model', 'size', 'margin', 'reach'),
    [
        (network(1, 1, 1), (24, 24), 16, 3),
        (network(1, 2, 2), (33, 36), 16, 3),
        (network(2, 1, 2, 1), (32, 31), 32, 4),
        (network(1, 1, pool=nn.MaxPool2d(2, ceil_mode=True)), (25, 26), 16, 3),
        (network(3, 1), (30, 32), 12, 2),  # a stride that is no power of two
    ],
    ids=['stride 1', 'odd and even', 'total stride 4', 'ceil_mode', 'stride 3'],
)
def test_nothing_deviates_out_of_reach_of_the_padding(model, size, margin, reach):
    result = check_padding_error(
        Subject(model, size), [noise(120, 130)], modes=['zeros', 'reflect'], margin=margin
    )
    assert result.margin >= margin
    for layer in result.layers:
        assert result.margin % layer.stride[0] == 0
        for mode in result.modes:
            rings = layer.rings(mode)
            assert rings[0] > 0.01
            assert rings[reach:].max(initial=0) < ROUNDING


@pytest.mark.parametrize('mode', ['reflect', 'symmetric', 'replicate', 'circular'])
def test_nothing_deviates_at_the_first_layer_of_a_photo_that_goes_on_as_the_mode_says(mode):
    name = {'replicate': 'edge', 'circular': 'wrap'}.get(mode, mode)
    photo = np.pad(noise(20, 24), ((16, 16), (16, 16), (0, 0)), name)
    others = {'zeros', 'partial', 'reflect', 'replicate', 'circular'} - {mode}
    if mode == 'symmetric':
        others.remove('replicate')  # the same at a width of one cell
    others = sorted(others)
    result = check_padding_error(
        Subject(network(1), (20, 24)), [photo], modes=[mode, *others], margin=16
    )
    assert result.scales == [1]
    (layer,) = result.layers
    assert layer.maps[mode].max() < ROUNDING
    assert all(layer.rings(other)[0] > 0.1 for other in others)
    assert result.ranking()[0] == mode


def test_nothing_deviates_anywhere_of_a_periodic_photo_under_circular_padding():
    photo = np.tile(noise(32, 48), (3, 3, 1))
    model = network(1, 2, 1, 2, pool=nn.MaxPool2d(2))
    result = check_padding_error(
        Subject(model, (32, 48)), [photo], modes=['circular', 'symmetric'], margin=32
    )
    assert [layer.stride for layer in result.layers] == [(1, 1), (2, 2), (4, 4), (4, 4), (8, 8)]
    for layer in result.layers:
        assert layer.maps['circular'].max() < ROUNDING
        assert layer.maps['symmetric'].max() > 0.1


def test_the_deviation_is_its_definition():
    model, size, margin = network(1, 1), (16, 20), 8
    photos = [noise(32, 36, seed) for seed in range(3)]
    result = check_padding_error(Subject(model, size), photos, modes=['zeros'], margin=margin)
    mean, std = (
        torch.tensor(v).view(3, 1, 1) for v in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    )
    batch = torch.stack([torch.from_numpy(p[..., ::-1].copy()).permute(2, 0, 1) for p in photos])
    batch = (batch.float() - mean) / std
    inside = batch[..., margin:-margin, margin:-margin]
    with torch.no_grad():
        truth = F.conv2d(batch, model[0].weight, model[0].bias)[
            ..., margin - 1 : 1 - margin, margin - 1 : 1 - margin
        ]
        padded = F.conv2d(inside, model[0].weight, model[0].bias, padding=1)
    variance = truth.double().permute(1, 0, 2, 3).flatten(1).var(1, unbiased=False).sum()
    squares = (padded - truth).double().square().sum(1) / variance
    layer = result.layers[0]
    np.testing.assert_allclose(layer.maps['zeros'], squares.mean(0).sqrt(), atol=1e-5)
    ring = torch.ones(size, dtype=torch.bool)
    ring[1:-1, 1:-1] = False
    np.testing.assert_allclose(layer.photos['zeros'], squares[:, ring].mean(1).sqrt(), rtol=1e-5)
    assert layer.sides('zeros')['left'][0] == pytest.approx(
        float(squares.mean(0)[4:12, 0].mean().sqrt()), rel=1e-5
    )


def test_layers_that_cannot_be_compared_are_named():
    model = nn.Sequential(*network(2, 2, 2, 2), nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 2, 1)).eval()
    result = check_padding_error(Subject(model, (32, 32)), modes=['zeros'], margin=16)
    assert [layer.name for layer in result.layers] == ['0', '3', '6']
    assert result.left_out == {
        '9': 'its map of 2 x 2 cells has no interior',
        '13': 'its map of 1 x 1 cells has no interior',
    }


@pytest.mark.parametrize(
    ('model', 'photos', 'modes', 'message'),
    [
        (network(1), [noise(20, 20)], ['zeros'], '20 x 20 pixels .* too small to cut 64 x 64'),
        (network(1), [], ['zeroes'], "did you mean 'zeros'"),
        (nn.Conv2d(3, 2, 3), [], ['zeros'], 'none of its layers pads'),
        (network(2, 2, 2, 2, 2), [], ['zeros'], None),
        (
            nn.Sequential(network(1), nn.Flatten(), nn.Linear(6144, 2)),
            [],
            ['zeros'],
            'cannot run on',
        ),
    ],
    ids=['small photo', 'mode', 'nothing pads', 'fine', 'one size only'],
)
def test_errors_of_the_user_are_one_line(model, photos, modes, message):
    subject = Subject(model, (32, 32))
    if message is None:
        check_padding_error(subject, photos, modes, margin=16)
        return
    with pytest.raises(UserError, match=message) as caught:
        check_padding_error(subject, photos, modes, margin=16)
    assert '\n' not in str(caught.value)


@pytest.fixture(scope='module')
def zoo():
    config, checkpoint = model_files('zeros')
    return Subject.load(str(config), str(checkpoint))


@pytest.mark.skipif(not PHOTOS.is_dir(), reason='needs ../shared/data (real photos)')
def test_on_real_photos_zeros_deviate_more_than_any_mirror(zoo):
    photos = [cv2.imread(str(path)) for path in sorted(PHOTOS.glob('*.jpg'))[:4]]
    modes = ['zeros', 'reflect', 'symmetric', 'replicate']
    result = check_padding_error(zoo, photos, modes, layers=['backbone.*', 'neck.*'])
    for mode in modes[1:]:
        lead, error = result.lead(mode, 'zeros')
        assert lead > 2 * error
    assert result.ranking()[-1] == 'zeros'
    deep = next(layer for layer in result.layers if layer.name == 'backbone.layer3.1.conv2')
    rings = deep.rings('zeros')
    # The deviation reaches far into the image, but not everywhere.
    assert rings[0] > 0.5 > 0.1 > rings[4] > 1e-4
    assert 32 <= deep.reach('zeros') <= 80


def test_numbers_table_figure_and_advice_agree_on_drawn_streets(zoo):
    result = check_padding_error(zoo, layers=['backbone.*'])
    assert set(result.modes) >= {
        'zeros',
        'partial',
        'reflect',
        'symmetric',
        'replicate',
        'circular',
    }
    assert result.own == 'zeros'
    data = json.loads(json.dumps(result.to_json()))
    ranking = [row['mode'] for row in data['ranking']]
    assert ranking == [row[0].split()[0] for row in result.table().rows] == result.ranking()
    assert data['ranking'][0]['deviation'] == min(row['deviation'] for row in data['ranking'])
    assert f'{ranking[0]} padding is nearest' in result.advice()
    picture = io.BytesIO()
    result.plot().savefig(picture, dpi=40)
    assert picture.getvalue().startswith(b'\x89PNG')


def test_the_plot_does_without_the_own_mode_where_that_is_not_compared():
    result = check_padding_error(
        Subject(network(1, 1), (32, 32)), [noise(96, 96)], modes=['reflect', 'circular'], margin=32
    )
    assert result.own == 'zeros'
    assert result.own not in result.modes
    result.plot().savefig(io.BytesIO(), dpi=40)


def test_the_own_mode_is_compared_with_the_nearest_and_no_swap_is_advised():
    photo = np.tile(noise(32, 32), (3, 3, 1))
    circular = Subject(network(1, 1), (32, 32)).padded_by('circular')
    text = check_padding_error(circular, [photo], margin=32).advice()
    assert 'circular padding is nearest' in text
    assert 'The network has circular.' in text
    zeros = check_padding_error(Subject(network(1, 1), (32, 32)), [photo], margin=32).advice()
    assert re.search(r'The network has zeros \(.*circular deviates \d+% less', zeros)
    assert 'padding_cfg' not in zeros
