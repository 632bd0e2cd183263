"""Uses of pixels, compared with direct counting and with torch's gradients."""

from __future__ import annotations

import mindpad_mm  # noqa: F401  # isort: skip  # first, so that MMDetection imports on mmcv-lite

import itertools
import json
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from mindpad_mm.core.errors import UserError
from mindpad_mm.diagnose import Subject, check_foveation, layer_usage
from mindpad_mm.diagnose.checks.foveation.measure import MODES
from mindpad_mm.diagnose.checks.foveation.usage import Usage, pixel_usage
from mindpad_mm.diagnose.tracing import FULL, VALID, ShapeRunner
from mindpad_mm.padding import swap_padding

NUMPY = {'reflect': 'reflect', 'symmetric': 'symmetric', 'replicate': 'edge', 'circular': 'wrap'}


def one_by_one(size, kernel, mode, padding, stride, dilation):
    """Count the reads of each cell by a loop over all windows and taps of a map of cell indices."""
    rows, cols = size
    names = np.arange(rows * cols).reshape(size)
    if mode in NUMPY:
        padded = np.pad(names, padding, mode=NUMPY[mode]) if padding else names
    else:
        padded = np.pad(names, padding, constant_values=-1)
    used = [Fraction(0)] * names.size
    reach = dilation * (kernel - 1)
    tops = range(0, padded.shape[0] - reach, stride)
    lefts = range(0, padded.shape[1] - reach, stride)
    for top, left in itertools.product(tops, lefts):
        window = padded[
            top : top + reach + 1 : dilation, left : left + reach + 1 : dilation
        ].ravel()
        real = [cell for cell in window if cell >= 0]
        for cell in real:
            used[cell] += Fraction(kernel * kernel, len(real)) if mode == 'partial' else 1
    return np.array(used, object).reshape(size)


@settings(max_examples=60)
@given(
    st.tuples(st.integers(1, 7), st.integers(1, 7)),
    st.integers(1, 5),
    st.sampled_from(MODES),
    st.integers(0, 4),
    st.integers(1, 3),
    st.integers(1, 2),
)
def test_uses_by_one_layer_are_those_counted_one_by_one(
    size, kernel, mode, padding, stride, dilation
):
    assume(min(size) + 2 * padding > dilation * (kernel - 1))
    found = layer_usage(size, kernel, mode, padding, stride, dilation)
    expected = one_by_one(size, kernel, mode, padding, stride, dilation)
    assert (found.counts == expected * found.denominator).all()


