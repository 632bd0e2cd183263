"""The number of windows and the pads equal torch's."""

import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from mindpad_mm.padding.kernels import Window, get_pads, get_windows


@given(
    cells=st.integers(1, 30),
    window=st.builds(Window, st.integers(1, 5), st.integers(1, 4), st.integers(1, 3)),
)
def test_the_number_of_windows_equals_torchs(cells, window):
    assume(cells >= window.kernel_extent)
    kernel = torch.ones(1, 1, window.kernel)
    results = F.conv1d(torch.ones(1, 1, cells), kernel, None, window.stride, 0, window.dilation)
    count = results.shape[-1]
    assert window.fits(cells) == count
    # They fit, and one more window would not.
    assert window.spans(count) <= cells < window.spans(count + 1)


@given(kernel=st.tuples(*[st.integers(1, 6)] * 2), dilation=st.integers(1, 3))
def test_the_pads_of_same_equal_torchs(kernel, dilation):
    x, weight = torch.rand(1, 1, 7, 8), torch.rand(1, 1, *kernel)
    expected = F.conv2d(x, weight, padding='same', dilation=dilation)
    top, bottom, left, right = get_pads('same', get_windows(kernel, 1, dilation))
    padded = F.pad(x, (left, right, top, bottom))
    torch.testing.assert_close(F.conv2d(padded, weight, dilation=dilation), expected)
