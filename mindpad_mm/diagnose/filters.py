"""Whether a network's filters lean to one side, and whether they do where padding is uneven."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import stats
from torch import nn

from mindpad_mm.core.style import ACCENT
from mindpad_mm.core.tables import Table
from mindpad_mm.diagnose.maps import short_name
from mindpad_mm.diagnose.result import Diagnosis
from mindpad_mm.diagnose.strides import strided_layers
from mindpad_mm.diagnose.subject import Subject
from mindpad_mm.diagnose.tracing import ITSELF, ShapeRunner

_DRAWS = 400
_CHANCE = 0.95
_UNLIKELY = 0.05
_SHOWN = 48
_ACROSS = 12


def asymmetry(mean: np.ndarray, axis: int) -> float | None:
    """How far a filter is from its own mirror image: sum |m - mirrored m| / (2 sum |m|).

    Args:
        mean: (kernel height, kernel width).
        axis: 0 mirrors top and bottom (y), 1 left and right (x).

    Returns:
        From 0, a mirror image of itself, to 1, the negative of its mirror image; of no scale. None of a
        filter of one cell along this axis, or of zeros.
    """
    total = np.abs(mean).sum()
    if mean.shape[axis] == 1 or not total:
        return None
    return float(np.abs(mean - np.flip(mean, axis)).sum() / (2 * total))


def chance(filters: np.ndarray, axis: int) -> float | None:
    """The asymmetry that the same filters would reach if neither side were preferred.

    Each output channel's filter is mirrored or not at random, again and again; 95 % of the means come out
    below this.

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
    return float(np.quantile([value or 0.0 for value in drawn], _CHANCE))


@dataclass(frozen=True)
class LayerFilters:
    """The mean filter of a convolution.

    Attributes:
        layer: Qualified name.
        mean: (kernel height, kernel width), over all input and output channels.
        x, y: :func:`asymmetry` left to right and top to bottom; None along an axis of one cell.
        chance_x, chance_y: What :func:`chance` would give.
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
        """Along (y, x), whether the filters lean more than by chance."""
        pairs = (self.y, self.chance_y), (self.x, self.chance_x)
        return tuple(value is not None and value > by_chance for value, by_chance in pairs)

    @property
    def flagged(self) -> bool:
        """Whether they lean along an axis on which the layer pads unevenly."""
        return any(lean and uneven for lean, uneven in zip(self.leaning, self.uneven))


def check_filters(subject: Subject) -> FilterAsymmetry:
    """Measure the mean filter of every convolution whose kernel is larger than 1 x 1.

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
        figures = asymmetry(mean, 1), asymmetry(mean, 0), chance(filters, 1), chance(filters, 0)
        name = name or ITSELF
        layers.append(LayerFilters(name, mean, *figures, uneven.get(name, (False, False))))
    return FilterAsymmetry(Path(subject.name).name, layers)


