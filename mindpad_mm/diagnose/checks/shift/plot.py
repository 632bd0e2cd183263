"""The figure of the shift check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mindpad_mm.core.style import ACCENT, COLOURS, as_it_is
from mindpad_mm.diagnose.checks.shift.track import COLUMNS, ROWS, Track, mean_over_scenes

_CUT = '0.93'


def draw_shift(
    title: str,
    kind: str,
    example: np.ndarray,
    place: tuple[int, int],
    box: tuple[int, int],
    tracks: Mapping[str, Track],
    statistics: Mapping[str, Mapping[str, Any]],
    nine: np.ndarray,
) -> Figure:
    """The first frame and the nine places; beside them, a curve for each direction.

    Args:
        title: Title of the figure.
        kind: What the response is: ``score`` or ``probability``.
        example: (H, W, 3) uint8 BGR, the frame before any shift.
        place: (row, column) of the object's top-left pixel in it.
        box: (height, width) of the object, pixels.
        tracks: The response by direction of motion.
        statistics: :meth:`Track.statistics` by direction of motion.
        nine: (scenes, 3, 3) response with the object at nine places; NaN where there is none.
    """
    figure = Figure((12.5, 8.6), layout='constrained')
    FigureCanvasAgg(figure)
    figure.suptitle(as_it_is(title), fontsize=13)
    left, right = figure.subfigures(1, 2, width_ratios=[4, 8])
    above, below = left.subplots(2, 1)
    top = _upper_limit(tracks.values(), nine)
    start = float(next(iter(tracks.values())).scores[0])
    _draw_frame(above, example, place, box, f'{kind} {start:.3f}')
    _draw_nine(below, nine, kind, top)
    _draw_tracks(
        list(right.subplots(4, 1, sharex=True, sharey=True)), tracks, statistics, kind, top
    )
    return figure


def _draw_frame(
    axes: Axes, example: np.ndarray, place: tuple[int, int], box: tuple[int, int], response: str
) -> None:
    height, width = example.shape[:2]
    pixels = cv2.cvtColor(example, cv2.COLOR_BGR2RGB)
    axes.imshow(pixels, extent=(0, width, height, 0), interpolation='nearest')
    row, column = place
    axes.add_patch(Rectangle((column, row), box[1], box[0], fill=False, ec=ACCENT, lw=2))
    axes.set_title(
        f'before any shift: {response}\nobject {box[0]} x {box[1]} px (h x w)',
        fontsize=10,
        loc='left',
    )
    axes.tick_params(labelsize=8)


def _draw_nine(axes: Axes, nine: np.ndarray, kind: str, top: float) -> None:
    means = mean_over_scenes(nine)
    image = axes.imshow(means, COLOURS, vmin=0, vmax=top, interpolation='nearest')
    for (row, column), value in np.ndenumerate(means):
        text = '-' if np.isnan(value) else f'{value:.3f}'
        colour = 'black' if value > 0.55 * top else 'white'
        axes.text(column, row, text, ha='center', va='center', color=colour, fontsize=12)
    axes.set_facecolor('0.6')
    axes.set_xticks(range(3), COLUMNS, fontsize=9)
    axes.set_yticks(range(3), ROWS, fontsize=9)
    scenes = f'mean over {len(nine)} scenes' if len(nine) > 1 else 'one scene'
    axes.set_title(
        f'object at nine places, touching the border;\n{scenes}', fontsize=10, loc='left'
    )
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.02)
    bar.set_label(kind, fontsize=9)
    bar.ax.tick_params(labelsize=8)


def _draw_tracks(
    axes: list[Axes],
    tracks: Mapping[str, Track],
    statistics: Mapping[str, Mapping[str, Any]],
    kind: str,
    top: float,
) -> None:
    for cell, (direction, track) in zip(axes, tracks.items()):
        cut = track.shifts[~track.whole]
        if len(cut):
            cell.axvspan(cut[0], track.shifts[-1], color=_CUT, lw=0)
            cell.annotate(
                'object cut by the border from here on',
                (cut[0], 0.03),
                (-3, 0),
                xycoords=('data', 'axes fraction'),
                textcoords='offset points',
                ha='right',
                fontsize=8,
                color='0.35',
            )
        cell.plot(track.shifts, track.scores, '-o', color='#00224e', lw=1.3, ms=2.5)
        lowest = statistics[direction]['min']
        shift = statistics[direction]['min_shift']
        cell.plot(shift, lowest, 'o', mfc='none', mec=ACCENT, mew=2, ms=9, clip_on=False)
        cell.set_title(
            f'scene moves {direction}: lowest {lowest:.3f} while the object is fully inside',
            fontsize=10,
            loc='left',
        )
        cell.set_xlim(0, max(t.shifts[-1] for t in tracks.values()) or 1)
        cell.set_ylim(0, top)
        cell.grid(axis='y', color='0.9')
        cell.tick_params(labelsize=8)
        cell.set_ylabel(kind, fontsize=9)
    axes[-1].set_xlabel('shift (input px)', fontsize=9)


def _upper_limit(tracks: Iterable[Track], nine: np.ndarray) -> float:
    """Upper limit of the axis: 1 for large responses, less for the small ones of untrained networks."""
    most = max(float(track.scores.max()) for track in tracks)
    most = max(most, float(np.nanmax(nine, initial=0)))
    return 1.05 if most > 0.3 else 1.15 * most or 1.0
