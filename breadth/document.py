"""docs/SUPPORT.md: a verdict, the reasons of what does not work, and a row for each folder."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from breadth.configs import SIZE, folders
from breadth.probe import CHECKS
from mindpad_mm.core.tables import Table

_INTRODUCTION = """\
# What works on MMDetection's configs

One config of each of MMDetection's config folders, built with random weights and given inputs of
{size} x {size} pixels (SSD300: 300, DINO and DDQ: 256). `make support` makes this page and
[`results/support.json`](results/support.json), which has every figure and every reason in full; an
interrupted run continues. MMDetection {mmdet}, mmcv {mmcv} ({build}), torch {torch}.
"""
_HOW = """\
## How to read the table

- *builds*: as it is and with `padding_cfg='reflect'` on the whole model, with equal initial weights
  under one seed.
- *swapped / named*: layers that pad which were swapped, and which were left alone and named with the
  reason.
- *shapes*, *zeros*: the dense outputs have equal shapes under reflect, and are bit-equal after swapping
  back to zeros.
- *engines*: scores and head outputs of the incremental engine equal those of the full engine within
  1e-4, at four positions under reflect. *as the full*: the incremental engine hands over to the full
  engine, and says why.
- *diagnose*: how many of {checks} ran. *border*: a border loss of a pasted object was measured.
- -: not tried, since the config does not build.
"""

Row = Mapping[str, Any]


def document(results: Mapping[str, Any]) -> str:
    """The page, from the content of ``support.json``."""
    rows: Mapping[str, Row] = results['folders']
    versions = results['versions']
    introduction = _INTRODUCTION.format(
        size=SIZE,
        mmdet=versions['mmdet'],
        mmcv=versions['mmcv'],
        build=results['build'],
        torch=versions['torch'],
    )
    missing = [name for name in folders() if name not in rows]
    parts = [introduction, '## Verdict\n', _verdict(rows, missing), '## Why not\n', _reasons(rows)]
    checks = f'{", ".join(CHECKS[:-1])} and {CHECKS[-1]}'
    return '\n'.join([*parts, _HOW.format(checks=checks), '## All folders\n', _table(rows)])


def _found(row: Row, step: str) -> Mapping[str, Any] | None:
    """What a step found; None if it failed or was not tried."""
    found: Mapping[str, Any] | None = row['steps'].get(step, {}).get('found')
    return found


def _why(row: Row, step: str) -> str:
    """Why a step failed, in short; empty if it did not."""
    result = row['steps'].get(step, {})
    reason = str(result.get('refused') or result.get('failed') or '')
    return re.sub(r'^UserError: ', '', reason)


def _verdict(rows: Mapping[str, Row], missing: Sequence[str]) -> str:
    built = [row for row in rows.values() if _found(row, 'builds')]
    swaps = [found for row in built if (found := _found(row, 'swaps'))]
    engines = [found for row in built if (found := _found(row, 'engines'))]
    own = [found for found in engines if 'full_engine_because' not in found['notes']]

    def of(found: Sequence[Any], test: Callable[[Any], bool]) -> str:
        return f'{sum(map(test, found))} of {len(found)}'

    diagnosed = [found for row in built if (found := _found(row, 'diagnoses'))]
    lines = [
        f'- **{len(built)} of {len(rows)} folders build**, all of them with `padding_cfg` too; initial '
        f'weights are equal in '
        f'{of([_found(row, "builds") for row in built], lambda found: found["equal_weights"])}.',
        f'- **{sum(found["swapped"] for found in swaps)} layers that pad are swapped, '
        f'{sum(found["named"] for found in swaps)} are named** with the reason, in {len(swaps)} '
        f'detectors whose dense part runs. Shapes are equal in '
        f'{of(swaps, lambda found: found["shapes_equal"])}; back in zeros, outputs are bit-equal in '
        f'{of(swaps, lambda found: found["zeros_bit_equal"])}.',
        f'- **Engines agree in {of(engines, lambda found: found["holds"])}** detectors that both run; in '
        f'{len(engines) - len(own)} of them the incremental engine hands over to the full one. With '
        f'random weights the object is found, so that scores are compared too, in '
        f'{of(engines, lambda found: found["found"] > 0)}; in '
        f'{of(engines, lambda found: found["head"] == 0)} head outputs do not differ by a bit, which '
        f'may mean that they do not depend on the object.',
        f'- **All {len(CHECKS)} checks of the diagnosis run in '
        f'{of(diagnosed, lambda found: len(found["ran"]) == len(CHECKS))}** detectors; a border loss is '
        f'measured in {of(built, lambda row: _found(row, "border") is not None)}.',
    ]
    if missing:
        lines.append(f'- Not tried yet: {", ".join(missing)}. `make support` continues.')
    return '\n'.join(lines) + '\n'


def _reasons(rows: Mapping[str, Row]) -> str:
    """Failures grouped by step and reason; a traceback is called one."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, row in rows.items():
        for step in row['steps']:
            if reason := _why(row, step):
                groups[step, _short(reason)].append(name)
        for check, reason in (_found(row, 'diagnoses') or {}).get('refused', {}).items():
            groups['diagnoses', f'{check}: {_short(reason)}'].append(name)
        for reason in (_found(row, 'swaps') or {}).get('reasons', ()):
            if 'pool=True' not in reason:
                groups['swaps', f'named: {reason}'].append(name)
        notes = (_found(row, 'engines') or {}).get('notes', {})
        if 'full_engine_because' in notes:
            groups['engines', f'as the full: {_short(notes["full_engine_because"])}'].append(name)
    ordered = sorted(groups.items(), key=lambda group: (group[0][0], -len(group[1])))
    table = [[step, str(len(names)), reason, ', '.join(names)] for (step, reason), names in ordered]
    return Table(('step', 'folders', 'reason', 'which'), table).markdown()


