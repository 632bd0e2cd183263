"""Tables and claims of the traffic-light studies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mindpad_mm.core.tables import Table
from studies.traffic_lights import MODES

AP = {
    'mAP': 'mAP',
    'mAP_20': 'AP.20',
    'mAP_50': 'AP.50',
    'mAP_75': 'AP.75',
    'zone0_mAP': 'outermost zone',
    'zone1_mAP': 'zone 1',
    'zone2_mAP': 'zone 2',
    'zone3_mAP': 'zone 3',
    'zone4_mAP': 'centre',
    'border_0_8_mAP': '< 8 px from the border',
}
SCAN = {
    'scan.mean': 'mean score',
    'scan.blind_fraction': 'blind fraction',
    'scan.worst_row.mean': 'worst row',
    'scan.worst_col.mean': 'worst column',
    'scan.flicker.max': 'flicker, max',
    'scan.flicker.mean': 'flicker, mean',
    'scan.grid_phase.share': 'grid phase, share',
}
_SIDES = ('top', 'bottom', 'left', 'right')
EDGES = {f'scan.edge_drop.{side}': side for side in _SIDES}
# What scans measured near the sides before edge drops; stored results may have it.
BORDER_EFFECTS = {f'scan.border_effect.{place}': place for place in (*_SIDES, 'corners')}
LAYERS = {
    'layers.border_bias': 'border-bias index',
    'layers.border_bias_photos': 'on photos',
    'layers.strided_filter_x': 'strided filters, x',
    'layers.strided_filter_y': 'y',
}
_MIRRORS, _EVEN = ('reflect', 'symmetric'), ('zeros', 'reflect')
# (claim, reported value, comparison, its modes, metric, expected sign of the difference)
CLAIMS = (
    ('Mirror padding raises AP.20', '80.2 to 83.2', '128 {} - 128 zeros', _MIRRORS, 'mAP_20', 1),
    ('Mirror padding raises AP.50', '49.6 to 57.0', '128 {} - 128 zeros', _MIRRORS, 'mAP_50', 1),
    ('Mirror padding raises AP.75', '3.7 to 8.4', '128 {} - 128 zeros', _MIRRORS, 'mAP_75', 1),
    (
        'Mirror padding cures blind spots', 'yes',
        '128 {} - 128 zeros', _MIRRORS, 'scan.blind_fraction', -1,
    ),
    (
        'Mirror padding removes border artifacts', 'yes',
        '128 {} - 128 zeros', _MIRRORS, 'layers.border_bias', -1,
    ),
    (
        'Circular padding is robust to shifts', 'yes',
        '128 {} - 128 zeros', ('circular',), 'scan.flicker.mean', -1,
    ),
    ('Even padding is more accurate', '+0.4 to +0.8 points', '129 {0} - 128 {0}', _EVEN, 'mAP', 1),
    (
        'Even padding: symmetric filters, x', 'yes',
        '129 {0} - 128 {0}', _EVEN, 'layers.strided_filter_x', -1,
    ),
    (
        'Even padding: symmetric filters, y', 'yes',
        '129 {0} - 128 {0}', _EVEN, 'layers.strided_filter_y', -1,
    ),
)  # fmt: skip


def traffic_lights_markdown(results: dict[str, Any]) -> str:
    """All results of the study as Markdown.

    Args:
        results: The results of :func:`studies.traffic_lights.collect`.
    """
    settings = results['settings']
    parts = [_summary(results)]
    has_edges = any(set(EDGES) & set(summaries) for summaries in settings.values())
    near_sides = (EDGES if has_edges else BORDER_EFFECTS) | LAYERS
    what = 'Edge drop of' if has_edges else 'Border effect on'
    for title, columns in (
        ('AP on held-out photos and lights, mean ± sd over seeds', AP),
        ('Scan of held-out lights on held-out streets, mean ± sd over seeds', SCAN),
        (f'{what} the score by side; border bias and filters of the layers', near_sides),
    ):
        rows = [
            [name, str(summaries['seeds']), *(_cell(summaries.get(key)) for key in columns)]
            for name, summaries in settings.items()
        ]
        parts.append(Table(['setting', 'seeds', *columns.values()], rows, title).markdown())
    for title, columns in (
        ('AP, difference (paired by seed and image): 95 % intervals over seeds / over images', AP),
        ('Scan, difference (paired by seed): 95 % interval over seeds', SCAN),
        ('Border and layers, difference (paired by seed): 95 % interval over seeds', near_sides),
    ):
        rows = [
            [name, *(_difference_cell(differences.get(key)) for key in columns)]
            for name, differences in results['differences'].items()
        ]
        parts.append(Table(['', *columns.values()], rows, title).markdown())
    parts.append(claims_table(results).markdown())
    return '\n'.join(parts)


def claims_table(results: dict[str, Any]) -> Table:
    """The paper's and the report's claims, each with the measured difference and a verdict."""
    rows = []
    wanted = [(claim, mode) for claim in CLAIMS for mode in claim[3]]
    for (claim, reported, comparison, _, metric, sign), mode in wanted:
        name = comparison.format(mode)
        found = results['differences'].get(name, {}).get(metric)
        verdict = 'not run yet' if found is None else judge(found['verdict'], sign)
        rows.append([claim, reported, name, _difference_cell(found), verdict])
    return Table(['claim', 'reported', 'comparison', 'found', 'here'], rows, 'The claims')


def judge(verdict: str, sign: int) -> str:
    """``reproduced``, ``not reproduced`` (the opposite was found) or ``undecided``."""
    if verdict == 'undecided':
        return verdict
    return 'reproduced' if (verdict == 'higher') == (sign > 0) else 'not reproduced'


def swap_markdown(results: dict[str, Any]) -> str:
    """All results of the swaps as Markdown.

    Args:
        results: The results of :func:`studies.swap_matrix.swap_matrix`.
    """
    parts = []
    for metric in ('mAP', 'mAP_50', 'zone0_mAP'):
        for images in sorted({0, results['recalibrate']}):
            cells = [c for c in results['cells'] if c['recalibrated'] == images]
            if cells:
                parts.append(_matrix(cells, metric, images).markdown())
    scans = [cell for cell in results['cells'] if 'scan' in cell]
    keys = {key[len('scan.') :]: name for key, name in SCAN.items()}
    rows = [
        [f'zeros → {cell["tested"]}', *(_cell(cell['scan']['figures'].get(key)) for key in keys)]
        for cell in scans
    ]
    rows += [
        [
            f'{cell["tested"]} - zeros',
            *(_difference_cell(cell['scan']['differences'].get(key)) for key in keys),
        ]
        for cell in scans
        if cell['tested'] != 'zeros'
    ]
    title = 'Scan of detectors trained in zeros and tested in other modes, without further training'
    parts.append(Table(['', *keys.values()], rows, title).markdown())
    if results['missing']:
        parts.append(f'Not trained yet: {", ".join(results["missing"])}.\n')
    return '\n'.join(parts)


def _matrix(cells: Sequence[dict[str, Any]], metric: str, images: int) -> Table:
    by_pair = {(cell['trained'], cell['tested']): cell for cell in cells}
    rows = []
    for trained in MODES:
        row = [_swap_cell(by_pair.get((trained, tested)), metric) for tested in MODES]
        rows.append([f'trained in {trained}', *row])
    title = f'{AP[metric]}, mean ± sd over seeds; * differs from the same weights in their own mode'
    if images:
        title += f'; batch-norm statistics of {images} images'
    return Table(['', *(f'in {mode}' for mode in MODES)], rows, title)


def _swap_cell(cell: dict[str, Any] | None, metric: str) -> str:
    if cell is None:
        return '-'
    decided = cell['differences'][metric]['verdict'] != 'undecided'
    return _cell(cell['figures'][metric]) + ('*' if decided else '')


def _cell(found: dict[str, Any] | None) -> str:
    if found is None:
        return '-'
    spread = '' if found['sd'] is None else f' ± {found["sd"]:.3f}'
    return f'{found["mean"]:.3f}{spread}'


def _difference_cell(found: dict[str, Any] | None) -> str:
    if found is None:
        return '-'
    intervals = [found[kind] for kind in ('seeds', 'images') if found[kind] is not None]
    text = ' / '.join(f'[{low:+.3f}, {high:+.3f}]' for low, high in intervals)
    strong = '**' if found['verdict'] != 'undecided' else ''
    return f'{strong}{found["mean"]:+.3f}{strong} {text}'.strip()


def _summary(results: dict[str, Any]) -> str:
    runs = sum(len(by_seed) for by_seed in results['runs'].values())
    text = f'{runs} trainings, seeds {", ".join(map(str, results["seeds"]))}. Bold: decided, see above.'
    cost = results['cpu_seconds']
    if cost['trainings']:
        text += f' A training took {cost["mean"]:.0f} s of CPU time'
        text += f' (mean of the {cost["trainings"]} that ran without interruption).'
    if results['missing']:
        text += f' Not trained yet: {", ".join(results["missing"])}.'
    return text + '\n'
