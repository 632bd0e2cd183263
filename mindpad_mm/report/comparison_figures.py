"""Pictures of a comparison: precision by place, and differences with their intervals."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from mindpad_mm.evaluation.comparison import Comparison, Figure

# Paul Tol's bright scheme: told apart with any colour vision.
COLOURS = ('#4477aa', '#ee6677', '#228833', '#ccbb44', '#66ccee', '#aa3377', '#bbbbbb')
_MARKS = 'osD^vP*X'


def draw_places(comparison: Comparison, names: Mapping[str, str]) -> Picture:
    """mAP by zone on the left, by distance to the border on the right, a line an entry.

    Bars are the 95 % intervals of each value by itself; for differences they are too wide, as the
    entries share their images.

    Args:
        comparison: What to draw.
        names: (key -> name) of the figures; those of regions are drawn.
    """
    picture = Picture((11, 4.2), layout='constrained')
    zones, borders = picture.subplots(1, 2, sharey=True)
    _draw_lines(zones, comparison, [key for key in names if re.match(r'zone\d', key)])
    _draw_lines(borders, comparison, [key for key in names if key.startswith('border')])
    zones.set(xlabel='zone of the object, outermost first (objects)', ylabel='mAP')
    borders.set_xlabel('pixels from the object to the nearest border (objects)')
    zones.set_ylim(bottom=0)
    handles, labels = zones.get_legend_handles_labels()
    picture.legend(
        handles, labels, loc='outside lower center', ncols=min(4, len(labels)), frameon=False
    )
    return picture


def draw_differences(comparison: Comparison, names: Mapping[str, str]) -> Picture:
    """Every entry's differences to the reference with their 95 % intervals; grey around 0.

    Args:
        comparison: Of at least two entries.
        names: (key -> name) of the figures, rows from the top.
    """
    others = comparison.entries[1:]
    keys = [
        key
        for key in names
        # A variance is of another size than the APs that it is of.
        if key != 'zone_var' and any(e.differences[key].value is not None for e in others)
    ]
    step = 0.8 / len(others)
    height = max(3.0, 0.9 + len(keys) * max(0.26, 0.13 * len(others)))
    picture = Picture((11, height + 0.5), layout='constrained')
    axes = picture.subplots()
    axes.axvline(0, color='#888', linewidth=1)
    for index, entry in enumerate(others):
        at = np.arange(len(keys)) + (index - (len(others) - 1) / 2) * step
        figures = [entry.differences[key] for key in keys]
        _draw_points(axes, at, figures, index + 1, _plain(entry.name))
    axes.set_yticks(range(len(keys)), [names[key] for key in keys])
    axes.set_ylim(len(keys) - 0.5, -0.5)
    for row in range(1, len(keys), 2):
        axes.axhspan(row - 0.5, row + 0.5, color='#8881', zorder=0, linewidth=0)
    axes.set_xlabel(f'difference to {_plain(comparison.reference.name)}')
    axes.grid(axis='x', color='#8883')
    picture.legend(loc='outside upper center', ncols=min(4, len(others)), frameon=False)
    return picture


def _style(index: int) -> dict[str, str]:
    colour = COLOURS[index] if index < len(COLOURS) else colormaps['tab20'](index % 20)
    return {'color': colour, 'marker': _MARKS[index % len(_MARKS)]}


def _draw_lines(axes: Axes, comparison: Comparison, keys: list[str]) -> None:
    entries = comparison.entries
    for index, entry in enumerate(entries):
        at = np.arange(len(keys)) + (index - (len(entries) - 1) / 2) * 0.5 / len(entries)
        values = [_nan(entry.figures[key].value) for key in keys]
        errors = [_error(entry.figures[key]) for key in keys]
        style = {**_style(index), 'markersize': 5, 'linewidth': 1.4, 'elinewidth': 0.9}
        axes.errorbar(at, values, np.transpose(errors), label=_plain(entry.name), **style)
    regions = [key[: -len('_mAP')] for key in keys]
    objects = comparison.info['test_set']['objects_by_region']
    axes.set_xticks(range(len(keys)), [f'{_place(r)}\n({objects[r]})' for r in regions])
    axes.grid(axis='y', color='#8883')
    axes.spines[['top', 'right']].set_visible(False)


def _draw_points(axes: Axes, at: np.ndarray, figures: list[Figure], index: int, label: str) -> None:
    values = [_nan(figure.value) for figure in figures]
    errors = np.transpose([_error(figure) for figure in figures])
    style = {**_style(index), 'markersize': 5, 'linestyle': 'none', 'elinewidth': 1.2}
    axes.errorbar(values, at, xerr=errors, label=label, **style)


def _place(region: str) -> str:
    """``zone0`` -> ``0``, ``border_8_16`` -> ``8–16``, ``border_128_up`` -> ``128+``."""
    place = re.sub(r'^(zone|border_)', '', region)
    return place.replace('_up', '+').replace('_', '–')


def _plain(name: str) -> str:
    """A name that matplotlib takes neither for a formula nor, as a label, for one to hide."""
    return name.replace('$', r'\$').lstrip('_') or name


def _nan(value: float | None) -> float:
    return float('nan') if value is None else value


def _error(figure: Figure) -> tuple[float, float]:
    """How far the interval reaches down and up from the value; a percentile interval may, seldom,
    not hold it."""
    if figure.interval is None or figure.value is None:
        return 0.0, 0.0
    low, high = figure.interval
    return max(figure.value - low, 0.0), max(high - figure.value, 0.0)
