"""Finished detectors as they are: swaps, padded inputs of several widths, and overlapping tiles."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mindpad_mm.border import BorderResult, BorderSettings, border_loss, percent, with_interval
from mindpad_mm.border.inputs import WindowInputs
from mindpad_mm.border.losses import Estimate
from mindpad_mm.border.variants import AS_TRAINED, variants_of
from mindpad_mm.core.detector import DetectorFiles, in_channels_last
from mindpad_mm.core.files import save_json
from mindpad_mm.core.opened import opened
from mindpad_mm.core.tables import Table
from studies.evaluation import cut_objects
from studies.traffic_lights import MODES

WIDTHS = (16, 32, 64)
HOW = ('reflect', 'replicate', 'constant')
# The claims of the reproducibility report about an SSD trained on COCO, swapped at evaluation time.
CLAIMS = {'reflect': 'cures', 'circular': 'does little'}
# A change of the score near the border that is smaller than this is little.
_LITTLE = 0.02
_BATCH, _TURNS = 4, 7
_KEPT = ('open', 'border_loss', 'context_loss', 'padding_loss', 'lost_objects', 'lost_in_control')


@dataclasses.dataclass(frozen=True)
class Case:
    """A detector and the objects that it is measured with.

    Attributes:
        name: In the results.
        files: The detector.
        photos: Folder of photos.
        crops: Crops of traffic lights to paste. Default: what the detector finds itself.
        minutes: Of all measurements: half for the swaps, the rest for the widths in equal parts.
        modes: Swaps to try.
        widths: Widths of the padded inputs, pixels.
        how: Ways to pad the input.
        sizes: Longer sides of the pasted lights, pixels of the network's input.
    """

    name: str
    files: DetectorFiles
    photos: Path
    crops: Sequence[Path] = ()
    minutes: float = 5
    modes: Sequence[str] = MODES[1:]
    widths: Sequence[int] = WIDTHS
    how: Sequence[str] = HOW
    sizes: Sequence[int] = (32,)

    def measure(self, work_dir: Path) -> dict[str, Any]:
        """Its border loss under every swap and padded input, as JSON types.

        Args:
            work_dir: Finished measurements in it are reused.
        """
        pasted = cut_objects(self.crops, work_dir / 'objects') if self.crops else ()
        found: dict[str, Any] = {'runs': {}, 'seconds': 0.0}
        # A measurement of its own for each: with fewer variants, there is time for more cuts.
        for name, width in [('swaps', None), *((f'{width} px', width) for width in self.widths)]:
            out = work_dir / self.name / name
            inputs = {'input_padding': self.how, 'input_padding_px': width}
            result = border_loss(
                self.files,
                [self.photos],
                object=pasted,
                sizes=self.sizes,
                minutes=self.minutes / 2 / (1 if width is None else len(self.widths)),
                out=out,
                resume=out.is_dir(),
                **({'padding': self.modes} if width is None else inputs),
            )
            assert result is not None  # there is one process
            found['runs'][name] = _figures(result)
            found['seconds'] = round(found['seconds'] + result.info.seconds, 1)
        found['window'] = result.info.photos[0]['window']
        found['time'] = self._costs(found['window'])
        return found

    def _costs(self, window: Sequence[int]) -> dict[str, float]:
        """CPU time of a batch under each variant, relative to as trained: the median of turns."""
        height, width = window
        rng = np.random.default_rng(0)
        batch = list(rng.integers(0, 256, (_BATCH, height, width, 3), np.uint8))
        size = (height, width)
        with opened(self.files, 'cpu') as detector, contextlib.ExitStack() as stack:
            runs: dict[str, Callable[[], Any]] = {}
            for n in self.widths:
                settings = BorderSettings(
                    padding=tuple(self.modes) if n == self.widths[0] else (),
                    input_padding=tuple(self.how),
                    input_padding_px=n,
                )
                for variant in variants_of(detector.model, settings, {}):
                    model = stack.enter_context(variant.built(detector.model, 'cpu'))
                    inputs = WindowInputs(in_channels_last(model), size, variant.input_padding, n)
                    runs[variant.name] = functools.partial(inputs.detect, model, batch)
            seconds: dict[str, list[float]] = {name: [] for name in runs}
            for turn in range(_TURNS + 1):
                for name, run in runs.items():
                    begin = time.process_time()
                    run()
                    if turn:  # the first one warms up
                        seconds[name].append(time.process_time() - begin)
        first = seconds[AS_TRAINED]
        return {
            name: round(statistics.median(a / b for a, b in zip(taken, first)), 3)
            for name, taken in seconds.items()
        }


def _figures(result: BorderResult) -> dict[str, Any]:
    """What the tables show of one measurement, as JSON types."""
    figures: dict[str, Any] = {'facts': result.facts(), 'variants': {}}
    for variant in result.info.variants:
        kept = result.statistics[variant.name]
        near, beyond = (kept['by_side']['all'][key] for key in ('near', 'beyond'))
        change = kept['differences'].get('near')
        figures['variants'][variant.name] = {
            'near': {name: near[name] for name in _KEPT},
            'beyond': beyond['border_loss'],
            'change': change and change['cut'],
            'open_change': change and change['open'],
        }
    settings = result.info.settings
    as_trained = result.statistics[result.info.variants[0].name]['by_side']
    figures['by_distance'] = {
        str(d): as_trained['all'][str(d)]['border_loss'] for d in settings['distances']
    }
    figures['by_side'] = {
        side: as_trained[side]['near']['padding_loss'] for side in settings['sides']
    }
    return figures


def collect(cases: Sequence[Case], work_dir: Path, file: Path) -> dict[str, Any]:
    """Measure what the file lacks; kept after each case.

    Returns:
        What :meth:`Case.measure` gives, by the names of the cases, and of those measured before.
    """
    results: dict[str, Any] = json.loads(file.read_text('utf-8')) if file.is_file() else {}
    for case in cases:
        if case.name not in results:
            results[case.name] = case.measure(work_dir)
            save_json(file, results)
    return results


def claim_of(mode: str, change: Estimate) -> str:
    """Whether the report's claim about a mode holds: reproduced, not reproduced or undecided."""
    interval = change['interval']
    if interval is None:
        return 'undecided'
    low, high = interval
    if CLAIMS[mode] == 'cures':
        return 'reproduced' if low > 0 else 'not reproduced' if high < _LITTLE else 'undecided'
    little = low > -_LITTLE and high < _LITTLE
    large = low > _LITTLE or high < -_LITTLE
    return 'reproduced' if little else 'not reproduced' if large else 'undecided'


