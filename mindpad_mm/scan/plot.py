"""Plot confidence maps: the scene with the object, and next to it the score at every position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

from mindpad_mm.core.style import ACCENT, COLOURS
from mindpad_mm.scan.statistics import MapStatistics, ScoreMap

FLAGGED = '#9a9a9a'
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
    """

    name: str
    scene: np.ndarray
    score_map: ScoreMap
    statistics: MapStatistics
    stride: int


def draw_maps(panels: Sequence[MapPanel], label: str) -> Figure:
    """Draw one row per map: the scene on the left, the scores on the right.

    The colour scale always spans scores from 0 to 1. Flagged positions are grey and hatched.

    Args:
        panels: The rows.
        label: Name of the object's class.
    """
    shapes = [panel.scene.shape for panel in panels]
    heights = [_PANEL_WIDTH * height / width + 0.75 for height, width, _ in shapes]
    title_height = 0.8
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
    figure = Figure((2 * _PANEL_WIDTH + 1.9, sum(heights) + title_height), layout=layout)
    FigureCanvasAgg(figure)
    figure.suptitle(f'Confidence of "{label}" by the position of the object', fontsize=13)
    axes = figure.subplots(len(panels), 2, squeeze=False, gridspec_kw={'height_ratios': heights})
    hatched = None
    for (left, right), panel in zip(axes, panels):
        _draw_scene(left, panel)
        hatched = _draw_scores(right, panel) or hatched
    if hatched is not None:
        figure.legend(handles=[hatched], fontsize=9, loc='outside lower right')
    return figure


def _draw_scene(axes: Axes, panel: MapPanel) -> None:
    scene = cv2.cvtColor(panel.scene, cv2.COLOR_BGR2RGB)
    height, width = scene.shape[:2]
    # With this extent, whole numbers are the edges of pixels, as in boxes.
    axes.imshow(scene, extent=(0, width, height, 0), interpolation='nearest')
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


def _draw_scores(axes: Axes, panel: MapPanel) -> Rectangle | None:
    score_map, statistics = panel.score_map, panel.statistics
    rows, cols = score_map.rows, score_map.cols
    half = panel.stride / 2
    extent = (cols[0] - half, cols[-1] + half, rows[-1] + half, rows[0] - half)
    image = axes.imshow(
        score_map.scores, COLOURS, vmin=0, vmax=1, extent=extent, interpolation='nearest'
    )
    hatched = _hatch(axes, extent) if np.isnan(score_map.scores).any() else None
    if 'mean' in statistics:
        worst = statistics['worst']
        axes.plot(
            worst['col'], worst['row'], 'o', mfc='none', mec=ACCENT, mew=2, ms=11, clip_on=False
        )
        title = (
            f'mean {statistics["mean"]:.3f}, {_blind(statistics["blind_fraction"])}\n'
            f'lowest {worst["score"]:.3f} at row {worst["row"]}, column {worst["col"]}'
        )
    else:
        title = 'every position is flagged:\nthe clean scene has a detection there'
    axes.set_title(title, fontsize=10, loc='left')
    # The same limits as in the scene's panel.
    axes.set_xlim(-half, score_map.scene_size[1])
    axes.set_ylim(score_map.scene_size[0], -half)
    axes.set_xlabel('left edge of the object (px)', fontsize=9)
    axes.set_ylabel('top edge of the object (px)', fontsize=9)
    axes.tick_params(labelsize=8)
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.02)
    bar.set_label('score', fontsize=9)
    bar.ax.tick_params(labelsize=8)
    return hatched


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


def _blind(share: float | None) -> str:
    return 'missed at most positions' if share is None else f'{100 * share:.1f}% blind'