@dataclass
class FilterAsymmetry(Diagnosis):
    """How far mean filters are from their mirror images.

    Attributes:
        name: Of the network.
        layers: Its convolutions, in the order of ``named_modules``.
    """

    check: ClassVar[str] = 'filters'
    title: ClassVar[str] = 'Filter asymmetry'

    name: str
    layers: list[LayerFilters]

    def leaning_by_chance(self) -> float:
        """The probability of as many filters leaning along axes of uneven padding by chance."""
        pairs = [
            leans
            for layer in self.layers
            for leans, uneven, value in zip(layer.leaning, layer.uneven, (layer.y, layer.x))
            if uneven and value is not None
        ]
        return float(stats.binom.sf(sum(pairs) - 1, len(pairs), 1 - _CHANCE))

    def table(self) -> Table:
        columns = ['layer', 'kernel', 'x (by chance)', 'y (by chance)', 'pads', 'filters']
        rows = []
        for layer in self.layers:
            figures = (layer.x, layer.chance_x), (layer.y, layer.chance_y)
            lean = ' and '.join(a for a, leans in zip('yx', layer.leaning) if leans)
            verdict = f'lean along {lean}' if lean else ''
            rows.append(
                [
                    layer.layer,
                    f'{layer.mean.shape[0]} x {layer.mean.shape[1]}',
                    *(
                        '-' if x is None else f'{x:.3f} ({by_chance:.3f})'
                        for x, by_chance in figures
                    ),
                    'unevenly' if any(layer.uneven) else '',
                    f'{verdict} (!)' if layer.flagged else verdict,
                ]
            )
        title = 'Asymmetry of mean filters: 0 a mirror image of itself, 1 its negative; by chance: '
        return Table(columns, rows, f'{title}95 % of filters without a preference stay below')

    def plot(self) -> Figure:
        shown = self.layers[:_SHOWN]
        rows = max(-(-len(shown) // _ACROSS), 1)
        figure = Figure((13.2, 1.25 * rows + 3.6), layout='constrained')
        FigureCanvasAgg(figure)
        more = f' (the first {_SHOWN} of {len(self.layers)})' if len(self.layers) > _SHOWN else ''
        figure.suptitle(f'Mean filters, {self.name}{more}', fontsize=13)
        upper, lower = figure.subfigures(2, 1, height_ratios=[1.25 * rows, 3.0])
        grid = upper.subplots(rows, _ACROSS, squeeze=False)
        for axes in grid.flat:
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        for number, (axes, layer) in enumerate(zip(grid.flat, shown), 1):
            _draw_filter(axes, layer, number)
        upper.supxlabel(
            'each on its own scale: brown below 0, green above; framed: strided and padded unevenly',
            fontsize=9,
        )
        self._draw_figures(lower.subplots())
        return figure

    def _draw_figures(self, axes: Axes) -> None:
        numbers = np.arange(1, len(self.layers) + 1)
        series = (('x', 'chance_x', -0.2, '#2f6db3'), ('y', 'chance_y', 0.2, '#8a8f98'))
        for name, by_chance, shift, colour in series:
            values = [getattr(layer, name) or 0.0 for layer in self.layers]
            limits = [getattr(layer, by_chance) or np.nan for layer in self.layers]
            axes.bar(numbers + shift, values, 0.38, color=colour, label=f'along {name}')
            label = 'by chance (95 %)' if name == 'x' else None
            axes.plot(numbers + shift, limits, 'k_', ms=8, mew=1.4, label=label)
        for number, layer in zip(numbers, self.layers):
            if any(layer.uneven):
                axes.axvspan(number - 0.5, number + 0.5, color=ACCENT, alpha=0.13, lw=0)
        axes.set_xlim(0.4, len(self.layers) + 0.6)
        axes.set_ylim(0, 1.02)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel('convolution; shaded: strided and padded unevenly', fontsize=9)
        axes.set_ylabel('asymmetry', fontsize=9)
        axes.tick_params(labelsize=8)
        axes.spines[['top', 'right']].set_visible(False)
        axes.legend(fontsize=8, loc='center left', bbox_to_anchor=(1.0, 0.5), frameon=False)

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
                f'Convolutions that pad unevenly and whose filters lean to one side along that axis: '
                f'{len(flagged)} of {len(uneven)} ({names}). '
            )
            if self.leaning_by_chance() < _UNLIKELY:
                text += 'That is more than by chance: train at a size that is even throughout.'
            else:
                text += 'So few can be chance.'
        elif uneven:
            count = '1 convolution pads' if len(uneven) == 1 else f'{len(uneven)} convolutions pad'
            text = f'{count} unevenly; no filters there lean to one side more than by chance.'
        else:
            text = 'No convolution pads unevenly at this size.'
        return (
            f'{text} {"Among the others, filters" if uneven else "Filters"} lean in {leaning} of '
            f'{len(others)}; along either axis one in twenty would by chance.'
        )


def _draw_filter(axes: Axes, layer: LayerFilters, number: int) -> None:
    limit = np.abs(layer.mean).max() or 1.0
    axes.imshow(layer.mean, 'BrBG', vmin=-limit, vmax=limit)
    axes.set_title(
        f'{number}: {_shortest(layer.layer)}',
        fontsize=7,
        color=ACCENT if layer.flagged else 'black',
    )
    if any(layer.uneven):
        axes.spines[:].set_visible(True)
        axes.spines[:].set(color=ACCENT, linewidth=2.5)


def _shortest(name: str) -> str:
    """What tells a layer from its neighbours, at most 14 characters."""
    for part in ('backbone.', 'features.', 'bbox_head.', 'neck.'):
        name = name.replace(part, '')
    if name.endswith('.conv'):  # of mmcv's ConvModule, all of them
        name = name[: -len('.conv')]
    return short_name(name, 14)
