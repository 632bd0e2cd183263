"""The parts of the fit of an SSD's head."""

import numpy as np
import torch

from benchmarks import teach


def test_the_fit_recovers_a_linear_map():
    torch.manual_seed(0)
    inputs = torch.randn(400, 30) + 5
    weight, bias = torch.randn(30, 4), torch.randn(4)
    found, offset = teach._ridge(inputs, inputs @ weight + bias)
    torch.testing.assert_close(found, weight, atol=0.02, rtol=0.02)
    torch.testing.assert_close(
        inputs @ found + offset, inputs @ weight + bias, atol=0.05, rtol=0.02
    )


def test_patches_are_the_inputs_of_a_convolution():
    torch.manual_seed(0)
    maps, weight = torch.randn(1, 3, 5, 7), torch.randn(2, 3, 3, 3)
    expected = torch.nn.functional.conv2d(maps, weight, padding=1)
    found = (teach._patches(maps) @ weight.reshape(2, -1).T).T.reshape(1, 2, 5, 7)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_all_cells_with_an_overlapping_prior_are_used():
    overlap = np.zeros((100, 4))
    overlap[[7, 63], 2] = 0.2
    cells = teach._cells(overlap, np.random.default_rng(0))
    assert {7, 63} <= {*cells.tolist()}
    assert len(cells) == 2 + teach._CELLS
