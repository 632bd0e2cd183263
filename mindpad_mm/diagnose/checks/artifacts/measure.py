"""Border artifacts: how much the response of each layer differs at the border and inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from mindpad_mm.core.names import ModeSpec
from mindpad_mm.core.tables import Table
from mindpad_mm.diagnose.border_bias import SIDES, BorderMoments
from mindpad_mm.diagnose.checks.artifacts.layer_response import INPUTS, LayerResponse
from mindpad_mm.diagnose.checks.artifacts.padding_aware import BorderSample, padding_aware
from mindpad_mm.diagnose.checks.artifacts.plot import draw_artifacts
from mindpad_mm.diagnose.inputs import cover, photos_or_streets, random_images
from mindpad_mm.diagnose.maps import own_mode, short_name, visit_maps
from mindpad_mm.diagnose.progress import steps
from mindpad_mm.diagnose.result import Diagnosis
from mindpad_mm.diagnose.subject import Subject
from mindpad_mm.padding.modes import describe, get_modes

STREETS = 4
_WORTHWHILE = 0.7


@dataclass
class Artifacts(Diagnosis):
    """How much feature maps differ between border and interior, layer by layer.

    Attributes:
        responses: By padding mode, the network's own first; layers in order of execution.
        input_size: (height, width), pixels.
        photos: Number of photos or drawn streets.
        drawn: Whether the photos are drawn streets.
    """

    check: ClassVar[str] = 'artifacts'
    title: ClassVar[str] = 'Border artifacts in feature maps'
    worth: ClassVar[str] = (
        'Of zeros-padded detectors, padding loss follows the difference on photos (Spearman .62 '
        '[.22, .86] over 22 trainings). Across 294 pairs of training and test mode, that on photos '
        'predicts nothing (-.13 [-.30, .01]), that on random inputs a little (.20 [.06, .33]).'
    )

    responses: dict[str, list[LayerResponse]]
    input_size: tuple[int, int]
    photos: int
    drawn: bool

    @property
    def own(self) -> str:
        """The network's own padding mode."""
        return next(iter(self.responses))

    def summary(self, mode: str) -> dict[str, Any]:
        """Statistics of one mode over all layers.

        Returns:
            ``mean`` and ``largest`` index on random inputs, with ``layer`` and ``side`` of the
            largest; ``first`` and ``last``, means over the first and last third of the layers;
            ``aware``, the number of padding-aware channels among ``channels``. Indices are None if
            no layer has an interior.
        """
        layers = [(r.overall(), r) for r in self.responses[mode] if r.overall() is not None]
        counted = [r for r in self.responses[mode] if r.aware is not None]
        statistics: dict[str, Any] = dict.fromkeys(
            ('mean', 'first', 'last', 'largest', 'layer', 'side')
        )
        statistics['aware'] = sum(r.aware for r in counted)
        statistics['channels'] = sum(r.shape[0] for r in counted)
        if layers:
            values = [value for value, _ in layers]
            third = -(-len(values) // 3)
            worst = max(layers, key=lambda pair: max(pair[1].bias['random'].values()))[1]
            side, largest = max(worst.bias['random'].items(), key=lambda item: item[1])
            statistics.update(
                mean=float(np.mean(values)),
                first=float(np.mean(values[:third])),
                last=float(np.mean(values[-third:])),
                largest=largest,
                layer=worst.name,
                side=side,
            )
        return statistics

    def table(self) -> Table:
        def cell(value: float | None, form: str = '.2f') -> str:
            return '-' if value is None else format(value, form)

        others = list(self.responses)[1:]
        columns = ['layer', 'map', *(f'mean {kind}' for kind in INPUTS), *SIDES, 'all']
        columns += ['photos', 'aware', *(f'all, {mode}' for mode in others)]
        rows = []
        for index, layer in enumerate(self.responses[self.own]):
            channels, height, width = layer.shape
            aware = '-' if layer.aware is None else f'{layer.aware} / {channels}'
            rows.append(
                [
                    short_name(layer.name, 32),
                    f'{channels} x {height} x {width}',
                    *(cell(layer.mean[kind], '.3g') for kind in INPUTS),
                    *(cell(layer.bias['random'][side]) for side in SIDES),
                    cell(layer.overall()),
                    cell(layer.overall('photos')),
                    aware,
                    *(cell(self.responses[mode][index].overall()) for mode in others),
                ]
            )
        return Table(
            columns,
            rows,
            f'Mean response to three inputs; border-bias index (padding {self.own}, random inputs) '
            'by side, in interior standard deviations; padding-aware channels',
        )

    def plot(self) -> Figure:
        return draw_artifacts(self.title, self.input_size, self.responses)

    def to_json(self) -> dict[str, Any]:
        return {
            'input_size': list(self.input_size),
            'photos': self.photos,
            'drawn_photos': self.drawn,
            'own_mode': self.own,
            'modes': {
                mode: {
                    'summary': self.summary(mode),
                    'layers': [
                        {
                            'name': layer.name,
                            'shape': list(layer.shape),
                            'mean_response': layer.mean,
                            'border_bias': layer.bias,
                            'border_bias_overall': {kind: layer.overall(kind) for kind in INPUTS},
                            'padding_aware_channels': layer.aware,
                        }
                        for layer in layers
                    ],
                }
                for mode, layers in self.responses.items()
            },
        }

    def advice(self) -> str:
        own = self.summary(self.own)
        if own['mean'] is None:
            return 'No layer has a map of 3 x 3 cells or more, so no border can be measured.'
        text = (
            f'With {self.own} padding, the outermost rows and columns differ by {own["mean"]:.2f} '
            f'standard deviations from the interior on average, at most by {own["largest"]:.2f} '
            f'({own["layer"]}, {own["side"]}); by {own["first"]:.2f} in the first third of the '
            f'layers and by {own["last"]:.2f} in the last. '
        )
        if own['channels']:
            share = own['aware'] / own['channels']
            text += (
                f'{own["aware"]} of {own["channels"]} channels ({share:.0%}) are padding-aware: their '
                'responses alone separate border and interior. '
            )
        for mode in list(self.responses)[1:]:
            other = self.summary(mode)
            change = other['mean'] / own['mean'] - 1 if own['mean'] else 0.0
            text += (
                f'With {mode} padding and the same weights, the average is {other["mean"]:.2f} '
                f'({change:+.0%}), with {other["aware"]} padding-aware channels. '
            )
        means = {mode: self.summary(mode)['mean'] for mode in self.responses}
        best = min(means, key=means.get)
        if best != self.own and means[best] < _WORTHWHILE * own['mean']:
            text += f'Most of the difference is due to {self.own} padding. '
        elif best == self.own and len(means) > 1:
            text += f'Of these modes, {best} has the smallest difference. '
        return text.strip()

    def finding(self) -> str:
        own = self.summary(self.own)
        if not own['channels'] or self.own == 'none':
            return ''
        share = own['aware'] / own['channels']
        return (
            f'With {self.own} padding, {share:.0%} of its channels tell border from interior by their '
            f'responses alone.'
        )


def check_artifacts(
    subject: Subject,
    photos: Sequence[np.ndarray] = (),
    modes: Sequence[ModeSpec] | None = None,
    random_inputs: int = 8,
    layers: Sequence[str] = ('*',),
    seed: int = 0,
) -> Artifacts:
    """Compare the responses of each layer at the border and inside, to three kinds of input.

    The inputs are a zero image (zeros after normalisation), random images and photos.
    Source: Alsallakh et al., Mind the Pad, ICLR 2021, section 3.

    Args:
        subject: The network.
        photos: (H, W, 3) uint8 BGR, scaled to fill the input; default four drawn streets.
        modes: Padding modes to compare with the network's own, on the same weights. Default:
            reflect; zeros for a network that has reflect.
        random_inputs: Number of random images; more reduce noise on small maps.
        layers: fnmatch patterns for qualified layer names.
        seed: Seed of random images and streets.

    Raises:
        UserError: An unknown mode, no layer matches, or modes are given for a network in which no
            layer pads.
    """
    own = own_mode(subject.model) or 'none'
    if modes is None:
        modes = () if own == 'none' else ('zeros',) if own == 'reflect' else ('reflect',)
    streets = photos_or_streets(photos, subject.input_size, STREETS, seed)
    images = {
        'random': random_images(subject.input_size, random_inputs, seed),
        'photos': [cover(photo, subject.input_size)[0] for photo in streets],
    }
    names = [describe(get_modes(mode)) for mode in modes]
    padded = {name: subject.padded_by(mode) for name, mode in zip(names, modes) if name != own}
    responses = {
        name: _responses(network, images, layers)
        for name, network in {own: subject, **padded}.items()
    }
    return Artifacts(responses, subject.input_size, len(streets), not len(photos))


@dataclass
class _Visit:
    """What is stored of one layer's map of one image."""

    shape: tuple[int, int, int]
    mean_map: Tensor
    moments: BorderMoments | None
    sample: BorderSample | None

    @classmethod
    def of(cls, _name: str, maps: Tensor) -> _Visit:
        return cls(
            tuple(maps.shape[1:]), maps[0].mean(0), BorderMoments.of(maps), BorderSample.of(maps)
        )


def _responses(
    subject: Subject, images: dict[str, list[np.ndarray]], layers: Sequence[str]
) -> list[LayerResponse]:
    # One image at a time, because the maps of a detector need much memory.
    batches = {
        kind: [subject.preprocess([image]) for image in group] for kind, group in images.items()
    }
    batches['zero'] = [batches['random'][0] * 0]
    visits: dict[str, list[dict[str, _Visit]]] = {kind: [] for kind in INPUTS}
    work = [(kind, batch) for kind in INPUTS for batch in batches[kind]]
    for kind, batch in steps(work, f'images, {subject.name}'):
        visits[kind].append(visit_maps(subject, batch, _Visit.of, layers))
    return [
        _response(name, {k: [v[name] for v in visits[k]] for k in INPUTS})
        for name in visits['zero'][0]
    ]


def _response(name: str, visits: dict[str, list[_Visit]]) -> LayerResponse:
    first = visits['zero'][0]
    maps = {
        kind: np.mean([v.mean_map.cpu().numpy() for v in group], 0, dtype=np.float64)
        for kind, group in visits.items()
    }
    bias: dict[str, dict[str, float | None]] = dict.fromkeys(INPUTS, dict.fromkeys(SIDES))
    aware = None
    if first.moments is not None:
        merged = {kind: BorderMoments.merged([v.moments for v in g]) for kind, g in visits.items()}
        spread = merged['random'].variance()
        bias = {k: m.bias(spread if k == 'zero' else None) for k, m in merged.items()}
        aware = padding_aware([visit.sample for visit in visits['random']])
    means = {kind: float(values.mean()) for kind, values in maps.items()}
    return LayerResponse(name, first.shape, means, bias, aware, maps)
