"""How far the mean filter of a convolution is from its own mirror image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CHANCE_QUANTILE = 0.95
"""Quantile of the randomly mirrored filters that an asymmetry has to exceed."""
_DRAWS = 400


def asymmetry(mean: np.ndarray, axis: int) -> float | None:
    """The distance of a filter from its mirror image: sum |m - mirrored m| / (2 sum |m|).

    Args:
        mean: (kernel height, kernel width).
        axis: 0 mirrors top and bottom (y), 1 left and right (x).

    Returns:
        0 (symmetric) to 1 (antisymmetric), independent of the filter's scale. None if the filter
        has one cell along this axis or is zero.
    """
    total = np.abs(mean).sum()
    if mean.shape[axis] == 1 or not total:
        return None
    return float(np.abs(mean - np.flip(mean, axis)).sum() / (2 * total))


def chance(filters: np.ndarray, axis: int) -> float | None:
    """The asymmetry of the mean filter expected by chance: its 95 % quantile under the null hypothesis.

    Under the null hypothesis neither side is preferred: each output channel's filter is mirrored or
    not at random, 400 times.

    Args:
        filters: (channels, kernel height, kernel width).
    """
    if asymmetry(filters.mean(0), axis) is None:
        return None
    even = (filters + np.flip(filters, axis + 1)) / 2
    odd = (filters - even).reshape(len(filters), -1)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (_DRAWS, len(filters)))
    means = even.mean(0) + (signs @ odd / len(filters)).reshape(_DRAWS, *even.shape[1:])
    drawn = [asymmetry(mean, axis) for mean in means]
    return float(np.quantile([value or 0.0 for value in drawn], CHANCE_QUANTILE))


@dataclass(frozen=True)
class LayerFilters:
    """The mean filter of a convolution.

    Attributes:
        layer: Qualified name.
        mean: (kernel height, kernel width), mean over all input and output channels.
        x, y: :func:`asymmetry` between left and right, and between top and bottom; None along an
            axis of one cell.
        chance_x, chance_y: :func:`chance` along the same axes.
        uneven: Along (y, x), whether the layer is strided and pads unevenly.
    """

    layer: str
    mean: np.ndarray
    x: float | None
    y: float | None
    chance_x: float | None
    chance_y: float | None
    uneven: tuple[bool, bool]

    @property
    def leaning(self) -> tuple[bool, bool]:
        """Along (y, x), whether the asymmetry is larger than by chance."""
        pairs = (self.y, self.chance_y), (self.x, self.chance_x)
        return tuple(value is not None and value > by_chance for value, by_chance in pairs)

    @property
    def flagged(self) -> bool:
        """Whether the filters are asymmetric along an axis on which the layer pads unevenly."""
        return any(lean and uneven for lean, uneven in zip(self.leaning, self.uneven))