def real_markdown(results: Mapping[str, Any]) -> str:
    """Tables of all cases, claims first."""
    parts = [_claims(results)]
    for name, found in results.items():
        minutes = found['seconds'] / 60
        parts.append(f'**{name}** ({minutes:.0f} minutes in all)')
        for title, run in found['runs'].items():
            # Where padding may be to blame, border loss tries swaps unasked; the first run has them.
            left_out = () if title == 'swaps' else MODES
            parts.append(_variants(run, found['time'], left_out))
        parts.append(_overlap(found))
    return '\n\n'.join(part.strip() for part in parts)


def _variants(run: Mapping[str, Any], times: Mapping[str, float], left_out: Sequence[str]) -> str:
    """One measurement: its variants, on the same cuts, those left out that are named."""
    rows = []
    for variant, figures in run['variants'].items():
        if variant in left_out:
            continue
        near = figures['near']
        lost, control = (percent(near[k]['mean']) for k in ('lost_objects', 'lost_in_control'))
        rows.append(
            [
                variant,
                *(with_interval(near[k]) for k in ('open', 'context_loss', 'padding_loss')),
                f'{lost} ({control})',
                *(
                    with_interval(figures[k]) if figures[k] else ''
                    for k in ('change', 'open_change')
                ),
                f'{times[variant]:.2f}',
            ]
        )
    columns = ['within 16 px', 'open', 'context loss', 'padding loss', 'lost (in control)',
               'near score, against as trained', 'open score', 'time']  # fmt: skip
    return Table(columns, rows, f'{run["facts"]}.').markdown()


def _overlap(found: Mapping[str, Any]) -> str:
    """What tiles that overlap gain: every object is then at least so far from the border of one."""
    window = found['window']
    rows = []
    for text, loss in found['runs']['swaps']['by_distance'].items():
        shared = 2 * int(text)
        cost = 1.0
        for length in window:
            cost *= length / max(1, length - shared)
        rows.append([f'{text} px', with_interval(loss), f'{cost:.2f}'])
    return Table(
        ['nearest border of the best tile', 'border loss there, as trained', 'tiles'],
        rows,
        'Tiles that overlap by an object and twice the distance; tiles needed, without overlap: 1',
    ).markdown()


def _claims(results: Mapping[str, Any]) -> str:
    rows = []
    for name, found in results.items():
        for mode, claim in CLAIMS.items():
            change = found['runs']['swaps']['variants'].get(mode, {}).get('change')
            if change:
                rows.append(
                    [f'{mode} at evaluation time {claim}', name, with_interval(change),
                     claim_of(mode, change)]
                )  # fmt: skip
    return Table(['reported for an SSD on COCO', 'here', 'near score', ''], rows).markdown()
