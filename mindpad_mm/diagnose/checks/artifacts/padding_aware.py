"""Padding-aware channels: their responses alone separate border cells from interior cells.

Garcia-Gasulla et al., Padding Aware Neurons, 2023 (arXiv 2309.08048) found such filters in every
trained network they examined. The criterion used here is our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mindpad_mm.diagnose.border_bias import SMALLEST, border_lines, interior

AWARE = 0.5
"""Minimum Kolmogorov-Smirnov distance of a padding-aware channel."""
FEWEST = 24
"""Minimum number of border cells over all images; with fewer, the distance is mostly noise."""
_INSIDE_CELLS = 128


@dataclass
class BorderSample:
    """Responses of one layer to one image at border cells and at interior cells.

    Attributes:
        lines: A (C, L) tensor for each of the four sides: the middle half of the outermost row or
            column.
        inside: (C, up to 256) cells spread over the interior.
    """

    lines: tuple[Tensor, ...]
    inside: Tensor

    @classmethod
    def of(cls, maps: Tensor) -> BorderSample | None:
        """The sample of (1, C, H, W) maps; None if they have no interior."""
        height, width = maps.shape[-2:]
        if min(height, width) < SMALLEST:
            return None
        inside = maps[0, :, interior(height), interior(width)].flatten(1)
        step = max(1, inside.shape[1] // _INSIDE_CELLS)
        return cls(tuple(line.clone() for line in border_lines(maps[0])), inside[:, ::step].clone())


def padding_aware(samples: Sequence[BorderSample]) -> int | None:
    """The number of padding-aware channels.

    A channel is padding-aware if, at some side, the Kolmogorov-Smirnov distance between its
    responses in the outermost row or column and those in the interior is at least 0.5. A threshold
    on its response then classifies border and interior cells with a balanced accuracy of at least
    75 % (chance: 50 %). The inputs must be stationary, such as
    :func:`mindpad_mm.diagnose.inputs.random_images`; otherwise their content causes the distance.

    Args:
        samples: Samples of one layer, one for each image.

    Returns:
        0..C; None if a side has fewer than 24 cells over all images.
    """
    inside = torch.cat([sample.inside for sample in samples], 1).sort(1).values
    aware = torch.zeros(len(inside), dtype=torch.bool, device=inside.device)
    for side in range(4):
        line = torch.cat([sample.lines[side] for sample in samples], 1)
        if line.shape[1] < FEWEST:
            return None
        aware |= ks_distance(line, inside) >= AWARE
    return int(aware.sum())


def ks_distance(some: Tensor, others: Tensor) -> Tensor:
    """Two-sample Kolmogorov-Smirnov distance of each channel.

    Args:
        some: (C, n).
        others: (C, m).

    Returns:
        (C,) in 0..1: the largest difference between the two empirical distribution functions.
    """
    some, others = _ascending(some), _ascending(others)
    # Between two values of one sample its distribution function is constant and the other's grows,
    # so the largest difference is just below or at a value of that sample.
    distances = []
    for right in (False, True):
        shares = [
            torch.searchsorted(values, some, right=right).double() / values.shape[1]
            for values in (some, others)
        ]
        distances.append((shares[0] - shares[1]).abs().amax(1))
    return torch.maximum(*distances)


def _ascending(values: Tensor) -> Tensor:
    """Each channel's values in ascending order; sorted values are not sorted again."""
    if (values[:, 1:] >= values[:, :-1]).all():
        return values.contiguous()
    return values.contiguous().sort(1).values