@pytest.mark.parametrize('kernel', [3, 5, 7])
def test_published_facts_of_one_layer(kernel):
    size = 16, 20

    def disparity(mode='zeros', padding='same'):
        return layer_usage(size, kernel, mode, padding).disparity

    assert disparity(padding='full') == 1
    assert disparity('circular') == disparity('symmetric') == 1
    assert disparity('zeros') > 1
    assert disparity('reflect') > 1
    assert disparity('partial') > 1
    assert disparity(padding='valid') == kernel**2
    assert (disparity('replicate') > 1) == (kernel // 2 > 1)


def test_a_pair_of_modes_counts_each_axis_by_its_own():
    counts = layer_usage((8, 9), 5, ('reflect', 'circular')).counts
    assert (counts == counts[:, :1]).all()
    np.testing.assert_array_equal(counts[:, 0], layer_usage((8, 9), 5, 'reflect').counts[:, 4])


def linearised(model):
    """The same network with one channel, all weights 1 and no pointwise functions."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.ones_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return model.double()


class Branches(nn.Module):
    """A network with strides, dilation, a residual sum, average pooling, a branch and resizing."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 1, 5, 2, 2)
        self.one = nn.Conv2d(1, 1, 3, 1, 2, dilation=2)
        self.two = nn.Conv2d(1, 1, (3, 1), 1, (1, 0))
        self.down = nn.Conv2d(1, 1, 3, 2, 1)
        self.side = nn.Conv2d(1, 1, 1, 2)
        self.up = nn.ConvTranspose2d(1, 1, 3, 2, 1)
        nn.init.ones_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        self.lateral = nn.Conv2d(2, 1, 3, 1, 1)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.two(self.one(x))
        pooled = F.avg_pool2d(F.pad(x, (1, 0, 0, 1)), 2, 1, divisor_override=1)
        low = self.down(pooled) + self.side(pooled)
        high = F.interpolate(low, size=x.shape[-2:], mode='nearest')
        raised = self.up(low)[..., : x.shape[-2], : x.shape[-1]]
        raised = F.pad(
            raised, (0, x.shape[-1] - raised.shape[-1], 0, x.shape[-2] - raised.shape[-2])
        )
        return [self.lateral(torch.cat([x, high], 1)), raised.flip(3), low[..., ::2, 1:]]


@pytest.mark.parametrize(
    'mode', ['zeros', 'reflect', 'replicate', ('symmetric', 'circular'), 'partial']
)
@pytest.mark.parametrize('size', [(15, 22), (18, 17)])
def test_uses_by_a_network_are_the_gradient_of_its_linear_twin(mode, size):
    model = linearised(Branches())
    swap_padding(model, mode)
    image = torch.ones(1, 3, *size, dtype=torch.float64, requires_grad=True)
    sum(out.sum() for out in model(image)).backward()
    usage = pixel_usage(ShapeRunner(Subject(model, size)).run(size))
    np.testing.assert_allclose(
        (usage.counts / usage.denominator).astype(float), image.grad[0, 0], rtol=1e-12
    )


def test_weights_drawn_from_a_whole_map_are_not_uses():
    class Squeezes(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.gate = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1)

        def forward(self, x):
            x = self.conv(x)
            return x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid()

    usage = pixel_usage(ShapeRunner(Subject(Squeezes(), (6, 7))).run((6, 7)))
    np.testing.assert_array_equal(usage.counts, layer_usage((6, 7), 3).counts)


def chain(depth, kernel=3):
    padding = kernel // 2
    return nn.Sequential(nn.Conv2d(3, 1, kernel, 1, padding)).extend(
        nn.Conv2d(1, 1, kernel, 1, padding) for _ in range(depth - 1)
    )


def test_counts_are_exact_beyond_64_bits():
    size = 9, 11
    usage = pixel_usage(ShapeRunner(Subject(chain(30), size)).run(size))
    assert usage.counts.dtype == object
    # Expected counts in Python's integers, one axis at a time.
    axes = []
    for cells in size:
        counts = [1] * cells
        for _ in range(30):
            padded = [0, *counts, 0]
            counts = [sum(padded[i : i + 3]) for i in range(cells)]
        axes.append(counts)
    expected = [[row * col for col in axes[1]] for row in axes[0]]
    assert usage.counts.tolist() == expected
    assert usage.counts.max() > 2**64


def test_disparity_grows_with_depth_and_shrinks_with_size():
    def disparity(depth, side):
        runner = ShapeRunner(Subject(chain(depth), (side, side)))
        return pixel_usage(runner.run((side, side))).disparity

    by_depth = [disparity(depth, 64) for depth in (1, 2, 4, 8, 16)]
    assert by_depth == sorted(by_depth)
    assert by_depth[0] < by_depth[-1]

    def share(side):
        """Share of the pixels that are used less than 0.9 times as often as the most used one."""
        counts = pixel_usage(ShapeRunner(Subject(chain(8), (side, side))).run((side, side))).counts
        return (counts < 0.9 * counts.max()).mean()

    by_size = [share(side) for side in (24, 48, 96)]
    assert by_size == sorted(by_size, reverse=True)
    assert by_size[0] > by_size[-1]


def test_unpadded_and_fully_padded_chains_are_those_of_the_layers():
    model = nn.Sequential(nn.Conv2d(3, 1, 3, 1, 1), nn.ReLU(), nn.Conv2d(1, 1, 5, 2, 2))
    run = ShapeRunner(Subject(model, (12, 13))).run
    valid = nn.Sequential(nn.Conv2d(3, 1, 3), nn.ReLU(), nn.Conv2d(1, 1, 5, 2))
    full = nn.Sequential(nn.Conv2d(3, 1, 3, 1, 2), nn.ReLU(), nn.Conv2d(1, 1, 5, 2, 4))
    for scheme, twin in ((VALID, valid), (FULL, full)):
        expected = pixel_usage(ShapeRunner(Subject(twin, (12, 13))).run((12, 13)))
        np.testing.assert_array_equal(pixel_usage(run((12, 13), scheme)).counts, expected.counts)


def test_branches_of_other_sizes_meet_centre_on_centre():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, 1, 1)

        def forward(self, x):
            return self.conv(x) + x

    run = ShapeRunner(Subject(Residual(), (6, 6))).run
    inner = np.pad(np.ones((4, 4), int), 1)
    valid = layer_usage((6, 6), 3, padding='valid').counts + inner
    np.testing.assert_array_equal(pixel_usage(run((6, 6), VALID)).counts, valid)
    np.testing.assert_array_equal(pixel_usage(run((6, 6), FULL)).counts, np.full((6, 6), 10))


