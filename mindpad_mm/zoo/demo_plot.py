"""The picture of the demo: a map of each detector, and their padding losses by distance."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from mindpad_mm.border import BorderResult
from mindpad_mm.core.style import COLOURS, LINES, MARKERS
from mindpad_mm.scan import ScanResult

_DOTS_PER_INCH = 110


def draw_demo(
    scans: Mapping[str, ScanResult], losses: Mapping[str, tuple[BorderResult, str]]
) -> bytes:
    """Draw one map of each scan and one curve of each border loss, side by side.

    Args:
        scans: Scans by the names of the detectors; their first maps are drawn.
        losses: By the same names, a border loss and the variant in it.

    Returns:
        A PNG file.
    """
    figure = Figure((4.1 * (len(scans) + 1), 4.4), layout='constrained')
    FigureCanvasAgg(figure)
    *maps, curves = figure.subplots(1, len(scans) + 1)
    for axes, (name, scan) in zip(maps, scans.items()):
        image = _draw_map(axes, scan)
        axes.set_title(name)
    figure.colorbar(image, ax=maps, shrink=0.75, pad=0.01, label='confidence in the light')
    for index, (name, (border, variant)) in enumerate(losses.items()):
        _draw_losses(curves, border, variant, name, index)
    curves.axhline(0, color='#555', linewidth=1)
    curves.set(
        title='What padding costs',
        xlabel='distance between light and border, pixels',
        ylabel='padding loss',
    )
    curves.legend(frameon=False, fontsize=9)
    file = io.BytesIO()
    figure.savefig(file, format='png', dpi=_DOTS_PER_INCH, metadata={'Software': None})
    return file.getvalue()


def _draw_map(axes: Axes, scan: ScanResult) -> AxesImage:
    """The first map of a scan, every score in the middle of the object, over the scene in grey."""
    score_map, half = scan.score_map(0, 0, 0), scan.info.stride / 2
    height, width = scan.scene_pixels(0).shape[:2]
    below, right = (side / 2 for side in score_map.box_size)
    rows, cols = score_map.rows + below, score_map.cols + right
    axes.imshow(
        scan.scene_pixels(0).mean(2), cmap='gray', vmin=-255, vmax=255, extent=(0, width, height, 0)
    )
    image = axes.imshow(
        score_map.scores,
        cmap=COLOURS,
        vmin=0,
        vmax=1,
        extent=(cols[0] - half, cols[-1] + half, rows[-1] + half, rows[0] - half),
        interpolation='nearest',
    )
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    return image


def _draw_losses(axes: Axes, border: BorderResult, variant: str, name: str, index: int) -> None:
    distances = border.info.settings['distances']
    by_distance = border.statistics[variant]['by_side']['all']
    found = [by_distance[str(distance)]['padding_loss'] for distance in distances]
    means = np.array([np.nan if each['mean'] is None else each['mean'] for each in found])
    ends = np.array([each['interval'] or [np.nan, np.nan] for each in found])
    colour = LINES[index]
    axes.plot(distances, means, color=colour, marker=MARKERS[index], markersize=4, label=name)
    axes.fill_between(distances, *ends.T, color=colour, alpha=0.15, linewidth=0)