def _short(reason: str, most: int = 160) -> str:
    """A reason without what differs between configs: paths and long numbers."""
    reason = re.sub(r'\S*/\.mim/configs/\S*?([^/\s]+\.py)', 'the config', reason)
    reason = re.sub(r'\d{5,}', 'N', reason)
    return reason if len(reason) <= most else f'{reason[:most]}...'


def _table(rows: Mapping[str, Row]) -> str:
    columns = (
        'folder', 'config', 'builds', 'swapped / named', 'shapes', 'zeros', 'engines', 'diagnose',
        'border', 'why not',
    )  # fmt: skip
    return Table(columns, [_cells(name, row) for name, row in rows.items()]).markdown()


def _cells(name: str, row: Row) -> list[str]:
    config = row['config'].removesuffix('.py')
    builds, swaps = _found(row, 'builds'), _found(row, 'swaps')
    why = next((reason for step in row['steps'] if (reason := _why(row, step))), '')
    if builds is None:
        return [name, config, 'no', *'------', _short(why, 90)]
    cells = [name, config, 'yes' if builds['equal_weights'] else 'other weights']
    if swaps is None:
        cells += ['no', '-', '-']
    else:
        cells.append(f'{swaps["swapped"]} / {swaps["named"]}')
        cells += ['equal' if swaps['shapes_equal'] else '**differ**']
        cells += ['equal' if swaps['zeros_bit_equal'] else '**differ**']
    engines = _found(row, 'engines')
    if engines is None:
        cells.append('no')
    elif 'full_engine_because' in engines['notes']:
        cells.append('as the full')
    else:
        cells.append('agree' if engines['holds'] else f'**differ** ({engines["score"]:.1e})')
    diagnosed = _found(row, 'diagnoses')
    cells.append('no' if diagnosed is None else f'{len(diagnosed["ran"])} of {len(CHECKS)}')
    cells.append('no' if _found(row, 'border') is None else 'yes')
    return [*cells, _short(why, 90)]
