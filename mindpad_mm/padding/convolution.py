"""A convolution with fixed weight and geometry, to be called with input, bias and padding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mindpad_mm.padding.kernels import Windows, get_windows


class Convolution:
    """:func:`torch.nn.functional.conv2d` with everything fixed but input, bias and zero padding.

    Args:
        weight: Shape (C_out, C_in / groups, kernel height, kernel width).
        stride: (vertical, horizontal).
        dilation: (vertical, horizontal).
        groups: As in ``conv2d``.

    Attributes:
        fan_out: Output channels of one group, which is the number of multiply-accumulates for each
            input value and kernel tap.
    """

    def __init__(
        self, weight: Tensor, stride: tuple[int, int], dilation: tuple[int, int], groups: int
    ) -> None:
        self.weight = weight
        self.stride = stride
        self.dilation = dilation
        self.groups = groups
        self.fan_out = weight.shape[0] // groups

    def with_weight(self, weight: Tensor) -> Convolution:
        """The same with another weight of the same shape."""
        return Convolution(weight, self.stride, self.dilation, self.groups)

    @property
    def windows(self) -> Windows:
        """The (vertical, horizontal) windows of the kernel."""
        return get_windows(self.weight.shape[-2:], self.stride, self.dilation)

    def __call__(self, x: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
        """Convolve ``x`` with zero padding of ``padding`` (vertical, horizontal) cells on either side."""
        return F.conv2d(x, self.weight, bias, self.stride, padding, self.dilation, self.groups)


def memory_format_of(x: Tensor) -> torch.memory_format:
    """The memory format for new maps made from ``x``: channels_last if ``x`` has only that one."""
    if not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format
