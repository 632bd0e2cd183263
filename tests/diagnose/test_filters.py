"""The asymmetry of filters equals known values."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from torch import nn

from mindpad_mm.diagnose import Subject, check_filters
from mindpad_mm.diagnose.checks.filters.measure import asymmetry, chance

KERNELS = hnp.arrays(
    float, st.tuples(st.integers(1, 5), st.integers(1, 5)), elements=st.floats(-9, 9, width=16)
)


def test_mirror_images_are_symmetric_and_their_negatives_are_not():
    ramp = np.arange(-1.0, 2) * np.ones((3, 1))
    assert asymmetry(ramp, 1) == 1
    assert asymmetry(ramp, 0) == 0
    assert asymmetry(ramp.T, 0) == 1
    assert asymmetry(ramp + ramp.T, 0) == asymmetry(ramp + ramp.T, 1)
    # 1 2 3 and its mirror image differ by 2 at both ends: 4 / (2 * 6).
    assert asymmetry(np.array([[1.0, 2, 3]]), 1) == pytest.approx(4 / 12)


@given(KERNELS, st.sampled_from([0, 1]), st.floats(0.01, 100))
def test_it_has_no_scale_no_sign_and_no_side(mean, axis, factor):
    value = asymmetry(mean, axis)
    assert (value is None) == (mean.shape[axis] == 1 or not mean.any())
    if value is not None:
        assert 0 <= value <= 1
        for same in (mean * factor, -mean, np.flip(mean, 0), np.flip(mean, 1)):
            assert asymmetry(same, axis) == pytest.approx(value)


def test_filters_without_a_preference_exceed_chance_one_time_in_twenty():
    rng = np.random.default_rng(0)
    exceeded = 0
    for _ in range(200):
        filters = rng.normal(size=(24, 3, 3))
        exceeded += asymmetry(filters.mean(0), 1) > chance(filters, 1)
    assert stats.binomtest(exceeded, 200, 0.05).pvalue > 0.01


class TwoStrided(nn.Module):
    """At even sizes, one convolution pads unevenly along both axes and one only along y."""

    def __init__(self):
        super().__init__()
        self.uneven = nn.Conv2d(3, 32, 3, 2, 1)
        self.point = nn.Conv2d(3, 2, 1)
        self.even = nn.Conv2d(3, 32, (1, 2), 2)

    def forward(self, x):
        return self.uneven(x), self.even(x), self.point(x)


@pytest.fixture
def leaning():
    """The filters of both convolutions are asymmetric along x."""
    torch.manual_seed(0)
    model = TwoStrided()
    for layer in (model.uneven, model.even):
        nn.init.normal_(layer.weight)
        with torch.no_grad():
            layer.weight[..., -1] += 1
    return model


def test_filters_are_flagged_where_they_lean_and_padding_is_uneven(leaning):
    found = check_filters(Subject(leaning, (20, 20)))
    uneven, even = found.layers  # no kernel of one cell
    assert uneven.flagged
    assert uneven.leaning == (False, True)
    assert uneven.uneven == (True, True)
    # It pads unevenly along y, where its kernel has one cell and cannot be asymmetric.
    assert even.y is None
    assert even.leaning == (False, True)
    assert not even.flagged
    assert '1 of 2 (uneven)' in found.advice()


def test_at_an_even_size_nothing_is_flagged(leaning):
    found = check_filters(Subject(leaning.uneven, (21, 21)))
    assert found.layers[0].leaning == (False, True)
    assert not found.layers[0].flagged
    assert 'No convolution pads unevenly' in found.advice()


def test_an_axis_without_unevenness_is_no_reason_to_flag(leaning):
    (tall,) = check_filters(Subject(leaning.uneven, (20, 21))).layers
    assert tall.uneven == (True, False)
    assert not tall.flagged
    (wide,) = check_filters(Subject(leaning.uneven, (21, 20))).layers
    assert wide.flagged


def test_the_mean_filter_is_over_all_channels():
    layer = nn.Conv2d(4, 6, 3, groups=2)
    (found,) = check_filters(Subject(nn.Sequential(nn.Conv2d(3, 4, 1), layer), (9, 9))).layers
    expected = layer.weight.detach().double().mean((0, 1))
    np.testing.assert_allclose(found.mean, expected, rtol=1e-12)


def test_table_figure_and_json_agree(leaning):
    found = check_filters(Subject(leaning, (20, 20), 'two'))
    written = json.loads(json.dumps(found.to_json()))['layers']
    assert [layer['layer'] for layer in written] == [row[0] for row in found.table().rows]
    assert [layer['flagged'] for layer in written] == [True, False]
    titles = [axes.get_title() for axes in found.plot().axes if axes.images]
    assert titles == ['1: uneven', '2: even']
