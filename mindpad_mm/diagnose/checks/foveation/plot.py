"""The figure of the foveation check."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mindpad_mm.core.style import ACCENT, COLOURS, as_it_is
from mindpad_mm.diagnose.checks.foveation.scheme import Scheme, number_text

_COLUMNS = 4


def draw_foveation(
    name: str, input_size: tuple[int, int], upto: str | None, schemes: Sequence[Scheme], own: Scheme
) -> Figure:
    """A usage map for each padding, and below them the disparity by depth.

    Args:
        name: Name of the network.
        input_size: (height, width), pixels.
        upto: The layer whose output was counted; None for the output of the network.
        schemes: One for each padding; those on which the network cannot run are left out.
        own: The one with the network's own padding.
    """
    shown = [scheme for scheme in schemes if scheme.usage is not None]
    rows = -(-len(shown) // _COLUMNS)
    height, width = input_size
    panel = 2.9 * height / width + 0.6
    figure = Figure((13.2, rows * panel + 4.0), layout='constrained')
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06)
    until = f', up to {upto}' if upto else ''
    figure.suptitle(f'Uses of each pixel, {as_it_is(name)}{until}', fontsize=13)
    upper, lower = figure.subfigures(2, 1, height_ratios=[rows * panel, 3.4])
    maps = [scheme.usage.relative() for scheme in shown]
    # Clip the colour range: a few very often used pixels would make all others dark.
    top = max(1.0, *(float(np.quantile(values, 0.995)) for values in maps))
    grid = upper.subplots(rows, _COLUMNS, squeeze=False)
    for axes, scheme, values in zip(grid.flat, shown, maps):
        image = axes.imshow(
            values, COLOURS, vmin=0, vmax=top, extent=(0, width, height, 0),
            interpolation='antialiased',
        )  # fmt: skip
        ratio = number_text(scheme.usage.disparity)
        smooth = number_text(scheme.usage.smooth_disparity(scheme.stride))
        axes.set_title(
            f'{scheme.label}\nmost / least {ratio}, smoothed {smooth}', fontsize=10, loc='left'
        )
        axes.tick_params(labelsize=7)
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    bar = upper.colorbar(image, ax=grid, fraction=0.02, pad=0.01, extend='max')
    bar.set_label('uses relative to the mean of the middle third', fontsize=9)
    bar.ax.tick_params(labelsize=8)
    _draw_depth(lower.subplots(), shown, own)
    return figure


def _draw_depth(axes: Axes, shown: list[Scheme], own: Scheme) -> None:
    styles = (
        '-',
        '--',
        '-.',
        ':',
        (0, (5, 1, 1, 1, 1, 1)),
        (0, (1, 1)),
        (0, (8, 2)),
        (0, (3, 3)),
    )
    for line, scheme in enumerate(shown):
        numbers = [number for number, _, _ in scheme.depth]
        values = [value if np.isfinite(value) else np.nan for _, _, value in scheme.depth]
        is_own = scheme is own
        axes.plot(
            numbers, values, label=scheme.label,
            ls='-' if is_own else styles[line % len(styles)], lw=2.2 if is_own else 1.3,
            color=ACCENT if is_own else f'C{line}',
        )  # fmt: skip
    axes.set_yscale('log')
    axes.set_xlabel('layers with a kernel larger than 1 x 1, in order of execution', fontsize=9)
    axes.set_ylabel('most / least used pixel', fontsize=9)
    axes.set_title(
        'by depth: disparity of uses by the output of each layer (lower on branches that start earlier)',
        fontsize=10,
        loc='left',
    )
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.tick_params(labelsize=8)
    axes.spines[['top', 'right']].set_visible(False)
    axes.legend(fontsize=8, loc='center left', bbox_to_anchor=(1.0, 0.5), frameon=False)
