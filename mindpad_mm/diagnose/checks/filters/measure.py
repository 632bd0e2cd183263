"""Whether mean filters are asymmetric, in particular where padding is uneven."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from matplotlib.figure import Figure
from scipy import stats
from torch import nn

from mindpad_mm.core.tables import Table
from mindpad_mm.diagnose.checks.filters.asymmetry import (
    CHANCE_QUANTILE,
    LayerFilters,
    asymmetry,
    chance,
)
from mindpad_mm.diagnose.checks.filters.plot import draw_filters
from mindpad_mm.diagnose.result import Diagnosis
from mindpad_mm.diagnose.strides import strided_layers
from mindpad_mm.diagnose.subject import Subject
from mindpad_mm.diagnose.tracing import ITSELF, ShapeRunner

_UNLIKELY = 0.05


def check_filters(subject: Subject) -> FilterAsymmetry:
    """Measure the mean filter of every convolution whose kernel is larger than 1 x 1.

    Args:
        subject: The network.

    Raises:
        UserError: The network cannot run at its input size.

    Source: Mind the Pad (ICLR 2021), figures of mean filters at strided layers.
    """
    trace = ShapeRunner(subject).run(subject.input_size)
    uneven: dict[str, tuple[bool, bool]] = {}
    for strided in strided_layers(trace):
        uneven.setdefault(strided.slide.layer.split('#')[0], tuple(not e for e in strided.even))
    layers = []
    for name, module in subject.model.named_modules():
        if not isinstance(module, nn.Conv2d) or max(module.kernel_size) == 1:
            continue
        with torch.no_grad():
            filters = module.weight.double().mean(1).cpu().numpy()
        mean = filters.mean(0)
        values = asymmetry(mean, 1), asymmetry(mean, 0), chance(filters, 1), chance(filters, 0)
        name = name or ITSELF
        layers.append(LayerFilters(name, mean, *values, uneven.get(name, (False, False))))
    return FilterAsymmetry(Path(subject.name).name, layers)


@dataclass
class FilterAsymmetry(Diagnosis):
    """The asymmetry of each mean filter.

    Attributes:
        name: Name of the network.
        layers: Its convolutions, in the order of ``named_modules``.
    """

    check: ClassVar[str] = 'filters'
    title: ClassVar[str] = 'Filter asymmetry'

    name: str
    layers: list[LayerFilters]

    def leaning_by_chance(self) -> float:
        """The probability that as many filters are asymmetric along unevenly padded axes by chance."""
        pairs = [
            leans
            for layer in self.layers
            for leans, uneven, value in zip(layer.leaning, layer.uneven, (layer.y, layer.x))
            if uneven and value is not None
        ]
        return float(stats.binom.sf(sum(pairs) - 1, len(pairs), 1 - CHANCE_QUANTILE))

    def table(self) -> Table:
        columns = ['layer', 'kernel', 'x (by chance)', 'y (by chance)', 'pads', 'filters']
        rows = []
        for layer in self.layers:
            values = (layer.x, layer.chance_x), (layer.y, layer.chance_y)
            lean = ' and '.join(a for a, leans in zip('yx', layer.leaning) if leans)
            verdict = f'asymmetric along {lean}' if lean else ''
            rows.append(
                [
                    layer.layer,
                    f'{layer.mean.shape[0]} x {layer.mean.shape[1]}',
                    *(
                        '-' if x is None else f'{x:.3f} ({by_chance:.3f})'
                        for x, by_chance in values
                    ),
                    'unevenly' if any(layer.uneven) else '',
                    f'{verdict} (!)' if layer.flagged else verdict,
                ]
            )
        title = 'Asymmetry of mean filters: 0 symmetric, 1 antisymmetric; by chance: '
        return Table(columns, rows, f'{title}95 % quantile without a preferred side')

    def plot(self) -> Figure:
        return draw_filters(self.name, self.layers)

    def to_json(self) -> dict[str, Any]:
        return {
            'layers': [
                {
                    'layer': layer.layer, 'mean_filter': layer.mean.tolist(),
                    'asymmetry': {'x': layer.x, 'y': layer.y},
                    'by_chance': {'x': layer.chance_x, 'y': layer.chance_y},
                    'uneven': {'x': layer.uneven[1], 'y': layer.uneven[0]},
                    'flagged': layer.flagged,
                }
                for layer in self.layers
            ]
        }  # fmt: skip

    def advice(self) -> str:
        uneven = [layer for layer in self.layers if any(layer.uneven)]
        flagged = [layer.layer for layer in uneven if layer.flagged]
        others = [layer for layer in self.layers if not any(layer.uneven)]
        leaning = sum(any(layer.leaning) for layer in others)
        if flagged:
            names = ', '.join(flagged[:4]) + (', ...' if len(flagged) > 4 else '')
            text = (
                f'Convolutions that pad unevenly and have asymmetric filters along that axis: '
                f'{len(flagged)} of {len(uneven)} ({names}). '
            )
            if self.leaning_by_chance() < _UNLIKELY:
                text += 'These are more than by chance: uneven padding has shaped them.'
            else:
                text += 'This can be due to chance.'
        elif uneven:
            count = '1 convolution pads' if len(uneven) == 1 else f'{len(uneven)} convolutions pad'
            text = f'{count} unevenly; no filters there are more asymmetric than by chance.'
        else:
            text = 'No convolution pads unevenly at this size.'
        return (
            f'{text} {"Of the other convolutions" if uneven else "Of all convolutions"}, {leaning} of '
            f'{len(others)} have asymmetric filters; one in twenty per axis is expected by chance.'
        )
