"""Plots of a comparison: mAP by region, and differences with their confidence intervals."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mindpad_mm.core.style import as_it_is
from mindpad_mm.evaluation.comparison import Comparison
from mindpad_mm.evaluation.metrics import Metric

# Paul Tol's bright scheme, suitable for colour-blind readers.
COLOURS = ('#4477aa', '#ee6677', '#228833', '#ccbb44', '#66ccee', '#aa3377', '#bbbbbb')
_MARKS = 'osD^vP*X'


def draw_regions(comparison: Comparison, names: Mapping[str, str]) -> Figure:
    """Draw mAP by zone (left) and by distance to the border (right), one line per entry.

    Bars are the 95 % intervals of the values. They are too wide to judge differences, because all
    entries are evaluated on the same images.

    Args:
        comparison: The comparison.
        names: Metric key -> name to show; metrics of regions are drawn.

    Returns:
        The figure.
    """
    figure = Figure((11, 4.2), layout='constrained')
    zones, borders = figure.subplots(1, 2, sharey=True)
    _draw_lines(zones, comparison, [key for key in names if re.match(r'zone\d', key)])
    _draw_lines(borders, comparison, [key for key in names if key.startswith('border')])
    inside = '\n(number of objects; their median size)'
    zones.set(xlabel=f'zone, outermost first{inside}', ylabel='mAP')
    borders.set_xlabel(f'distance to the nearest border in pixels{inside}')
    figure.suptitle(
        'Regions are not matched by object size: compare runs within a region, not regions.',
        fontsize=10,
    )
    zones.set_ylim(bottom=0)
    handles, labels = zones.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc='outside lower center', ncols=min(4, len(labels)), frameon=False
    )
    return figure


def draw_differences(comparison: Comparison, names: Mapping[str, str]) -> Figure:
    """Draw the differences of every entry to the reference with their 95 % intervals.

    Args:
        comparison: A comparison of at least two entries.
        names: Metric key -> name to show, in rows from the top.

    Returns:
        The figure.
    """
    others = comparison.entries[1:]
    keys = [
        key
        for key in names
        # A variance has another scale than the APs.
        if key != 'zone_var' and any(e.differences[key].value is not None for e in others)
    ]
    step = 0.8 / len(others)
    height = max(3.0, 0.9 + len(keys) * max(0.26, 0.13 * len(others)))
    figure = Figure((11, height + 0.5), layout='constrained')
    axes = figure.subplots()
    axes.axvline(0, color='#888', linewidth=1)
    for index, entry in enumerate(others):
        at = np.arange(len(keys)) + (index - (len(others) - 1) / 2) * step
        metrics = [entry.differences[key] for key in keys]
        _draw_points(axes, at, metrics, index + 1, as_it_is(entry.name))
    axes.set_yticks(range(len(keys)), [names[key] for key in keys])
    axes.set_ylim(len(keys) - 0.5, -0.5)
    for row in range(1, len(keys), 2):
        axes.axhspan(row - 0.5, row + 0.5, color='#8881', zorder=0, linewidth=0)
    axes.set_xlabel(f'difference to {as_it_is(comparison.reference.name)}')
    axes.grid(axis='x', color='#8883')
    figure.legend(loc='outside upper center', ncols=min(4, len(others)), frameon=False)
    return figure


def _style(index: int) -> dict[str, str]:
    colour = COLOURS[index] if index < len(COLOURS) else colormaps['tab20'](index % 20)
    return {'color': colour, 'marker': _MARKS[index % len(_MARKS)]}


def _draw_lines(axes: Axes, comparison: Comparison, keys: list[str]) -> None:
    entries = comparison.entries
    for index, entry in enumerate(entries):
        at = np.arange(len(keys)) + (index - (len(entries) - 1) / 2) * 0.5 / len(entries)
        values = [_nan(entry.metrics[key].value) for key in keys]
        errors = [_error(entry.metrics[key]) for key in keys]
        style = {**_style(index), 'markersize': 5, 'linewidth': 1.4, 'elinewidth': 0.9}
        axes.errorbar(at, values, np.transpose(errors), label=as_it_is(entry.name), **style)
    regions = [key[: -len('_mAP')] for key in keys]
    objects, sizes = comparison.test_set.objects_by_region, comparison.test_set.sizes_by_region
    labels = [
        f'{_region_label(region)}\n({objects[region]}; '
        + ('-)' if sizes[region] is None else f'{sizes[region]:.0f} px)')
        for region in regions
    ]
    axes.set_xticks(range(len(keys)), labels, fontsize=8)
    axes.grid(axis='y', color='#8883')
    axes.spines[['top', 'right']].set_visible(False)


def _draw_points(axes: Axes, at: np.ndarray, metrics: list[Metric], index: int, label: str) -> None:
    values = [_nan(metric.value) for metric in metrics]
    errors = np.transpose([_error(metric) for metric in metrics])
    style = {**_style(index), 'markersize': 5, 'linestyle': 'none', 'elinewidth': 1.2}
    axes.errorbar(values, at, xerr=errors, label=label, **style)


def _region_label(region: str) -> str:
    """``zone0`` -> ``0``, ``border_8_16`` -> ``8–16``, ``border_128_up`` -> ``128+``."""
    label = re.sub(r'^(zone|border_)', '', region)
    return label.replace('_up', '+').replace('_', '–')


def _nan(value: float | None) -> float:
    return float('nan') if value is None else value


def _error(metric: Metric) -> tuple[float, float]:
    """Lengths of the error bar below and above the value."""
    if metric.interval is None or metric.value is None:
        return 0.0, 0.0
    low, high = metric.interval
    # A percentile interval may, rarely, not contain the value.
    return max(metric.value - low, 0.0), max(high - metric.value, 0.0)
