"""Padding modes equal numpy.pad, and torch wherever torch has the mode and accepts the width."""

import doctest

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.names import parse_modes
from mindpad_mm.padding import NOTHING, PADDING_MODES, PaddingMode, get_modes, pad2d
from mindpad_mm.padding import modes as modes_module
from mindpad_mm.padding.kernels import Window
from mindpad_mm.padding.modes import describe, swappable_modes

NUMPY = {
    'zeros': 'constant',
    'reflect': 'reflect',
    'symmetric': 'symmetric',
    'replicate': 'edge',
    'circular': 'wrap',
}
TORCH = {
    'zeros': 'constant',
    'reflect': 'reflect',
    'replicate': 'replicate',
    'circular': 'circular',
}
OLD_NUMPY = int(np.__version__.split('.')[0]) < 2


@pytest.mark.parametrize('mode', NUMPY)
@pytest.mark.parametrize('size', range(1, 10))
def test_all_widths_and_sizes_equal_numpy_on_both_axes(mode, size):
    row = torch.arange(1.0, size + 1)
    for before in range(10):
        for after in range(10):
            if OLD_NUMPY and max(before, after) > 2 * size:
                continue  # numpy 1 is wrong if it has to mirror more than twice
            expected = torch.from_numpy(np.pad(row.numpy(), (before, after), mode=NUMPY[mode]))
            horizontal = pad2d(row[None, None, None], get_modes(mode), (0, 0, before, after))
            vertical = pad2d(row[None, None, :, None], get_modes(mode), (before, after, 0, 0))
            assert torch.equal(horizontal.flatten(), expected)
            assert torch.equal(vertical.flatten(), expected)


@given(
    modes=st.tuples(st.sampled_from(sorted(NUMPY)), st.sampled_from(sorted(NUMPY))),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    pads=st.tuples(*[st.integers(0, 9)] * 4),
    channels_last=st.booleans(),
)
def test_pairs_of_modes_equal_numpy_axis_by_axis(modes, size, pads, channels_last):
    # numpy 1 is wrong if it has to mirror more than twice.
    assume(np.lib.NumpyVersion(np.__version__) >= '2.0.0' or max(pads) < min(size))
    x = torch.rand(2, 3, *size)
    if channels_last:
        x = x.to(memory_format=torch.channels_last)
    expected = np.pad(x.numpy(), ((0, 0), (0, 0), pads[:2], (0, 0)), mode=NUMPY[modes[0]])
    expected = np.pad(expected, ((0, 0), (0, 0), (0, 0), pads[2:]), mode=NUMPY[modes[1]])
    padded = pad2d(x, get_modes(modes), pads)
    assert np.array_equal(padded.numpy(), expected)
    if any(pads) and size != (1, 1):  # one cell is in every memory format at once
        memory_format = torch.channels_last if channels_last else torch.contiguous_format
        assert padded.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize('mode', TORCH)
@given(pads=st.tuples(*[st.integers(0, 4)] * 4))
def test_values_and_gradients_equal_torch(mode, pads):
    top, bottom, left, right = pads
    x = torch.rand(1, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    expected = F.pad(x, (left, right, top, bottom), mode=TORCH[mode])
    padded = pad2d(x, get_modes(mode), pads)
    assert torch.equal(padded, expected)
    weight = torch.rand_like(expected)
    (grad,) = torch.autograd.grad((padded * weight).sum(), x)
    (expected_grad,) = torch.autograd.grad((expected * weight).sum(), x)
    torch.testing.assert_close(grad, expected_grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize('mode', sorted(swappable_modes()))
def test_first_and_second_derivatives_are_right(mode):
    x = torch.rand(1, 1, 2, 3, dtype=torch.float64, requires_grad=True)

    def pad(x):
        return pad2d(x, get_modes(mode), (3, 1, 4, 2)) ** 2

    torch.autograd.gradcheck(pad, x)
    torch.autograd.gradgradcheck(pad, x)


@given(
    size=st.integers(1, 9),
    pads=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 3),
)
def test_taps_counts_the_cells_that_each_window_reads(size, pads, kernel, stride, dilation):
    length = size + sum(pads)
    if length < dilation * (kernel - 1) + 1:
        return
    (mode, _) = get_modes('partial')
    ones = F.pad(torch.ones(1, 1, size, dtype=torch.float64), pads)
    expected = F.conv1d(
        ones, torch.ones(1, 1, kernel, dtype=torch.float64), None, stride, 0, dilation
    )
    assert mode.taps(size, *pads, Window(kernel, stride, dilation)) == expected.flatten().tolist()


@pytest.mark.parametrize('text', ['reflect', 'reflect/circular'])
def test_parse_modes_inverts_describe(text):
    assert describe(get_modes(parse_modes(text))) == text


def test_a_registered_mode_takes_arguments():
    @PADDING_MODES.register_module(name='first_cell', force=True)
    class FirstCell(PaddingMode):
        def __init__(self, nothing_after: bool = False) -> None:
            self.nothing_after = nothing_after

        def outside(self, position, size):
            return NOTHING if self.nothing_after and position > 0 else 0

    @PADDING_MODES.register_module(name='needs_a_width', force=True)
    class NeedsAWidth(FirstCell):
        def __init__(self, width):
            self.width = width

    try:
        x = torch.tensor([[[[5.0, 6.0]]]])
        assert pad2d(x, get_modes('first_cell'), (0, 0, 1, 1)).flatten().tolist() == [5, 5, 6, 5]
        spec = dict(type='first_cell', nothing_after=True)
        assert pad2d(x, get_modes(spec), (0, 0, 1, 1)).flatten().tolist() == [5, 5, 6, 0]
        with pytest.raises(UserError, match='does not take these arguments'):
            get_modes(dict(type='first_cell', wrong=1))
        with pytest.raises(UserError, match='does not take these arguments'):
            get_modes('needs_a_width')
    finally:
        PADDING_MODES.module_dict.pop('first_cell')
        PADDING_MODES.module_dict.pop('needs_a_width')


def test_the_recipe_for_a_mode_runs():
    try:
        result = doctest.testmod(modes_module)
    finally:
        PADDING_MODES.module_dict.pop('ground', None)
    assert result.attempted
    assert not result.failed


def test_a_taken_name_is_an_error_that_says_which_class_has_it():
    with pytest.raises(
        UserError,
        match=r"'reflect' is already .* class Reflect of module mindpad_mm\.padding\.modes",
    ) as caught:
        PADDING_MODES.register_module('reflect')(PaddingMode)
    assert '\n' not in str(caught.value)
    assert type(get_modes('reflect')[0]) is modes_module.Reflect


def test_a_mode_that_gives_a_cell_outside_the_map_is_an_error():
    class Broken(PaddingMode):
        name = 'broken'

        def outside(self, position, size):
            return position

    with pytest.raises(ValueError, match=r'broken gives cell 4, which is not in \[0, 4\)'):
        Broken().source(4, 0, 1)


UNKNOWN = ['reflekt', ('reflect', 'nope'), 3, ('a', 'b', 'c'), None, '', 'os', 'torch.nn.ReLU']


@pytest.mark.parametrize('spec', UNKNOWN)
def test_the_error_for_an_unknown_mode_names_the_modes(spec):
    with pytest.raises(UserError) as caught:
        get_modes(spec)
    message = str(caught.value)
    assert all(name in message for name in PADDING_MODES.module_dict)
    assert '\n' not in message


def test_the_error_for_a_misspelt_mode_suggests_one():
    with pytest.raises(UserError, match=r"'reflekt'.*did you mean 'reflect'"):
        get_modes('reflekt')
