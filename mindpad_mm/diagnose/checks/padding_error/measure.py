"""Padding error: the maps of a padded crop compared with those of the uncropped photo."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from matplotlib.figure import Figure

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.names import ModeSpec
from mindpad_mm.core.tables import Table
from mindpad_mm.diagnose.border_bias import SIDES
from mindpad_mm.diagnose.checks.padding_error.alignment import aligned_margin, blank, map_size
from mindpad_mm.diagnose.checks.padding_error.deviation import NOTICEABLE, DeviationSums, LayerError
from mindpad_mm.diagnose.checks.padding_error.plot import draw_padding_error
from mindpad_mm.diagnose.inputs import cover, photos_or_streets
from mindpad_mm.diagnose.maps import own_mode, visit_maps
from mindpad_mm.diagnose.progress import steps
from mindpad_mm.diagnose.result import Diagnosis
from mindpad_mm.diagnose.subject import Subject
from mindpad_mm.diagnose.tracing import without_numbers
from mindpad_mm.padding.modes import describe, get_modes, swappable_modes

MARGIN = 128
"""Minimum pixels of photo around the crop; at this distance padding has hardly any effect."""
SMALLEST = 4
"""Minimum number of cells along an axis; smaller maps consist of border only."""
STREETS = 4
_MOST_ENLARGED = 2.5


@dataclass
class PaddingError(Diagnosis):
    """Deviation from the uncropped photo by padding mode, and the ranking of the modes.

    Attributes:
        layers: In order of execution.
        modes: The modes compared.
        own: The network's own mode; None if no layer pads.
        input_size: (height, width), pixels.
        margin: Pixels of photo on each side of the crop.
        scales: The factor by which each photo was scaled to fill the input and margins.
        drawn: Whether the photos are drawn streets.
        left_out: Names of layers that are not in ``layers``, with the reason.
    """

    check: ClassVar[str] = 'padding_error'
    title: ClassVar[str] = 'Padding error: deviation from the uncropped photo'
    worth: ClassVar[str] = (
        'This ranking of modes predicts nothing: over 294 pairs of training and test mode, it does not '
        'follow padding loss (Spearman -.06 [-.22, .08]). Of zeros-padded detectors as they are, padding '
        'loss follows the error (.73 [.40, .90] over 22 trainings).'
    )

    layers: list[LayerError]
    modes: list[str]
    own: str | None
    input_size: tuple[int, int]
    margin: int
    scales: list[float]
    drawn: bool
    left_out: dict[str, str] = field(default_factory=dict)

    def by_photo(self, mode: str) -> np.ndarray:
        """(P,) deviation in the outermost ring of cells, mean over layers, for each photo."""
        return np.mean([layer.photos[mode] for layer in self.layers], 0)

    def score(self, mode: str) -> float:
        """The ranking criterion: deviation in the outermost ring, mean over layers and photos."""
        return float(self.by_photo(mode).mean())

    def ranking(self) -> list[str]:
        """The modes, smallest deviation first."""
        return sorted(self.modes, key=self.score)

    def lead(self, better: str, worse: str) -> tuple[float, float | None]:
        """The difference in deviation between two modes on the same photos.

        Returns:
            The mean difference, and its standard error over photos (None for a single photo).
        """
        leads = self.by_photo(worse) - self.by_photo(better)
        if len(leads) < 2:
            return float(leads.mean()), None
        return float(leads.mean()), float(leads.std(ddof=1) / math.sqrt(len(leads)))

    def inside(self, mode: str) -> float:
        """Deviation in the cells furthest from the border, mean over layers."""
        return float(np.mean([layer.rings(mode)[-1] for layer in self.layers]))

    def table(self) -> Table:
        columns = ['padding', 'at the border', '2 cells in', 'innermost', *SIDES, 'worst layer']
        rows = []
        for mode in self.ranking():
            spread = self.by_photo(mode)
            error = (
                f' ± {spread.std(ddof=1) / math.sqrt(len(spread)):.3f}' if spread[1:].size else ''
            )
            worst = max(self.layers, key=lambda layer: layer.rings(mode)[0])
            second = [layer.rings(mode)[2] for layer in self.layers if len(layer.rings(mode)) > 2]
            sides = [
                np.mean([layer.sides(mode)[side][0] for layer in self.layers]) for side in SIDES
            ]
            rows.append(
                [
                    f'{mode} (own)' if mode == self.own else mode,
                    f'{self.score(mode):.3f}{error}',
                    f'{np.mean(second):.3f}' if second else '-',
                    f'{self.inside(mode):.3f}',
                    *(f'{side:.3f}' for side in sides),
                    f'{worst.rings(mode)[0]:.2f} {worst.name}',
                ]
            )
        return Table(
            columns,
            rows,
            f'Deviation from the uncropped photo in standard deviations, mean over '
            f'{len(self.layers)} layers; {len(self.scales)} photos, margin {self.margin} px',
        )

    def plot(self) -> Figure:
        return draw_padding_error(
            f'{self.title}, input {self.input_size[0]} x {self.input_size[1]}',
            self.layers,
            {mode: self.by_photo(mode) for mode in self.modes},
            self.ranking(),
            self.own,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            'input_size': list(self.input_size),
            'margin': self.margin,
            'photo_scales': self.scales,
            'drawn_photos': self.drawn,
            'own_mode': self.own,
            'ranking': [
                {
                    'mode': mode,
                    'deviation': self.score(mode),
                    'by_photo': self.by_photo(mode).tolist(),
                    'innermost': self.inside(mode),
                }
                for mode in self.ranking()
            ],
            'layers': [
                {
                    'name': layer.name,
                    'map': list(layer.size),
                    'stride': list(layer.stride),
                    'by_distance': {mode: layer.rings(mode).tolist() for mode in self.modes},
                    'by_side': {
                        mode: {side: line.tolist() for side, line in layer.sides(mode).items()}
                        for mode in self.modes
                    },
                    'reach': {mode: layer.reach(mode) for mode in self.modes},
                }
                for layer in self.layers
            ],
            'left_out': self.left_out,
        }

    def advice(self) -> str:
        ranking = self.ranking()
        best, worst = ranking[0], ranking[-1]
        what = f'{len(self.scales)} {"drawn street" if self.drawn else "photo"}'
        what += 's' if len(self.scales) > 1 else ''
        text = (
            f'On {what}, {best} padding is nearest to the real continuation '
            f'beyond the border ({self.score(best):.2f} standard deviations in the outermost cells), '
            f'{worst} is furthest ({self.score(worst):.2f}). '
        )
        equals = [mode for mode in ranking[1:] if not self._clear(best, mode)]
        if equals:
            text += f'These images do not separate {" and ".join(equals)} from {best}. '
        if self.own in ranking:
            text += self._own_mode(best)
        if self.inside(best) > NOTICEABLE:
            text += (
                f'The innermost cells still deviate by {self.inside(best):.2f}: padding reaches all '
                'cells of small maps, or some layer reads the whole image. '
            )
        if self.drawn:
            text += (
                'Use your own photos: the ranking depends on the data as well as on the network.'
            )
        return text.strip()

    def _own_mode(self, best: str) -> str:
        if best == self.own or not self._clear(best, self.own):
            return f'The network has {self.own}. '
        share = 1 - self.score(best) / self.score(self.own)
        own = f'{self.own} ({self.score(self.own):.2f})'
        return f'The network has {own}; {best} deviates {share:.0%} less. '

    def _clear(self, better: str, worse: str) -> bool:
        """Whether the difference is larger than twice its standard error."""
        lead, error = self.lead(better, worse)
        return lead > 0 if error is None else lead > 2 * error


def check_padding_error(
    subject: Subject,
    photos: Sequence[np.ndarray] = (),
    modes: Sequence[ModeSpec] | None = None,
    margin: int = MARGIN,
    layers: Sequence[str] = ('*',),
    seed: int = 0,
) -> PaddingError:
    """Measure the error that padding causes in feature maps of photos, without retraining.

    Each photo is scaled to fill the input and a margin on every side, keeping the aspect ratio. The
    network runs once on the whole photo, and in each padding mode on the input-sized crop from its
    centre. The maps are compared cell by cell: they deviate where the padding differs from the real
    surroundings of the crop. The crop starts at a multiple of the network's total stride, so that
    the cells of every layer are aligned.

    The run on the whole photo also pads at its border, in the network's own mode. This affects
    layers whose receptive field is larger than the margin, but it decays as fast as the deviation.

    Args:
        subject: The network.
        photos: (H, W, 3) uint8 BGR, preferably larger than the input with margins. Default: drawn
            streets.
        modes: Padding modes to compare on the same weights; default all registered modes.
        margin: Minimum margin on each side, pixels; rounded up to a multiple of the total stride.
        layers: fnmatch patterns for qualified layer names. Maps of fewer than 4 cells along an
            axis are left out, and so are layers whose map does not grow with the input.
        seed: Seed of the streets.

    Raises:
        UserError: A photo would have to be enlarged more than 2.5 times, no layer pads, an unknown
            mode or layer, or the network runs at one input size only.
    """
    specs = sorted(swappable_modes()) if modes is None else list(modes)
    names = [describe(get_modes(spec)) for spec in specs]
    networks = {name: subject.padded_by(spec) for name, spec in zip(names, specs)}
    bare = Subject(without_numbers(subject.model), subject.input_size, subject.name)
    shapes = visit_maps(bare, blank(bare, 0), map_size, layers)
    left_out = {
        name: f'its map of {h} x {w} cells has no interior'
        for name, (h, w) in shapes.items()
        if min(h, w) < SMALLEST
    }
    wanted = {name: shape for name, shape in shapes.items() if name not in left_out}
    if not wanted:
        raise UserError(
            f'no layer of {subject.name} has a map of {SMALLEST} x {SMALLEST} cells or more at an '
            f'input of {subject.input_size[0]} x {subject.input_size[1]}: use a larger input size'
        )
    margin, strides = aligned_margin(bare, wanted, margin, layers, left_out)
    window = tuple(side + 2 * margin for side in subject.input_size)
    scenes = [cover(photo, window) for photo in photos_or_streets(photos, window, STREETS, seed)]
    for photo, (_, scale) in zip(photos, scenes):
        if scale > _MOST_ENLARGED:
            raise UserError(
                f'a photo of {photo.shape[0]} x {photo.shape[1]} pixels (h x w) is too small to cut '
                f'{window[0]} x {window[1]} from (the input and {margin} on each side): use larger '
                'photos or a smaller input size'
            )
    sums = DeviationSums(strides, margin)
    for scene, _ in steps(scenes, 'photos'):
        sums.start_photo()
        visit_maps(subject, subject.preprocess([scene]), sums.add_truth, layers)
        height, width = subject.input_size
        crop = scene[margin : margin + height, margin : margin + width]
        batch = subject.preprocess([np.ascontiguousarray(crop)])
        for name, network in networks.items():
            visit_maps(network, batch, sums.adder(name), layers)
    errors = sums.errors(names, left_out)
    if not errors:
        raise UserError(
            f'no layer of {subject.name} responds to these photos: all maps are constant'
        )
    return PaddingError(
        errors,
        names,
        own_mode(subject.model),
        subject.input_size,
        margin,
        [scale for _, scale in scenes],
        not len(photos),
        left_out,
    )
