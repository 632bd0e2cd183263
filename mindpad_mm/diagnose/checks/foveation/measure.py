"""How unequally a network uses the pixels of its input, for each padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from matplotlib.figure import Figure

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.names import ModeSpec
from mindpad_mm.core.tables import Table
from mindpad_mm.diagnose.border_bias import SIDES
from mindpad_mm.diagnose.cannot_run import CannotRun
from mindpad_mm.diagnose.checks.foveation.plot import draw_foveation
from mindpad_mm.diagnose.checks.foveation.scheme import Scheme, number_text
from mindpad_mm.diagnose.checks.foveation.usage import pixel_usage
from mindpad_mm.diagnose.maps import own_modes
from mindpad_mm.diagnose.result import Diagnosis
from mindpad_mm.diagnose.subject import Subject
from mindpad_mm.diagnose.tracing import FULL, SAME, VALID, ShapeRunner, without_numbers
from mindpad_mm.padding.modes import describe, get_modes

MODES = ('zeros', 'reflect', 'symmetric', 'replicate', 'circular', 'partial')
_DEPTHS = 16
_SCHEMES = {VALID: 'Without any padding (valid)', FULL: 'With full padding'}


def check_foveation(
    subject: Subject,
    modes: Sequence[ModeSpec] | None = None,
    upto: str | None = None,
) -> Foveation:
    """Count how many times each input pixel is used.

    Args:
        subject: The network.
        modes: Paddings to compare: padding modes, ``valid`` (no padding) and ``full`` (each
            convolution padded by dilation * (kernel - 1) zeros). Under these two, branches may differ
            in size where they join; their centres are aligned, and the larger is cropped (``valid``)
            or the smaller surrounded by unused cells (``full``). Pooling keeps its padding except
            under ``valid``. Default: all; only ``full`` if no layer pads.
        upto: Count the paths to the output of this layer. Default: to the network's output.

    Raises:
        UserError: An unknown mode or layer, a function whose reads are not known, or the network
            cannot run at this size.

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


def _run(subject: Subject, scheme: str, label: str, upto: str | None) -> Scheme:
    try:
        trace = ShapeRunner(subject).run(subject.input_size, scheme)
    except CannotRun as error:
        if scheme == SAME:  # padding modes do not change map sizes: no scheme can run
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
        name: Name of the network.
        input_size: (height, width), pixels.
        upto: The layer whose output was counted; None for the network's output.
        schemes: One for each padding.
        own: The one with the network's own padding.
    """

    check: ClassVar[str] = 'foveation'
    title: ClassVar[str] = 'Foveation: how often each pixel is used'
    worth: ClassVar[str] = (
        'Over 294 pairs of training and test mode, the smoothed ratio follows padding loss loosely '
        '(Spearman .51 [.46, .55]).'
    )

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
                    number_text(usage.disparity),
                    number_text(usage.smooth_disparity(scheme.stride)),
                    *(f'{side:.2f}' for side in usage.sides()),
                    str(usage.unused),
                ]
            )
        size = f'{self.input_size[0]} x {self.input_size[1]}'
        title = (
            f'Uses of each pixel at {size}: least, most, their ratio, the ratio smoothed over the '
            f'stride of {self.own.stride} px, use at each border (middle: 1), unused pixels'
        )
        return Table(columns, rows, title)

    def plot(self) -> Figure:
        return draw_foveation(self.name, self.input_size, self.upto, self.schemes, self.own)

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
                'sides': dict(zip(SIDES, usage.sides())),
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
        sides = dict(zip(SIDES, usage.sides()))
        weakest = min(sides, key=sides.get)
        # "zeros (as it is)", or "as it is" if the modes of layers differ or no layer pads.
        mode = self.own.label.replace('as it is', '').rstrip(' ()')
        text = f'With {mode} padding' if mode else 'As it is,'
        if usage.unused:
            text += f' {usage.unused} pixels are not used at all'
        else:
            text += f' the most used pixel is used {number_text(usage.disparity)} times as often as the '
            text += 'least used'
        text += f'; use is lowest at the {weakest} border ({sides[weakest]:.2f} of the middle).'
        differ = [
            f'{one} and {other} ({sides[one]:.2f}, {sides[other]:.2f})'
            for one, other in (('top', 'bottom'), ('left', 'right'))
            if min(sides[one], sides[other]) < 0.9 * max(sides[one], sides[other])
        ]
        if differ:
            text += (
                f' Opposite sides differ: {", ".join(differ)}. Uneven padding of strided layers can '
                'cause this, see the check evenness.'
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
                f' The image is used most evenly with {alike} padding: smoothed over the stride, the '
                f'ratio is {number_text(others[best])} instead of {number_text(own)}.'
            )
        return text

    def finding(self) -> str:
        usage = self.own.usage
        if usage is None:
            return ''
        if usage.unused:
            return f'{usage.unused} pixels of the input are not used at all.'
        return (
            f'The most used pixel of the input is used {number_text(usage.disparity)} times as often as '
            f'the least used.'
        )


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
