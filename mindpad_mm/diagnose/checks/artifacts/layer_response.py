"""The response of one layer to a zero image, random images and photos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

INPUTS = ('zero', 'random', 'photos')


@dataclass
class LayerResponse:
    """The response of one layer in one padding mode.

    Attributes:
        name: The layer's qualified name.
        shape: (C, H, W) of its map.
        mean: Mean response over channels and cells, for each of :data:`INPUTS`.
        bias: Border-bias index for each input and side, see
            :func:`mindpad_mm.diagnose.border_bias.border_bias`; for the zero image, which does
            not vary inside, in standard deviations of the random inputs.
        aware: Number of padding-aware channels, see
            :func:`mindpad_mm.diagnose.checks.artifacts.padding_aware.padding_aware`.
        maps: (H, W) mean over channels (and images) for each input.
    """

    name: str
    shape: tuple[int, int, int]
    mean: dict[str, float]
    bias: dict[str, dict[str, float | None]]
    aware: int | None
    maps: dict[str, np.ndarray]

    def overall(self, kind: str = 'random') -> float | None:
        """The root mean square of the index over the four sides."""
        sides = [value for value in self.bias[kind].values() if value is not None]
        return float(np.sqrt(np.mean(np.square(sides)))) if sides else None
