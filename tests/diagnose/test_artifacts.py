"""The border-bias index and the count of padding-aware channels agree with their definitions."""

from __future__ import annotations

import mindpad_mm  # noqa: F401  # isort: skip  # first, so that MMDetection imports on mmcv-lite

import io
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from torch import nn

from mindpad_mm.core.errors import UserError
from mindpad_mm.diagnose import Subject, check_artifacts
from mindpad_mm.diagnose.border_bias import border_bias
from mindpad_mm.diagnose.checks.artifacts.padding_aware import ks_distance
from mindpad_mm.zoo import model_files


def reference_bias(maps):
    """The index of one image, from its definition, in numpy."""
    n, channels, height, width = maps.shape
    assert n == 1
    rows, columns = (slice(max(1, n // 4), n - max(1, n // 4)) for n in (height, width))
    inside = maps[0, :, rows, columns].reshape(channels, -1)
    lines = dict(
        top=maps[0, :, 0, columns],
        bottom=maps[0, :, -1, columns],
        left=maps[0, :, rows, 0],
        right=maps[0, :, rows, -1],
    )
    spread = np.sqrt(np.mean(inside.var(1)))
    return {
        side: np.sqrt(np.mean((line.mean(1) - inside.mean(1)) ** 2)) / spread
        for side, line in lines.items()
    }


@given(st.integers(4, 12), st.integers(4, 12), st.integers(1, 4), st.integers(0, 99))
def test_the_index_is_its_definition(height, width, channels, seed):
    maps = np.random.default_rng(seed).normal(3, 2, (1, channels, height, width))
    ours = border_bias(torch.from_numpy(maps))
    for side, expected in reference_bias(maps).items():
        assert ours[side] == pytest.approx(expected, rel=1e-6)


def test_a_line_three_deviations_off_has_index_three_on_its_side_alone():
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(64, 8, 24, 32, generator=generator)
    maps[:, :, :, -1] += 3
    bias = border_bias(maps)
    assert bias['right'] == pytest.approx(3, abs=0.1)
    # The sampling variance of the steps is subtracted.
    assert max(bias[side] for side in ('top', 'bottom', 'left')) < 0.02
    # The index does not depend on the scale of the responses, nor on constant channels.
    loud = torch.cat([1000 * maps, torch.zeros_like(maps)], 1)
    assert border_bias(loud) == pytest.approx(bias)


def test_maps_without_interior_or_without_variation_have_no_index():
    none = dict.fromkeys(('top', 'bottom', 'left', 'right'))
    assert border_bias(torch.randn(2, 3, 2, 9)) == none
    assert border_bias(torch.randn(2, 3, 9, 2)) == none
    assert border_bias(torch.ones(2, 3, 9, 9)) == none
    assert None not in border_bias(torch.randn(2, 3, 3, 3)).values()


@given(st.integers(1, 30), st.integers(1, 30), st.integers(2, 8), st.integers(0, 99))
def test_the_distance_of_samples_is_scipys_also_with_ties(n, m, values, seed):
    rng = np.random.default_rng(seed)
    some, others = rng.integers(0, values, (3, n)), rng.integers(1, values + 1, (3, m))
    ours = ks_distance(torch.from_numpy(some).float(), torch.from_numpy(others).float())
    assert ours.tolist() == pytest.approx([ks_2samp(a, b).statistic for a, b in zip(some, others)])


def counter(mode):
    """A network whose second map has the number of cells inside the map under each window."""
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Conv2d(2, 2, 3, padding=1, bias=False))
    with torch.no_grad():
        model[0].weight.mul_(0.01)
        model[0].bias.fill_(1)
        model[1].weight.zero_()
        model[1].weight[0, 0] = 1  # counts
        model[1].weight[1, 1, 1, 1] = 1  # hands on what it gets
    return (
        Subject(model.eval(), (32, 32))
        if mode == 'zeros'
        else Subject(model, (32, 32)).padded_by(mode)
    )


def test_only_the_padding_aware_channel_is_counted():
    result = check_artifacts(counter('zeros'), modes=['reflect'])
    assert [layer.aware for layer in result.responses['zeros']] == [0, 1]
    assert [layer.aware for layer in result.responses['reflect']] == [0, 0]
    assert result.responses['zeros'][0].overall() < 0.2 < 5 < result.responses['zeros'][1].overall()


def test_a_zero_image_shows_the_padding_and_nothing_else():
    result = check_artifacts(counter('zeros'), modes=['symmetric'])
    zeros, symmetric = (result.responses[mode][1].maps['zero'] for mode in ('zeros', 'symmetric'))
    assert symmetric.std() < 1e-6
    # (6 counted cells + 1) / 2 at an edge, (4 + 1) / 2 at a corner, (9 + 1) / 2 inside.
    assert zeros[0, 0] == pytest.approx(2.5)
    assert zeros[0, 1:-1] == pytest.approx(3.5)
    assert zeros[1:-1, 1:-1] == pytest.approx(5)


@pytest.fixture(scope='module')
def zoo_result():
    config, checkpoint = model_files('zeros')
    subject = Subject.load(str(config), str(checkpoint))
    layers = ['backbone.layer[134].*', 'bbox_head.*_convs.[012].*']
    return check_artifacts(subject, modes=['reflect', 'circular'], layers=layers)


def test_a_trained_detector_has_border_bias_with_zeros_but_not_with_reflect_or_circular(zoo_result):
    zeros, reflect, circular = (zoo_result.summary(m) for m in ('zeros', 'reflect', 'circular'))
    assert zeros['mean'] > 0.5 > 0.3 > reflect['mean']
    assert zeros['aware'] > zeros['channels'] / 2
    assert reflect['aware'] < zeros['channels'] / 50
    # Random images are periodic, so circular padding continues them exactly.
    assert circular['mean'] < 0.2
    assert circular['aware'] == 0
    # Uneven padding: the strided first layer of a stage does not read it at the bottom and right.
    bias = next(r for r in zoo_result.responses['zeros'] if r.name.endswith('layer3.0.conv1')).bias
    assert bias['random']['bottom'] < bias['random']['top'] / 2


def test_numbers_table_figure_and_advice_agree(zoo_result):
    data = json.loads(json.dumps(zoo_result.to_json()))
    layers = data['modes']['zeros']['layers']
    assert [layer['name'] for layer in layers] == [r.name for r in zoo_result.responses['zeros']]
    assert len(zoo_result.table().rows) == len(layers)
    assert f'{data["modes"]["zeros"]["summary"]["mean"]:.2f} standard' in zoo_result.advice()
    picture = io.BytesIO()
    zoo_result.plot().savefig(picture, dpi=40)
    assert picture.getvalue().startswith(b'\x89PNG')


def test_a_network_without_padding_is_not_compared_with_other_modes():
    subject = Subject(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)).eval(), (24, 24))
    result = check_artifacts(subject)
    assert list(result.responses) == ['none']
    assert result.summary('none')['mean'] < 0.2
    with pytest.raises(UserError, match='none of its layers pads'):
        check_artifacts(subject, modes=['reflect'])
