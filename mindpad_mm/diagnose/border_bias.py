"""The border-bias index: how much a map differs between border and interior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SIDES = ('top', 'bottom', 'left', 'right')
SMALLEST = 3
"""Minimum number of cells along an axis for a map to have an interior."""


def interior(size: int) -> slice:
    """The middle half of an axis: without a quarter of the cells (at least one) at each end."""
    margin = max(1, size // 4)
    return slice(margin, size - margin)


def border_lines(maps: Tensor) -> tuple[Tensor, ...]:
    """The middle half of the outermost row or column at each of :data:`SIDES`.

    Args:
        maps: (..., H, W).

    Returns:
        Four tensors (..., L).
    """
    rows, columns = interior(maps.shape[-2]), interior(maps.shape[-1])
    return maps[..., 0, columns], maps[..., -1, columns], maps[..., rows, 0], maps[..., rows, -1]


@dataclass
class BorderMoments:
    """The moments of one layer's maps from which the index is computed, for each image.

    Attributes:
        lines: (N, 4, C) mean of the outermost row or column at each of :data:`SIDES`, over its
            middle half.
        inside: (N, C) mean over the interior.
        square: (N, C) mean square over the interior.
    """

    lines: Tensor
    inside: Tensor
    square: Tensor

    @classmethod
    def of(cls, maps: Tensor) -> BorderMoments | None:
        """The moments of (N, C, H, W) maps; None if they have no interior."""
        height, width = maps.shape[-2:]
        if min(height, width) < SMALLEST:
            return None
        inside = maps[..., interior(height), interior(width)].double()
        return cls(
            torch.stack([line.double().mean(-1) for line in border_lines(maps)], 1),
            inside.mean((-2, -1)),
            inside.square().mean((-2, -1)),
        )

    @classmethod
    def merged(cls, parts: Sequence[BorderMoments]) -> BorderMoments:
        """The moments of all images together."""
        fields = ('lines', 'inside', 'square')
        return cls(*(torch.cat([getattr(part, field) for part in parts]) for field in fields))

    def variance(self) -> float:
        """Variance over the interior and the images, summed over channels."""
        return float((self.square.mean(0) - self.inside.mean(0).square()).clamp(min=0).sum())

    def bias(self, variance: float | None = None) -> dict[str, float | None]:
        """The index of each side, see :func:`border_bias`.

        Args:
            variance: Variance to divide by, for inputs that do not vary inside (a zero image).
                Default: that of these images.
        """
        variance = self.variance() if variance is None else variance
        if variance <= torch.finfo(torch.float32).tiny:
            return dict.fromkeys(SIDES)
        steps = self.lines - self.inside[:, None]
        squared = steps.mean(0).square().sum(-1)
        if len(steps) > 1:
            # The square of a mean over N images is biased by the variance of the mean.
            squared = (squared - steps.var(0).sum(-1) / len(steps)).clamp(min=0)
        return dict(zip(SIDES, (squared / variance).sqrt().tolist()))


def border_bias(maps: Tensor) -> dict[str, float | None]:
    """The border-bias index of a layer's maps at each side.

    For each channel, ``step`` is the mean of the outermost row or column (over its middle half, to
    exclude the adjacent sides) minus the mean of the interior (the middle half of both axes). The
    index is the root mean square of the steps over channels, divided by the root mean square of the
    channels' standard deviations in the interior. Channels with large responses weigh more; a
    channel that is constant does not count. With several images, the sampling variance of the steps
    is subtracted: without bias the index is about 0.

    Args:
        maps: (N, C, H, W).

    Returns:
        By ``top``, ``bottom``, ``left``, ``right``: interior standard deviations, >= 0; None where
        an axis has fewer than 3 cells or the interior does not vary.
    """
    moments = BorderMoments.of(maps)
    return dict.fromkeys(SIDES) if moments is None else moments.bias()
