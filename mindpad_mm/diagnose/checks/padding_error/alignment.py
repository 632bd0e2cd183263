"""Where a crop must be in a larger input so that the cells of every layer's maps are aligned."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mindpad_mm.core.errors import UserError
from mindpad_mm.diagnose.maps import visit_maps
from mindpad_mm.diagnose.subject import Subject

_MOST_STEP = 1024


def map_size(_name: str, maps: Tensor) -> tuple[int, int]:
    """The (h, w) of a map; a ``visit`` function for :func:`mindpad_mm.diagnose.maps.visit_maps`."""
    return maps.shape[-2], maps.shape[-1]


def blank(subject: Subject, margin: int) -> Tensor:
    """A zero image (1, C, H, W), larger than the input by ``margin`` pixels on every side."""
    height, width = (side + 2 * margin for side in subject.input_size)
    return torch.zeros(1, subject.channels, height, width, device=subject.device)


def aligned_margin(
    subject: Subject,
    shapes: dict[str, tuple[int, int]],
    margin: int,
    layers: Sequence[str],
    left_out: dict[str, str],
) -> tuple[int, dict[str, tuple[int, int]]]:
    """Find a margin that is a multiple of every layer's stride, and measure the strides.

    A stride is measured as the growth of the input divided by the growth of the map, which is exact
    if the input grows by a multiple of all strides.

    Args:
        subject: The network.
        shapes: (h, w) of the maps at the input size, by layer.
        margin: Minimum margin, pixels.
        layers: The fnmatch patterns that selected the layers.
        left_out: Layers whose map does not grow with the input are added here, with the reason.

    Returns:
        The margin in pixels, and by layer the (vertical, horizontal) stride in input pixels.

    Raises:
        UserError: No map grows with the input, or one grows irregularly.
    """
    longest = max(-(-side // n) for s in shapes.values() for side, n in zip(subject.input_size, s))
    step = 2 ** math.ceil(math.log2(longest))
    for _ in range(2):
        rounded = max(1, math.ceil(margin / step)) * step
        larger = visit_maps(subject, blank(subject, rounded), map_size, layers)
        growth = {n: [b - a for a, b in zip(shapes[n], larger[n])] for n in shapes}
        fixed = [name for name, cells in growth.items() if min(cells) < 1]
        strides = {
            name: [2 * rounded / more for more in cells]
            for name, cells in growth.items()
            if name not in fixed
        }
        flat = [stride for pair in strides.values() for stride in pair]
        if not flat:
            break
        if all(stride.is_integer() and rounded % stride == 0 for stride in flat):
            left_out.update(dict.fromkeys(fixed, 'its map does not grow with the input'))
            return rounded, {name: (int(y), int(x)) for name, (y, x) in strides.items()}
        # A stride is not a power of two: try the least common multiple of the rounded strides.
        step = int(np.lcm.reduce([round(stride) for stride in flat]))
        if step > _MOST_STEP:
            break
    raise UserError(
        f'the maps of {subject.name} do not grow in proportion to its input, so the cells of a crop '
        'cannot be compared with those of the photo around it'
    )
