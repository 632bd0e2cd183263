"""Confidence maps as pictures: the scene with the object beside the map of its scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.images import PathLike, read_image
from mindpad_mm.core.scenes import paste
from mindpad_mm.core.style import ACCENT, COLOURS
from mindpad_mm.scan.result import ScanResult

FLAGGED = '#9a9a9a'
_PANEL_WIDTH = 5.0
_DOTS_PER_INCH = 110


def draw_heatmap(result: ScanResult, maps: Sequence[tuple[int, int, int]] | None = None) -> Figure:
    """A figure with a row for each map.

    On the left the scene with the object where it scored lowest; on the right the score at every
    position, the colours always from 0 to 1. Flagged positions are grey and hatched.

    Args:
        result: A scan with its folder and statistics.
        maps: (background, object, size) of the rows; default all.
    """
    maps = list(result.indices()) if maps is None else list(maps)
    shapes = [result.info['backgrounds'][b] for b, _, _ in maps]
    heights = [_PANEL_WIDTH * shape['height'] / shape['width'] + 0.75 for shape in shapes]
    title_height = 0.8
    figure = Figure((2 * _PANEL_WIDTH + 1.9, sum(heights) + title_height), layout='constrained')
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    FigureCanvasAgg(figure)
    figure.suptitle(
        f'Confidence of "{result.info["label"]}" by the position of the object', fontsize=13
    )
    axes = figure.subplots(len(maps), 2, squeeze=False, gridspec_kw={'height_ratios': heights})
    hatched = None
    for (left, right), index in zip(axes, maps):
        figures = map_figures(result, index)
        _draw_scene(left, result, index, figures)
        hatched = _draw_scores(right, result, index, figures) or hatched
    if hatched is not None:
        figure.legend(handles=[hatched], fontsize=9, loc='outside lower right')
    return figure


def write_heatmap(result: ScanResult, path: PathLike) -> None:
    """Draw all maps of a scan to a PNG file.

    Raises:
        UserError: The file cannot be written.
    """
    try:
        draw_heatmap(result).savefig(path, dpi=_DOTS_PER_INCH, metadata={'Software': None})
    except OSError as error:
        raise UserError(f'cannot write {str(path)!r}: {error.strerror}') from error


def map_figures(result: ScanResult, index: tuple[int, int, int]) -> dict[str, Any]:
    """The statistics of one map."""
    flat = np.ravel_multi_index(index, result.scores.shape[:3])
    return result.info['statistics']['maps'][flat]


def worst_scene(result: ScanResult, index: tuple[int, int, int]) -> np.ndarray:
    """(H, W, 3) uint8 BGR: the scene with the object pasted where it scored lowest.

    The scene alone where all positions are flagged.
    """
    background, obj, size = index
    scene = read_image(result.folder / result.info['backgrounds'][background]['file'])
    worst = map_figures(result, index).get('worst')
    if worst is None:
        return scene
    file = result.folder / result.info['objects'][obj]['files'][size]
    pixels = read_image(file, cv2.IMREAD_UNCHANGED, 'object')
    return paste(scene, pixels, worst['row'], worst['col'])


def _draw_scene(
    axes: Axes, result: ScanResult, index: tuple[int, int, int], figures: dict[str, Any]
) -> None:
    scene = cv2.cvtColor(worst_scene(result, index), cv2.COLOR_BGR2RGB)
    height, width = scene.shape[:2]
    # Pixel edges, not centres, at whole numbers: then boxes are drawn where they are.
    axes.imshow(scene, extent=(0, width, height, 0), interpolation='nearest')
    box_height, box_width = result.info['objects'][index[1]]['boxes'][index[2]]
    title = f'scene {index[0]}, object {index[1]}, {box_height} x {box_width} px (h x w)'
    if figures.get('worst'):
        worst = figures['worst']
        axes.add_patch(
            Rectangle(
                (worst['col'], worst['row']), box_width, box_height, fill=False, ec=ACCENT, lw=2
            )
        )
        title += '\nhere where it scores lowest'
    axes.set_title(title, fontsize=10, loc='left')
    axes.set_xlabel('x (px)', fontsize=9)
    axes.set_ylabel('y (px)', fontsize=9)
    axes.tick_params(labelsize=8)


def _draw_scores(
    axes: Axes, result: ScanResult, index: tuple[int, int, int], figures: dict[str, Any]
) -> Rectangle | None:
    score_map = result.score_map(*index)
    rows, cols = score_map.rows, score_map.cols
    half = result.info['stride'] / 2
    extent = (cols[0] - half, cols[-1] + half, rows[-1] + half, rows[0] - half)
    image = axes.imshow(
        score_map.scores, COLOURS, vmin=0, vmax=1, extent=extent, interpolation='nearest'
    )
    hatched = _hatch(axes, extent) if np.isnan(score_map.scores).any() else None
    if 'mean' in figures:
        worst = figures['worst']
        axes.plot(
            worst['col'], worst['row'], 'o', mfc='none', mec=ACCENT, mew=2, ms=11, clip_on=False
        )
        title = (
            f'mean {figures["mean"]:.3f}, {_blind(figures["blind_fraction"])}\n'
            f'lowest {worst["score"]:.3f} at row {worst["row"]}, column {worst["col"]}'
        )
    else:
        title = 'every position is flagged:\nthe clean scene scores there by itself'
    axes.set_title(title, fontsize=10, loc='left')
    # The scene's own frame, so that a place is at the same place in both panels.
    axes.set_xlim(-half, score_map.scene_size[1])
    axes.set_ylim(score_map.scene_size[0], -half)
    axes.set_xlabel('left edge of the object (px)', fontsize=9)
    axes.set_ylabel('top edge of the object (px)', fontsize=9)
    axes.tick_params(labelsize=8)
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.02)
    bar.set_label('score', fontsize=9)
    bar.ax.tick_params(labelsize=8)
    return hatched


def _hatch(axes: Axes, extent: tuple[float, ...]) -> Rectangle:
    """Hatched grey behind the map: it shows through where the map has no score."""
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
        label='flagged: the clean scene scores here by itself',
    )
    axes.add_patch(background)
    return background


def _blind(share: float | None) -> str:
    return 'mostly not found at all' if share is None else f'{100 * share:.1f}% blind'
