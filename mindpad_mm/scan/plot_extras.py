"""Plot why an object is not found, and what else it changes: a map for each scene, object and size."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from mindpad_mm.core.scenes import Part
from mindpad_mm.core.style import ACCENT, COLOURS, LINES
from mindpad_mm.scan.causes import CAUSES
from mindpad_mm.scan.score_map import ScoreMap

CAUSE_COLOURS = (*LINES[:5], LINES[6])
"""Colour of each cause but the first, ``''``."""
_WIDTH = 5.0


def draw_causes(
    maps: Sequence[tuple[str, ScoreMap]],
    causes: Sequence[np.ndarray],
    scenes: Sequence[np.ndarray],
    lines: tuple[np.ndarray, np.ndarray],
) -> Figure:
    """Draw the cause at every blind place over the scene, one panel for each map.

    A cell's colour is at the object's top-left pixel, as in the map of scores.

    Args:
        maps: Name and score map of each panel.
        causes: (R, C) index in :data:`mindpad_mm.scan.causes.CAUSES`, for each panel.
        scenes: (H, W, 3) uint8 BGR, for each panel.
        lines: Rows (R,) and columns (C,) of the causes, pixels.
    """
    title = 'Why the object is not found, by its position'
    figure, axes = stacked(title, [score_map.photo for _, score_map in maps])
    colours = ListedColormap(['none', *CAUSE_COLOURS])
    for each, (name, score_map), cells, scene in zip(axes, maps, causes, scenes):
        draw_scene(each, scene, score_map.photo, name)
        known = np.ix_(*(np.isin(a, b) for a, b in zip(lines, (score_map.rows, score_map.cols))))
        edges = [cell_edges(line) for line in (score_map.rows, score_map.cols)]
        values = cells[known]
        each.pcolormesh(
            *edges[::-1], values, cmap=colours, vmin=-0.5, vmax=len(CAUSES) - 0.5, alpha=0.8
        )
    numbers = np.bincount(np.concatenate([each.ravel() for each in causes]), minlength=len(CAUSES))
    handles = [
        Patch(color=colour, label=f'{name}: {count}')
        for name, colour, count in zip(CAUSES[1:], CAUSE_COLOURS, numbers[1:].tolist())
        if count
    ]
    if handles:
        figure.legend(handles=handles, loc='outside right upper', fontsize=9, title='places')
    return figure


def draw_bystanders(
    maps: Sequence[tuple[str, ScoreMap]],
    events: Sequence[np.ndarray],
    boxes: Sequence[np.ndarray],
    scenes: Sequence[np.ndarray],
    lines: tuple[np.ndarray, np.ndarray],
) -> Figure:
    """Draw how many other boxes change with the object at each position, one panel for each map.

    Args:
        maps: Name and score map of each panel.
        events: (R, C) boxes that changed, vanished or appeared, for each panel.
        boxes: (K, 4) other boxes of the clean scene, for each panel; NaN: none.
        scenes: (H, W, 3) uint8 BGR, for each panel.
        lines: Rows (R,) and columns (C,) of the events, pixels.
    """
    title = 'Other boxes that vanish, change class or appear, by the position of the object'
    figure, axes = stacked(title, [score_map.photo for _, score_map in maps])
    most = max(int(each.max(initial=0)) for each in events)
    for each, (name, score_map), cells, others, scene in zip(axes, maps, events, boxes, scenes):
        draw_scene(each, scene, score_map.photo, name)
        known = np.ix_(*(np.isin(a, b) for a, b in zip(lines, (score_map.rows, score_map.cols))))
        edges = [cell_edges(line) for line in (score_map.rows, score_map.cols)]
        values = np.ma.masked_equal(cells[known], 0)
        image = each.pcolormesh(
            *edges[::-1], values, cmap=COLOURS, vmin=0, vmax=max(most, 1), alpha=0.8
        )
        for left, top, right, bottom in others[~np.isnan(others[:, 0])]:
            corner = left, top
            each.add_patch(
                Rectangle(corner, right - left, bottom - top, fill=False, ec=ACCENT, lw=1.2)
            )
        figure.colorbar(
            image, ax=each, label='boxes', ticks=MaxNLocator(integer=True), fraction=0.046, pad=0.02
        )
    outline = Patch(fill=False, ec=ACCENT, label='boxes of the clean scene')
    figure.legend(handles=[outline], loc='outside lower right', fontsize=9)
    return figure


def stacked(title: str, photos: Sequence[Part]) -> tuple[Figure, list[Axes]]:
    """A figure with one panel below another, each as high as its photo needs."""
    heights = [_WIDTH * photo.height / photo.width + 0.9 for photo in photos]
    figure = Figure((_WIDTH + 2.4, sum(heights) + 0.4), layout='constrained')
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=12)
    ratios = {'height_ratios': heights}
    return figure, list(figure.subplots(len(photos), 1, squeeze=False, gridspec_kw=ratios)[:, 0])


def draw_scene(axes: Axes, scene: np.ndarray, photo: Part, title: str) -> None:
    """Draw the photo in a scene, pale; whole numbers are at the edges of its pixels."""
    height, width = scene.shape[:2]
    grey = cv2.cvtColor(scene, cv2.COLOR_BGR2GRAY)
    axes.imshow(grey, cmap='gray', vmin=-300, vmax=255, extent=(0, width, height, 0))
    axes.set_title(title, fontsize=10, loc='left')
    axes.set_xlim(photo.left, photo.left + photo.width)
    axes.set_ylim(photo.top + photo.height, photo.top)
    axes.set_aspect('equal')
    axes.set_xlabel('left edge of the object (px)', fontsize=9)
    axes.set_ylabel('top edge of the object (px)', fontsize=9)
    axes.tick_params(labelsize=8)


def cell_edges(lines: np.ndarray) -> np.ndarray:
    """(N + 1,) edges of the cells around positions (N,), half way between them."""
    steps = np.diff(lines) if len(lines) > 1 else np.array([1])
    first, last = lines[0] - steps[0] / 2, lines[-1] + steps[-1] / 2
    return np.concatenate([[first], (lines[1:] + lines[:-1]) / 2, [last]])