def test_the_published_numbers_of_vgg19_up_to_its_last_convolution():
    with torch.device('meta'):  # nothing but shapes is wanted
        model = torchvision.models.vgg19()
    found = check_foveation(Subject(model, (224, 224), 'vgg19'), upto='features.34')
    disparity = {s.label: s.usage.disparity for s in found.schemes if s.usage is not None}
    assert found.own.label == 'zeros (as it is)'
    assert disparity['circular'] == disparity['symmetric'] == 1
    # With full padding some maps are odd, and pooling skips their last row.
    assert 1 < disparity['full'] < 1.01
    assert disparity['zeros (as it is)'] > disparity['reflect'] > disparity['partial'] > 1
    assert found.own.usage.counts.max() < 9**16
    growth = [value for _, _, value in found.own.depth]
    assert growth == sorted(growth)
    (valid,) = (s for s in found.schemes if s.label == 'valid')
    assert valid.usage is None
    assert 'too small' in valid.problem


def test_smoothing_removes_the_pattern_of_strides_and_keeps_the_border():
    lattice = Usage(np.tile([[1, 2], [2, 4]], (8, 8)))
    assert lattice.disparity == 4
    assert lattice.smooth_disparity(2) == pytest.approx(1)
    bordered = Usage(np.pad(lattice.counts, 2, mode='minimum') // 2)
    assert bordered.smooth_disparity(2) > 1.5
    assert lattice.smooth_disparity(16) is None
    assert Usage(np.eye(4, dtype=int)).disparity == np.inf


def test_sides_tell_which_border_is_used_less():
    counts = np.full((48, 64), 10)
    counts[-3:] = 5
    counts[:, :4] = 20
    assert Usage(counts).sides() == pytest.approx((1, 0.5, 2, 1))


def test_table_figure_and_json_agree():
    model = nn.Sequential(nn.Conv2d(3, 2, 3, 2, 1), nn.Conv2d(2, 2, 3, 1, 1))
    found = check_foveation(Subject(model, (20, 24), 'two layers'))
    written = json.loads(json.dumps(found.to_json()))
    assert [*written['modes']] == [row[0] for row in found.table().rows]
    zeros = written['modes']['zeros (as it is)']
    assert zeros['disparity'] == zeros['most_used'] / zeros['least_used']
    assert len(zeros['depth']) == 2
    maps = [axes for axes in found.plot().axes if axes.images]
    assert len(maps) == len(written['modes'])
    assert len({image.get_clim() for axes in maps for image in axes.images}) == 1


def test_a_network_that_pads_nothing_is_counted_as_it_is():
    found = check_foveation(Subject(nn.Conv2d(3, 1, 3), (8, 8)))
    assert [scheme.label for scheme in found.schemes] == ['as it is', 'full']


def test_a_network_of_several_modes_is_counted_as_it_is_too():
    model = chain(2)
    swap_padding(model, 'circular', include=['0'])
    found = check_foveation(Subject(model, (8, 8)), modes=['zeros', ('zeros', 'circular')])
    assert [scheme.label for scheme in found.schemes] == ['as it is', 'zeros', 'zeros/circular']
    twice = layer_usage((8, 8), 3).counts
    expected = sum(
        np.roll(twice, shift, (0, 1)) for shift in itertools.product((-1, 0, 1), repeat=2)
    )
    np.testing.assert_array_equal(found.own.usage.counts, expected)


def test_advice_counts_unused_pixels_and_names_the_mode_if_there_is_one():
    sparse = nn.Sequential(nn.Conv2d(3, 1, 3, 1, 1), nn.MaxPool2d(1, 2))
    advice = check_foveation(Subject(sparse, (9, 9)), modes=['zeros']).advice()
    assert 'With zeros padding the most used pixel is used' in advice
    skipping = nn.Sequential(nn.MaxPool2d(1, 3), nn.Conv2d(3, 1, 3, 1, 1))
    advice = check_foveation(Subject(skipping, (9, 9)), modes=['zeros']).advice()
    assert advice.startswith('With zeros padding 72 pixels are not used at all; use is lowest')
    assert 'unbounded' not in advice.split('.')[0]
    model = chain(2)
    swap_padding(model, 'circular', include=['0'])
    advice = check_foveation(Subject(model, (8, 8)), modes=['zeros']).advice()
    assert advice.startswith('As it is, the most used pixel')


def test_advice_says_that_the_network_cannot_run_with_full_padding():
    patches = torchvision.models.VisionTransformer(32, 16, 1, 1, 8, 8).eval()
    found = check_foveation(Subject(patches, (32, 32), 'torchvision:patches'))
    assert [scheme.usage is None for scheme in found.schemes] == [False, True]
    assert 'With full padding it cannot run: shape ' in found.advice()


def test_advice_says_that_the_network_cannot_run_without_padding():
    class Merges(nn.Module):
        """Pools a larger map by its ratio to a smaller one, like the cells of NAS-FPN."""

        def __init__(self):
            super().__init__()
            self.large, self.small = nn.Conv2d(3, 1, 7, 2, 3), nn.Conv2d(3, 1, 1, 2)

        def forward(self, x):
            large, small = self.large(x), self.small(x)
            ratio = large.shape[-1] // small.shape[-1]
            return small + F.max_pool2d(large, ratio)

    found = check_foveation(Subject(Merges(), (16, 16)), modes=['zeros', VALID])
    assert 'Without any padding (valid) it cannot run: ' in found.advice()


def test_an_input_too_small_is_one_clear_line():
    with pytest.raises(UserError, match='too small for 1: take a larger'):
        check_foveation(
            Subject(nn.Sequential(nn.Conv2d(3, 1, 3), nn.Conv2d(1, 1, 5, padding=1)), (4, 9))
        )


class Rolls(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return self.conv(x.roll(1, 2))


def test_networks_that_cannot_be_counted_are_one_clear_line():
    with pytest.raises(UserError, match=r'cannot be counted through .*roll'):
        check_foveation(Subject(Rolls(), (8, 8)))
    with pytest.raises(UserError, match=r"no convolution or pooling 'neck'; it runs 0, 1"):
        check_foveation(Subject(chain(2), (8, 8)), upto='neck')
    with pytest.raises(UserError, match='unknown padding mode'):
        check_foveation(Subject(chain(2), (8, 8)), modes=['mirror'])
    with pytest.raises(UserError, match='too small for the kernel'):
        layer_usage((2, 9), 3, padding='valid')
