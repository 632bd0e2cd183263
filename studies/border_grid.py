"""The grid of the border study: where lights stood in training, the mode, the input's size, the seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from mindpad_mm.traffic_lights.dataset import Recipe
from mindpad_mm.traffic_lights.positions import Positions
from studies.traffic_lights import MODES

# With one light an image, every margin leaves room, so that all sets have the same lights. Images without
# a light are not trained on.
RECIPE = Recipe(
    num_train=1536, num_val=128, size=128, min_size=20, distractors=0.5, occluded=0.0, negatives=0.05,
    most_lights=1,
)  # fmt: skip
# A training of any mode whose open score stays below the least one is repeated with more epochs: losses
# of detectors that are weak everywhere could not be compared. Lights everywhere take longer to learn, and
# begin with those.
EPOCHS = (6, 10)
LEAST_OPEN = 0.7
EVEN_SIZE = 129


@dataclasses.dataclass(frozen=True)
class Lights:
    """Where the lights of a training set stand.

    Attributes:
        positions: See :class:`Recipe`.
        margin: Least distance from every border, pixels.
        share: Of the lights nearer than that, 0..1.
    """

    positions: Positions = 'uniform'
    margin: int = 0
    share: float = 0.0

    @property
    def name(self) -> str:
        """Name of the set, also of its folder."""
        margin = str(self.margin) if self.margin else ''
        share = f'_{self.share:.0%}'.replace('%', '_percent') if self.share else ''
        return f'{self.positions}{margin}{share}'

    @property
    def description(self) -> str:
        """For tables."""
        if self.positions == 'upper':
            return 'upper half'
        if not self.margin:
            return 'everywhere'
        but = f', {self.share:.0%} of them nearer' if self.share else ''
        return f'{self.margin} px or more off the borders{but}'

    @property
    def recipe(self) -> Recipe:
        """The recipe of the set."""
        return dataclasses.replace(
            RECIPE, positions=self.positions, margin=self.margin, margin_share=self.share
        )


UNIFORM, CENTRE, UPPER = Lights(), Lights('centre', 24), Lights('upper')
MARGINS = (Lights('centre', 12), CENTRE, Lights('centre', 48))
DOSES = (*(Lights('centre', 24, share) for share in (0.01, 0.03, 0.1)),)


@dataclasses.dataclass(frozen=True)
class Cell:
    """One training of the grid.

    Attributes:
        lights: Where the lights of its training set stand.
        mode: The padding mode.
        seed: Of the initial weights and the order of the data.
        size: Side of the network's input, pixels. At 129, padding is even.
    """

    lights: Lights
    mode: str
    seed: int
    size: int = RECIPE.size

    @property
    def key(self) -> str:
        """Its key in the results."""
        return f'{self.lights.name}_{self.mode}_{self.size}_seed{self.seed}'

    @property
    def epochs(self) -> tuple[int, ...]:
        """The epochs to train for, and those of a second try."""
        return EPOCHS[1:] if self.lights == UNIFORM else EPOCHS

    @property
    def test_modes(self) -> tuple[str, ...]:
        """The modes that it is tested in: all, or where the set is a variant of another, three."""
        if self.lights in (CENTRE, UNIFORM):
            return MODES
        return tuple(mode for mode in MODES if mode in (self.mode, 'reflect', 'circular'))


def grid() -> Iterator[Cell]:
    """All trainings, the ones that tell most first: zeros, one seed of everything, then the others."""
    both = (CENTRE, UNIFORM)
    others = ('circular', 'reflect', 'replicate', 'partial', 'symmetric')
    variants = (*MARGINS, DOSES[-1], UPPER, *DOSES)
    found = [Cell(lights, 'zeros', seed) for seed in range(3) for lights in both]
    found += (Cell(lights, mode, 0) for mode in others[:2] for lights in both)
    found += (Cell(lights, 'zeros', 0) for lights in variants)
    found += (Cell(lights, mode, 0) for mode in others for lights in both)
    found += (Cell(lights, 'zeros', seed) for seed in (3, 4) for lights in both)
    for seed in (1, 2):
        found += (Cell(lights, mode, seed) for mode in others for lights in both)
        found += (Cell(lights, 'zeros', seed) for lights in variants)
    even = [
        [Cell(lights, mode, seed, EVEN_SIZE) for mode in ('zeros', 'reflect') for lights in both]
        for seed in range(3)
    ]
    found += even[0]
    found += (Cell(lights, mode, seed) for seed in (3, 4) for mode in others for lights in both)
    found += even[1] + even[2]
    yield from dict.fromkeys(found)
