"""Where a crop must lie in a larger input for the cells of every layer's map to coincide."""

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
    """(h, w) of a map: a visitor for :func:`mindpad_mm.diagnose.maps.visit_maps`."""
    return maps.shape[-2], maps.shape[-1]


def blank(subject: Subject, margin: int) -> Tensor:
    """A zero image, larger than the input by a margin on every side: (1, 3, H, W)."""
    height, width = (side + 2 * margin for side in subject.input_size)
    return torch.zeros(1, 3, height, width, device=subject.device)


def aligned_margin(
    subject: Subject,
    shapes: dict[str, tuple[int, int]],
    margin: int,
    layers: Sequence[str],
    left_out: dict[str, str],
) -> tuple[int, dict[str, tuple[int, int]]]:
    """A margin that is a multiple of every layer's stride, and the strides.

    Strides are measured, not read off the layers: an input that is larger by a multiple of them all
    gives maps that are larger by exactly that many cells.

    Args:
        subject: The network.
        shapes: (h, w) of the maps of the input, by layer.
        margin: Least margin, pixels.
        layers: fnmatch patterns, as the shapes were found by.
        left_out: Layers whose map does not grow with the input are added here.

    Returns:
        The margin in pixels, and (vertical, horizontal) input pixels a cell by layer.

    Raises:
        UserError: No map grows with the input, or one does unevenly.
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
        # No power of two is a multiple of them: what was measured is near enough to say what is.
        step = int(np.lcm.reduce([round(stride) for stride in flat]))
        if step > _MOST_STEP:
            break
    raise UserError(
        f'the maps of {subject.name} do not grow evenly with its input, so that the cells of a crop '
        'and of the photo around it cannot be compared'
    )
