"""Plot confidence maps: the scene with the object, and next to it the score at every position."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

from mindpad_mm.core.scenes import Part
from mindpad_mm.core.style import ACCENT, COLOURS, as_it_is
from mindpad_mm.scan.score_map import ScoreMap
from mindpad_mm.scan.statistics import ScanMapStatistics

# Red where the border costs score, blue where it helps.
LOSS_COLOURS = 'RdBu_r'
# The colours of losses reach at least this far from 0.
LEAST_SCALE = 0.1
UNKNOWN = '#b5b5b5'
FLAGGED = '#9a9a9a'
PADDED = '#d8d8d8'
_PANEL_WIDTH = 5.0


@dataclass(frozen=True)
class MapPanel:
    """One row of the figure.

    Attributes:
        name: Name of the map, e.g. ``'scene 0, object 0'``.
        scene: (H, W, 3) uint8 BGR, with the object at the position of the lowest score.
        score_map: The map.
        statistics: Statistics of the map.
        stride: Pixels between positions.
        loss: (R, C) losses at the positions of the map, NaN where there is none. Default: no third
            panel.
    """

    name: str
    scene: np.ndarray
    score_map: ScoreMap
    statistics: ScanMapStatistics
    stride: int
    loss: np.ndarray | None = None


def draw_maps(panels: Sequence[MapPanel], label: str) -> Figure:
    """Draw one row per map: the scene on the left, the scores next to it, and losses on the right.

    The colour scale always spans scores from 0 to 1; that of losses is centred on 0. Flagged positions
    are grey and hatched. What the test pipeline pads around the photo is light grey, and the photo is
    outlined.

    Args:
        panels: The rows.
        label: Name of the object's class.
    """
    shapes = [panel.scene.shape for panel in panels]
    heights = [_PANEL_WIDTH * height / width + 0.75 for height, width, _ in shapes]
    title_height = 0.8
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
    columns = 2 if all(panel.loss is None for panel in panels) else 3
    figure = Figure((columns * _PANEL_WIDTH + 1.9, sum(heights) + title_height), layout=layout)
    FigureCanvasAgg(figure)
    figure.suptitle(f'Confidence of "{as_it_is(label)}" by the position of the object', fontsize=13)
    axes = figure.subplots(
        len(panels), columns, squeeze=False, gridspec_kw={'height_ratios': heights}
    )
    marked: dict[str, Rectangle] = {}
    for (left, right, *third), panel in zip(axes, panels):
        _draw_scene(left, panel)
        for patch in _draw_scores(right, panel):
            marked[str(patch.get_label())] = patch
        if third and panel.loss is not None:
            _draw_loss(third[0], panel, panel.loss)
    if marked:
        figure.legend(handles=list(marked.values()), fontsize=9, loc='outside lower right', ncols=2)
    return figure


def _draw_scene(axes: Axes, panel: MapPanel) -> None:
    scene = cv2.cvtColor(panel.scene, cv2.COLOR_BGR2RGB)
    height, width = scene.shape[:2]
    # With this extent, whole numbers are the edges of pixels, as in boxes.
    axes.imshow(scene, extent=(0, width, height, 0), interpolation='nearest')
    photo = panel.score_map.photo
    if photo.lengths != (height, width):
        corner = photo.left, photo.top
        axes.add_patch(
            Rectangle(corner, photo.width, photo.height, fill=False, ec='black', lw=1, ls='--')
        )
    box_height, box_width = panel.score_map.box_size
    title = f'{panel.name}, {box_height} x {box_width} px (h x w)'
    worst = panel.statistics.get('worst')
    if worst:
        box = Rectangle(
            (worst['col'], worst['row']), box_width, box_height, fill=False, ec=ACCENT, lw=2
        )
        axes.add_patch(box)
        title += '\nat the position of its lowest score'
    axes.set_title(title, fontsize=10, loc='left')
    axes.set_xlabel('x (px)', fontsize=9)
    axes.set_ylabel('y (px)', fontsize=9)
    axes.tick_params(labelsize=8)


def _draw_scores(axes: Axes, panel: MapPanel) -> list[Rectangle]:
    """Draw the map; returns what the legend explains."""
    score_map, statistics = panel.score_map, panel.statistics
    rows, cols = score_map.rows, score_map.cols
    half = panel.stride / 2
    extent = (cols[0] - half, cols[-1] + half, rows[-1] + half, rows[0] - half)
    image = _cells(axes, score_map, half, COLOURS, (0, 1))
    marked = [_hatch(axes, extent)] if np.isnan(score_map.scores).any() else []
    height, width = panel.scene.shape[:2]
    if score_map.photo.lengths != (height, width):
        marked += _padding(axes, score_map.photo, (height, width))
    if 'mean' in statistics:
        worst = statistics['worst']
        axes.plot(
            worst['col'], worst['row'], 'o', mfc='none', mec=ACCENT, mew=2, ms=11, clip_on=False
        )
        title = (
            f'mean {statistics["mean"]:.3f}, {100 * statistics["blind_fraction"]:.1f}% blind\n'
            f'lowest {worst["score"]:.3f} at row {worst["row"]}, column {worst["col"]}'
        )
    else:
        title = 'every position is flagged:\nthe clean scene has a detection there'
    axes.set_title(title, fontsize=10, loc='left')
    # The same limits as in the scene's panel.
    axes.set_xlim(-half, width)
    axes.set_ylim(height, -half)
    axes.set_xlabel('left edge of the object (px)', fontsize=9)
    axes.set_ylabel('top edge of the object (px)', fontsize=9)
    axes.tick_params(labelsize=8)
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.02)
    bar.set_label('score', fontsize=9)
    bar.ax.tick_params(labelsize=8)
    return marked


def _padding(axes: Axes, photo: Part, size: tuple[int, int]) -> list[Rectangle]:
    """Draw what lies outside the photo behind the map; returns its rectangle for the legend."""
    around = Rectangle(
        (0, 0),
        *size[::-1],
        facecolor=PADDED,
        zorder=-3,
        label='padded by the test pipeline: no positions',
    )
    inside = Rectangle(
        (photo.left, photo.top), photo.width, photo.height, facecolor='white', zorder=-2
    )
    axes.add_patch(around)
    axes.add_patch(inside)
    return [around]


def _draw_loss(axes: Axes, panel: MapPanel, loss: np.ndarray) -> None:
    """Draw what the border costs at each position; grey where that is not known."""
    score_map, half = panel.score_map, panel.stride / 2
    rows, cols = score_map.rows, score_map.cols
    if np.isnan(loss).any():
        corner = cols[0] - half, rows[0] - half
        extents = cols[-1] - cols[0] + 2 * half, rows[-1] - rows[0] + 2 * half
        axes.add_patch(Rectangle(corner, *extents, facecolor=UNKNOWN, lw=0, zorder=-1))
    most = max(LEAST_SCALE, float(np.nanmax(np.abs(loss), initial=0)))
    loss_map = dataclasses.replace(score_map, scores=loss)
    image = _cells(axes, loss_map, half, LOSS_COLOURS, (-most, most))
    known = panel.statistics.get('loss')
    title = 'loss: score with the border far minus score here'
    if known is not None:
        border, inside = (
            'unknown' if value is None else f'{value:+.3f}'
            for value in (known['border'], known['interior'])
        )
        title += f'\nwithin {known["near_px"]} px of a side {border}, inside {inside}'
    axes.set_title(title, fontsize=10, loc='left')
    axes.set_xlim(-half, panel.scene.shape[1])
    axes.set_ylim(panel.scene.shape[0], -half)
    axes.set_xlabel('left edge of the object (px); grey: not known', fontsize=9)
    axes.set_ylabel('top edge of the object (px)', fontsize=9)
    axes.tick_params(labelsize=8)
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.02)
    bar.set_label('loss', fontsize=9)
    bar.ax.tick_params(labelsize=8)


def _cells(
    axes: Axes, score_map: ScoreMap, half: float, colours: str, limits: tuple[float, float]
) -> ScalarMappable:
    """Draw a cell around each position, up to half way to the next, with colours between limits."""
    style: dict[str, Any] = {'cmap': colours, 'vmin': limits[0], 'vmax': limits[1]}
    rows, cols = score_map.rows, score_map.cols
    if len({step for lines in (rows, cols) for step in np.diff(lines)}) < 2:
        extent = (cols[0] - half, cols[-1] + half, rows[-1] + half, rows[0] - half)
        return axes.imshow(score_map.scores, **style, extent=extent, interpolation='nearest')
    ys, xs = (
        np.concatenate([[lines[0] - half], (lines[1:] + lines[:-1]) / 2, [lines[-1] + half]])
        for lines in (rows, cols)
    )
    return axes.pcolormesh(xs, ys, score_map.scores, **style)


def _hatch(axes: Axes, extent: tuple[float, float, float, float]) -> Rectangle:
    """Draw a hatched rectangle behind the map, which is transparent where it has no score."""
    left, right, bottom, top = extent
    background = Rectangle(
        (left, top),
        right - left,
        bottom - top,
        facecolor=FLAGGED,
        edgecolor='white',
        hatch='////',
        linewidth=0,
        zorder=-1,
        label='flagged: the clean scene has a detection here',
    )
    axes.add_patch(background)
    return background
