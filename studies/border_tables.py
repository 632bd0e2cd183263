"""The tables of the border study, from its results alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from mindpad_mm.border import percent, with_interval
from mindpad_mm.core.tables import Table
from mindpad_mm.settings.border import SIDES
from studies.border_estimates import DISTANCES, NEAR, Group, at, estimate, within
from studies.border_grid import (
    CENTRE,
    DOSES,
    EVEN_SIZE,
    LEAST_OPEN,
    MARGINS,
    UNIFORM,
    UPPER,
    Lights,
    grid,
)
from studies.border_prediction import prediction_tables
from studies.border_results import BorderResults
from studies.border_verdict import border_verdict, decided, lost
from studies.traffic_lights import MODES

_PLACES = (UNIFORM, *MARGINS, UPPER, *DOSES)


def border_markdown(results: BorderResults) -> str:
    """Verdict and tables of all that is measured so far."""
    parts = [border_verdict(results), _how(results), _coverage(results)]
    parts += [_by_place(results), _context(results), _by_side(results)]
    for lights in (CENTRE, UNIFORM):
        parts += [_swaps(results, lights), _trained_and_tested(results, lights)]
    parts += [_trained(results), _even(results), *prediction_tables(results)]
    return '\n\n'.join(part.strip() for part in parts if part)


def _group(results: BorderResults, lights: Lights, mode: str = 'zeros', size: int = 128) -> Group:
    return Group(results, lights, mode, size)


def _losses(group: Group, mode: str | None = None, measure: str = 'padding_loss') -> list[str]:
    return [with_interval(group.estimate(measure, mode, at(distance))) for distance in DISTANCES]


def _ap(results: BorderResults, group: Group, name: str = 'AP.50') -> str:
    values = [results.content['trainings'][cell.key]['ap'][name] for cell in group.cells]
    spread = f' ± {np.std(values, ddof=1):.3f}' if len(values) > 1 else ''
    return f'{np.mean(values):.3f}{spread}'


def _how(results: BorderResults) -> str:
    trainings = results.content['trainings'].values()
    hours = sum((t['cpu_seconds'] or 0) + t['measured_cpu_seconds'] for t in trainings) / 3600
    epochs = Counter(t['epochs'] for t in trainings)
    took = ', '.join(f'{count} took {number}' for number, count in sorted(epochs.items()))
    weak = [
        key
        for key, t in results.content['trainings'].items()
        if t['tests'][t['mode']]['summary']['open'] < LEAST_OPEN
    ]
    probes = results.probes(128)
    text = (
        f'{len(trainings)} of {len(list(grid()))} trainings, {hours:.1f} hours of one CPU thread. Each '
        f'is tested on the same {len(probes["photo"])} cuts in {len(np.unique(probes["photo"]))} '
        f'held-out photos, in all six modes (variants of the sets in three). A training whose open '
        f'score is below {LEAST_OPEN}, whatever its mode, is repeated with more epochs: {took} epochs'
    )
    text += f'; still below are {", ".join(weak)}.' if weak else '; none is below it.'
    return text + (
        ' Intervals are over seeds and photos, of one or two trainings over photos alone. '
        'Bold: the interval excludes 0.'
    )


def _coverage(results: BorderResults) -> str:
    settings = list(dict.fromkeys((cell.lights, cell.mode, cell.size) for cell in grid()))
    rows: dict[tuple[str, int], dict[str, str]] = {}
    for lights, mode, size in settings:
        group = _group(results, lights, mode, size)
        row = rows.setdefault((lights.description, size), {})
        row[mode] = f'{len(group.cells)} of {len(group.planned)}'
    return Table(
        ['lights', 'input', *MODES],
        [
            [name, str(size), *(row.get(mode, '') for mode in MODES)]
            for (name, size), row in rows.items()
        ],
        'Seeds measured so far, by the mode of the training',
    ).markdown()


def _present(results: BorderResults, places: Iterable[Lights], mode: str = 'zeros') -> list[Group]:
    groups = [_group(results, lights, mode) for lights in places]
    return [group for group in groups if group.cells]


def _by_place(results: BorderResults) -> str:
    rows = [
        [
            group.lights.description,
            str(len(group.cells)),
            _ap(results, group),
            with_interval(group.estimate('open')),
            *_losses(group),
            lost(group),
        ]
        for group in _present(results, _PLACES)
    ]
    distances = [f'at {d} px' for d in DISTANCES]
    return Table(
        ['lights in training', 'seeds', 'AP.50', 'open', *distances, 'lost at 0 px (in control)'],
        rows,
        '**Padding loss by distance, trained and tested with zeros, by where lights stood in training** '
        '(AP on held-out images with lights everywhere)',
    ).markdown()


def _context(results: BorderResults) -> str:
    rows = [
        [group.lights.description, *_losses(group, measure='context_loss')]
        for group in _present(results, _PLACES)
    ]
    return Table(
        ['lights in training', *(f'at {d} px' for d in DISTANCES)],
        rows,
        '**Context loss by distance**, the same trainings',
    ).markdown()


def _by_side(results: BorderResults) -> str:
    rows = [
        [
            group.lights.description,
            *(decided(group.estimate('padding_loss', None, within(sides=[s]))) for s in SIDES),
        ]
        for group in _present(results, _PLACES)
    ]
    return Table(
        ['lights in training', *SIDES],
        rows,
        f'**Padding loss within {NEAR} px, by side**, the same trainings',
    ).markdown()


def _swaps(results: BorderResults, lights: Lights) -> str:
    group = _group(results, lights)
    if not group.cells:
        return ''
    rows = []
    for mode in MODES:
        change = ['', '']
        if mode != 'zeros':
            change = [
                decided(group.estimate('cut', mode, within(), against='zeros')),
                decided(group.estimate('open', mode, against='zeros')),
            ]
        rows.append([mode, *_losses(group, mode), lost(group, mode), *change])
    distances = [f'at {d} px' for d in DISTANCES]
    return Table(
        [
            'tested with',
            *distances,
            'lost at 0 px (in control)',
            f'change of the score to {NEAR} px',
            'of the open score',
        ],
        rows,
        f'**Trained with zeros on lights {lights.description}, swapped at test time**: padding loss '
        f'({len(group.cells)} seeds)',
    ).markdown()


def _trained_and_tested(results: BorderResults, lights: Lights) -> str:
    rows = []
    for mode in MODES:
        group = _group(results, lights, mode)
        if group.cells:
            cells = [
                decided(
                    group.estimate('padding_loss', other, within()),
                    f'{with_interval(group.estimate("padding_loss", other, within()))} of '
                    f'{group.estimate("open", other)["mean"]:.2f}',
                )
                for other in MODES
            ]
            rows.append([f'trained with {mode} ({len(group.cells)})', *cells])
    return Table(
        ['(seeds)', *(f'tested with {mode}' for mode in MODES)],
        rows,
        f'**Lights {lights.description}: padding loss within {NEAR} px, of the open score**',
    ).markdown()


def _trained(results: BorderResults) -> str:
    rows = []
    for lights in (CENTRE, UNIFORM):
        for mode in MODES:
            group = _group(results, lights, mode)
            if not group.cells:
                continue
            seeds = tuple(cell.seed for cell in group.cells)
            zeros = Group(results, lights, 'zeros', seeds=seeds)
            rows.append(
                [
                    lights.description,
                    mode,
                    str(len(group.cells)),
                    _ap(results, group),
                    with_interval(group.estimate('open')),
                    with_interval(group.estimate('context_loss', None, within())),
                    decided(group.estimate('padding_loss', None, within())),
                    *(
                        percent(group.estimate('lost_objects', None, within(limit))['mean'])
                        for limit in (8, 16, 32)
                    ),
                    '' if mode == 'zeros' else _against(group, zeros),
                ]
            )
    return Table(
        [
            'lights in training', 'mode', 'seeds', 'AP.50', 'open', f'context loss to {NEAR} px',
            f'padding loss to {NEAR} px', 'lost to 8 px', 'to 16 px', 'to 32 px',
            f'score to {NEAR} px, against zeros',
        ],
        rows,
        '**Which mode to train with**: each tested in its own mode; last column paired by seed and photo',
    ).markdown()  # fmt: skip


def _against(ours: Group, theirs: Group) -> str:
    """Difference of the score near the border between two settings, paired by seed and probe."""
    seeds = [cell.seed for cell in theirs.cells]
    rows = [index for index, cell in enumerate(ours.cells) if cell.seed in seeds]
    if not rows:
        return ''
    probes = ours.results.probes(ours.size)
    near = within()(probes['distance'], probes['side'])
    change = ours.values(ours.mode)['cut'][rows] - theirs.values(theirs.mode)['cut']
    return decided(estimate(change[:, near], np.ascontiguousarray(probes['photo'][near], np.int64)))


def _even(results: BorderResults) -> str:
    rows = []
    for lights in (CENTRE, UNIFORM):
        for mode in ('zeros', 'reflect'):
            for size in (128, EVEN_SIZE):
                group = _group(results, lights, mode, size)
                if group.cells:
                    rows.append(
                        [lights.description, mode, str(size), str(len(group.cells)),
                         with_interval(group.estimate('open')), *_losses(group)]
                    )  # fmt: skip
    if all(row[2] != str(EVEN_SIZE) for row in rows):
        return ''
    return Table(
        [
            'lights in training',
            'mode',
            'input',
            'seeds',
            'open',
            *(f'at {d} px' for d in DISTANCES),
        ],
        rows,
        f'**Uneven ({128} px) and even ({EVEN_SIZE} px) padding**: padding loss',
    ).markdown()
