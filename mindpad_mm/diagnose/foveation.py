"""How unequally a network uses the pixels of its input, under every padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.style import ACCENT, COLOURS
from mindpad_mm.core.tables import Table
from mindpad_mm.diagnose.maps import own_modes
from mindpad_mm.diagnose.refusal import CannotRun
from mindpad_mm.diagnose.result import Diagnosis
from mindpad_mm.diagnose.subject import Subject
from mindpad_mm.diagnose.tracing import FULL, SAME, VALID, ShapeRunner, without_numbers
from mindpad_mm.diagnose.usage import Usage, pixel_usage
from mindpad_mm.padding.modes import ModeSpec, describe, get_modes

MODES = ('zeros', 'reflect', 'symmetric', 'replicate', 'circular', 'partial')
_SIDES = ('top', 'bottom', 'left', 'right')
_COLUMNS = 4
_DEPTHS = 16
_SCHEMES = {VALID: 'Without any padding (valid)', FULL: 'With full padding'}


def check_foveation(
    subject: Subject,
    modes: Sequence[ModeSpec] | None = None,
    upto: str | None = None,
) -> Foveation:
    """Count how many times each input pixel is used.

    Args:
        modes: Paddings to compare: modes, ``valid`` (no padding anywhere) and ``full`` (each
            convolution padded by dilation * (kernel - 1) zeros). Under these two, branches that come out
            in different sizes meet centre on centre: the larger cropped under ``valid``, the smaller
            surrounded by nothing under ``full``. Pooling keeps its padding but under ``valid``.
            Default: all of them, as far as there is padding to swap.
        upto: Count the paths to the results of this layer. Default: to the network's results.

    Raises:
        UserError: An unknown mode or layer, a function whose reads are not known, or the network cannot
            run at this size.

    Source: Mind the Pad (ICLR 2021), section and appendix on foveation.
    """
    bare = Subject(without_numbers(subject.model), subject.input_size, subject.name)
    own = own_modes(bare.model)
    if modes is None:
        modes = (*MODES, VALID, FULL) if own else (FULL,)
    names = [m if m in (VALID, FULL) else describe(get_modes(m)) for m in modes]
    schemes = []
    if len(own) != 1 or own.keys().isdisjoint(names):
        schemes.append(_run(bare, SAME, 'as it is', upto))
    for mode, name in zip(modes, names):
        if name in (VALID, FULL):
            schemes.append(_run(bare, name, name, upto))
        else:
            label = f'{name} (as it is)' if [*own] == [name] else name
            schemes.append(_run(bare.padded_by(mode), SAME, label, upto))
    own_scheme = next((s for s in schemes if s.label.endswith('as it is)')), schemes[0])
    return Foveation(Path(subject.name).name, subject.input_size, upto, schemes, own_scheme)


@dataclass
class Scheme:
    """A network under one padding.

    Attributes:
        label: The padding.
        usage: Uses of each pixel; None where the network cannot run so.
        problem: Why it cannot.
        stride: The network's total stride, pixels.
        depth: For at most 16 of the layers with windows of more than one cell, spread evenly over them,
            their number in the order they run, their name and the disparity of uses up to there.
    """

    label: str
    usage: Usage | None
    problem: str = ''
    stride: int = 1
    depth: Sequence[tuple[int, str, float]] = ()


def _run(subject: Subject, scheme: str, label: str, upto: str | None) -> Scheme:
    try:
        trace = ShapeRunner(subject).run(subject.input_size, scheme)
    except CannotRun as error:
        if scheme == SAME:  # no mode changes a size: nothing can be counted
            raise
        return Scheme(label, None, str(error.__cause__ or error).splitlines()[0])
    slides = [slide for slide in trace.slides if max(slide.kernel) > 1 and not slide.field.pooled]
    outputs = None
    if upto is not None:
        outputs = [slide.field for slide in trace.slides if slide.layer == upto]
        if not outputs:
            names = ', '.join(slide.layer for slide in trace.slides[:8])
            raise UserError(
                f'{subject.name} runs no convolution or pooling {upto!r}; it runs {names}, ...'
            )
        slides = [slide for slide in slides if slide.field.serial <= outputs[0].serial]
    usage = pixel_usage(trace, outputs)
    shown = np.linspace(0, len(slides) - 1, min(len(slides), _DEPTHS)).round().astype(int)
    depth = [
        (int(i) + 1, slides[i].layer, pixel_usage(trace, [slides[i].field]).disparity)
        for i in shown
    ]
    stride = int(max([1, *(max(slide.field.stride) for slide in slides)]))
    return Scheme(label, usage, '', stride, depth)


@dataclass
class Foveation(Diagnosis):
    """How many times a network uses each pixel of its input.

    Attributes:
        name: Of the network.
        input_size: (height, width), pixels.
        upto: The layer whose results count; None for the network's.
        schemes: One for each padding.
        own: The one that stands for the network as it is.
    """

    check: ClassVar[str] = 'foveation'
    title: ClassVar[str] = 'Foveation: how often each pixel is used'

    name: str
    input_size: tuple[int, int]
    upto: str | None
    schemes: list[Scheme]
    own: Scheme

    def table(self) -> Table:
        columns = ['padding', 'least', 'most', 'ratio', 'smoothed']
        columns += ['top', 'bottom', 'left', 'right', 'unused']
        rows = []
        for scheme in self.schemes:
            usage = scheme.usage
            if usage is None:
                rows.append([scheme.label, 'cannot run', *['-'] * 8])
                continue
            ends = (int(end) for end in (usage.counts.min(), usage.counts.max()))
            rows.append(
                [
                    scheme.label,
                    *(f'{end / usage.denominator:.4g}' for end in ends),
                    _number(usage.disparity),
                    _number(usage.smooth_disparity(scheme.stride)),
                    *(f'{side:.2f}' for side in usage.sides()),
                    str(usage.unused),
                ]
            )
        size = f'{self.input_size[0]} x {self.input_size[1]}'
        title = (
            f'Uses of each pixel at {size}: the least and the most, their ratio, the same smoothed over '
            f'the stride of {self.own.stride} px, the borders (the middle is 1), pixels not used'
        )
        return Table(columns, rows, title)

    def plot(self) -> Figure:
        shown = [scheme for scheme in self.schemes if scheme.usage is not None]
        rows = -(-len(shown) // _COLUMNS)
        height, width = self.input_size
        panel = 2.9 * height / width + 0.6
        figure = Figure((13.2, rows * panel + 4.0), layout='constrained')
        FigureCanvasAgg(figure)
        figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06)
        until = f', up to {self.upto}' if self.upto else ''
        figure.suptitle(f'Uses of each pixel, {self.name}{until}', fontsize=13)
        upper, lower = figure.subfigures(2, 1, height_ratios=[rows * panel, 3.4])
        maps = [scheme.usage.relative() for scheme in shown]
        # A few overused pixels must not make all else dark.
        top = max(1.0, *(float(np.quantile(values, 0.995)) for values in maps))
        grid = upper.subplots(rows, _COLUMNS, squeeze=False)
        for axes, scheme, values in zip(grid.flat, shown, maps):
            image = axes.imshow(
                values, COLOURS, vmin=0, vmax=top, extent=(0, width, height, 0),
                interpolation='antialiased',
            )  # fmt: skip
            ratio = _number(scheme.usage.disparity)
            smooth = _number(scheme.usage.smooth_disparity(scheme.stride))
            axes.set_title(
                f'{scheme.label}\nmost / least {ratio}, smoothed {smooth}', fontsize=10, loc='left'
            )
            axes.tick_params(labelsize=7)
        for axes in grid.flat[len(shown) :]:
            axes.set_axis_off()
        bar = upper.colorbar(image, ax=grid, fraction=0.02, pad=0.01, extend='max')
        bar.set_label('uses, the mean of the middle is 1', fontsize=9)
        bar.ax.tick_params(labelsize=8)
        self._draw_depth(lower.subplots(), shown)
        return figure

    def _draw_depth(self, axes: Axes, shown: list[Scheme]) -> None:
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
            own = scheme is self.own
            axes.plot(
                numbers, values, label=scheme.label,
                ls='-' if own else styles[line % len(styles)], lw=2.2 if own else 1.3,
                color=ACCENT if own else f'C{line}',
            )  # fmt: skip
        axes.set_yscale('log')
        axes.set_xlabel('layers with a kernel larger than 1 x 1, in the order they run', fontsize=9)
        axes.set_ylabel('most / least used pixel', fontsize=9)
        axes.set_title(
            "by depth: uses on the way to each layer's results (a branch off an earlier one: less)",
            fontsize=10,
            loc='left',
        )
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.tick_params(labelsize=8)
        axes.spines[['top', 'right']].set_visible(False)
        axes.legend(fontsize=8, loc='center left', bbox_to_anchor=(1.0, 0.5), frameon=False)

    def to_json(self) -> dict[str, Any]:
        schemes = {}
        for scheme in self.schemes:
            usage = scheme.usage
            if usage is None:
                schemes[scheme.label] = {'problem': scheme.problem}
                continue
            schemes[scheme.label] = {
                'least_used': int(usage.counts.min()),
                'most_used': int(usage.counts.max()),
                'denominator': usage.denominator,
                'unused_pixels': usage.unused,
                'disparity': _finite(usage.disparity),
                'smooth_disparity': _finite(usage.smooth_disparity(scheme.stride)),
                'sides': dict(zip(_SIDES, usage.sides())),
                'depth': [[*place, _finite(value)] for *place, value in scheme.depth],
            }
        return {
            'input_size': list(self.input_size),
            'upto': self.upto,
            'stride': self.own.stride,
            'own': self.own.label,
            'modes': schemes,
        }

    def advice(self) -> str:
        usage = self.own.usage
        sides = dict(zip(_SIDES, usage.sides()))
        weakest = min(sides, key=sides.get)
        # "zeros (as it is)", or "as it is" where layers differ or none pads.
        mode = self.own.label.replace('as it is', '').rstrip(' ()')
        text = f'With {mode} padding' if mode else 'As it is,'
        if usage.unused:
            text += f' {usage.unused} pixels are not used at all'
        else:
            text += (
                f' the most used pixel is used {_number(usage.disparity)} times as often as the '
            )
            text += 'least used'
        text += f'; use is lowest at the {weakest} border ({sides[weakest]:.2f} of the middle).'
        differ = [
            f'{one} and {other} ({sides[one]:.2f}, {sides[other]:.2f})'
            for one, other in (('top', 'bottom'), ('left', 'right'))
            if min(sides[one], sides[other]) < 0.9 * max(sides[one], sides[other])
        ]
        if differ:
            text += (
                f' Opposite sides differ, {", ".join(differ)}, as they do where strided layers pad '
                'unevenly: see there.'
            )
        text += ''.join(
            f' {_SCHEMES.get(scheme.label, f"With {scheme.label}")} it cannot run: '
            f'{scheme.problem.split(": take a larger")[0]}.'
            for scheme in self.schemes
            if scheme.usage is None
        )
        others = {}
        for scheme in self.schemes:
            if scheme.usage is not None and scheme.label not in (VALID, FULL):
                smooth = scheme.usage.smooth_disparity(scheme.stride)
                others[scheme.label] = smooth if smooth is not None else scheme.usage.disparity
        best = min(others, key=others.get)
        own = others.get(self.own.label)
        if own is not None and others[best] < 0.8 * own:
            alike = ', '.join(name for name in others if others[name] < 1.01 * others[best])
            text += (
                f' The image is used most evenly with {alike} padding: smoothed over the stride, '
                f'{_number(others[best])} instead of {_number(own)}. That is not to say that what it '
                'puts beyond the border is like the photo there: see the padding error.'
            )
        return text


def _number(value: float | None) -> str:
    if value is None:
        return '-'
    if np.isinf(value):
        return 'unbounded'
    return f'{value:.3g}' if value < 1000 or value >= 1e6 else f'{value:,.0f}'


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
