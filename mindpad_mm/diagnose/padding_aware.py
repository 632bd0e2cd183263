"""Channels that tell by their response alone whether they stand at the border.

Garcia-Gasulla et al., Padding Aware Neurons, 2023 (arXiv 2309.08048) found such filters in every
trained network they looked at. The criterion here is our own, chosen to have one plain meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mindpad_mm.diagnose.border_bias import SMALLEST, border_lines, interior

AWARE = 0.5
"""Kolmogorov-Smirnov distance from which a channel counts as padding-aware."""
FEWEST = 24
"""Cells of a line, over all images, below which the distance is mostly chance."""
_INSIDE_CELLS = 128


@dataclass
class BorderSample:
    """Single responses of one layer to one image: on the border's lines, and inside.

    Attributes:
        lines: A (C, L) tensor for each of the four sides, the middle half of the outermost line.
        inside: (C, up to 256) cells spread over the interior.
    """

    lines: tuple[Tensor, ...]
    inside: Tensor

    @classmethod
    def of(cls, maps: Tensor) -> BorderSample | None:
        """From (1, C, H, W) maps; None where they have no interior."""
        height, width = maps.shape[-2:]
        if min(height, width) < SMALLEST:
            return None
        inside = maps[0, :, interior(height), interior(width)].flatten(1)
        step = max(1, inside.shape[1] // _INSIDE_CELLS)
        return cls(tuple(line.clone() for line in border_lines(maps[0])), inside[:, ::step].clone())


def padding_aware(samples: Sequence[BorderSample]) -> int | None:
    """How many channels know the border.

    A channel is padding-aware if, at some side, the Kolmogorov-Smirnov distance between its
    responses on the outermost line and those in the interior is at least 0.5: then one threshold on
    its response tells border cells from interior cells right in three cases of four or more, where
    0.5 in two is chance. The inputs must look alike everywhere, as
    :func:`mindpad_mm.diagnose.inputs.random_images` do, or it is their content that is told apart.

    Args:
        samples: Of the same layer, one an image.

    Returns:
        0..C; None where a line has fewer than 24 cells over all images.
    """
    inside = torch.cat([sample.inside for sample in samples], 1).sort(1).values
    aware = torch.zeros(len(inside), dtype=torch.bool)
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
        (C,) in 0..1: the largest difference between the two shares of values below a threshold.
    """
    some, others = _ascending(some), _ascending(others)
    # Between two values of one sample its share is constant and the other's only grows, so the
    # largest difference is found just below or just above one of them.
    distances = []
    for right in (False, True):
        shares = [
            torch.searchsorted(values, some, right=right).double() / values.shape[1]
            for values in (some, others)
        ]
        distances.append((shares[0] - shares[1]).abs().amax(1))
    return torch.maximum(*distances)


def _ascending(values: Tensor) -> Tensor:
    """Each channel's values in order; what is in order already is not sorted again."""
    if (values[:, 1:] >= values[:, :-1]).all():
        return values.contiguous()
    return values.contiguous().sort(1).values
