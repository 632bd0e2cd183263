"""The picture of :class:`mindpad_mm.diagnose.shift.ShiftResponse`."""

from __future__ import annotations

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mindpad_mm.core.style import ACCENT, COLOURS
from mindpad_mm.diagnose.shift import COLUMNS, ROWS, ShiftResponse

_CUT = '0.93'


def draw_shift(result: ShiftResponse) -> Figure:
    """The first frame and the nine places; beside them, a curve for each direction."""
    figure = Figure((12.5, 8.6), layout='constrained')
    FigureCanvasAgg(figure)
    figure.suptitle(f'{result.title}: {result.kind} of {result.label}', fontsize=13)
    left, right = figure.subfigures(1, 2, width_ratios=[4, 8])
    frame, nine = left.subplots(2, 1)
    _draw_frame(frame, result)
    _draw_nine(nine, result)
    _draw_tracks(list(right.subplots(4, 1, sharex=True, sharey=True)), result)
    return figure


def _draw_frame(axes: Axes, result: ShiftResponse) -> None:
    height, width = result.example.shape[:2]
    pixels = cv2.cvtColor(result.example, cv2.COLOR_BGR2RGB)
    axes.imshow(pixels, extent=(0, width, height, 0), interpolation='nearest')
    row, column = result.place
    axes.add_patch(
        Rectangle((column, row), result.box[1], result.box[0], fill=False, ec=ACCENT, lw=2)
    )
    axes.set_title(
        f'before any shift: {result.kind} {result.start:.3f}\n'
        f'object {result.box[0]} x {result.box[1]} px (h x w)',
        fontsize=10,
        loc='left',
    )
    axes.tick_params(labelsize=8)


def _draw_nine(axes: Axes, result: ShiftResponse) -> None:
    nine = result.nine_mean()
    top = _upper_limit(result)
    image = axes.imshow(nine, COLOURS, vmin=0, vmax=top, interpolation='nearest')
    for (row, column), value in np.ndenumerate(nine):
        text = '-' if np.isnan(value) else f'{value:.3f}'
        colour = 'black' if value > 0.55 * top else 'white'
        axes.text(column, row, text, ha='center', va='center', color=colour, fontsize=12)
    axes.set_facecolor('0.6')
    axes.set_xticks(range(3), COLUMNS, fontsize=9)
    axes.set_yticks(range(3), ROWS, fontsize=9)
    scenes = f'mean over {len(result.nine)} scenes' if len(result.nine) > 1 else 'one scene'
    axes.set_title(
        f'object at nine places, flush with the border;\n{scenes}', fontsize=10, loc='left'
    )
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.02)
    bar.set_label(result.kind, fontsize=9)
    bar.ax.tick_params(labelsize=8)


def _draw_tracks(axes: list[Axes], result: ShiftResponse) -> None:
    for cell, (direction, track) in zip(axes, result.tracks.items()):
        cut = track.shifts[~track.whole]
        if len(cut):
            cell.axvspan(cut[0], track.shifts[-1], color=_CUT, lw=0)
            cell.annotate(
                'from here on cut by the border',
                (cut[0], 0.03),
                (-3, 0),
                xycoords=('data', 'axes fraction'),
                textcoords='offset points',
                ha='right',
                fontsize=8,
                color='0.35',
            )
        cell.plot(track.shifts, track.scores, '-o', color='#00224e', lw=1.3, ms=2.5)
        figures = result.figures(direction)
        lowest = figures['min_shift'], figures['min']
        cell.plot(*lowest, 'o', mfc='none', mec=ACCENT, mew=2, ms=9, clip_on=False)
        cell.set_title(
            f'scene moves {direction}: lowest {figures["min"]:.3f} while whole',
            fontsize=10,
            loc='left',
        )
        cell.set_xlim(0, max(t.shifts[-1] for t in result.tracks.values()) or 1)
        cell.set_ylim(0, _upper_limit(result))
        cell.grid(axis='y', color='0.9')
        cell.tick_params(labelsize=8)
        cell.set_ylabel(result.kind, fontsize=9)
    axes[-1].set_xlabel('shift (input px)', fontsize=9)


def _upper_limit(result: ShiftResponse) -> float:
    """1 where responses are large; small ones of untrained networks are spread over the axis."""
    most = max(float(track.scores.max()) for track in result.tracks.values())
    most = max(most, float(np.nanmax(result.nine, initial=0)))
    return 1.05 if most > 0.3 else 1.15 * most or 1.0
