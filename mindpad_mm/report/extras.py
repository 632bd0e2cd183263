"""What lies behind a map, as data of a scan page: causes of blind places, and other boxes."""

from __future__ import annotations

from typing import Any

import numpy as np

from mindpad_mm.core.tables import Table
from mindpad_mm.report.packing import fixed_point, packed
from mindpad_mm.scan import CAUSE_COLOURS, CAUSE_WORDS, CAUSES, ScanResult

# Why causes and other boxes are not compared with the border far.
WINDOWS_NOTE = (
    'Causes and other boxes are those in the window, with the border near: a shifted window shows other '
    'boxes, and its blind places are not run again.'
)


def cause_key() -> list[dict[str, str]]:
    """Name, meaning and colour of each cause; the first one is that of places that are not blind."""
    words = {'': '', **CAUSE_WORDS}
    colours = ('', *CAUSE_COLOURS)
    return [
        {'name': name, 'words': words[name], 'colour': colour}
        for name, colour in zip(CAUSES, colours)
    ]


def causes_data(result: ScanResult) -> dict[str, str] | None:
    """The causes of a scan, their raw scores and IoUs; None if it did not look for them."""
    causes = result.causes
    if causes is None:
        return None
    return {
        'codes': packed(causes.causes),
        'scores': packed(fixed_point(causes.raw_scores)),
        'ious': packed(fixed_point(causes.raw_ious)),
    }


def others_data(result: ScanResult) -> dict[str, Any] | None:
    """The other boxes of a scan and their states; None if it did not watch them."""
    others = result.bystanders
    if others is None:
        return None
    of_scenes = []
    for scene in range(len(others.labels)):
        classes = result.statistics(scene, 0, 0)['bystanders']['classes']
        of_scenes.append(
            [
                {'name': name, 'score': round(float(score), 2), 'box': np.round(box, 1).tolist()}
                for name, score, box in zip(classes, others.scores[scene], others.boxes[scene])
            ]
        )
    return {
        'states': packed(others.states),
        'appeared': packed(others.appeared[..., 0]),
        'boxes': of_scenes,
        'columns': others.states.shape[-1],
    }


def extra_tables(result: ScanResult) -> list[Table]:
    """The counts of causes and of other boxes, a row for each map."""
    maps = result.info.statistics['maps']
    where = ['scene', 'object', 'size']
    tables = []
    if result.causes is not None:
        names = [name for name in CAUSES[1:] if any(name in m['causes']['counts'] for m in maps)]
        rows = [
            [*_where(each), *(str(each['causes']['counts'].get(name, 0)) for name in names)]
            for each in maps
        ]
        tables.append(Table([*where, *names], rows, 'Blind places by cause'))
    if result.bystanders is not None:
        columns = ['boxes', 'vanish', 'change class', 'appear']
        keys = ('boxes', 'vanished', 'changed', 'appeared')
        rows = [[*_where(m), *(str(m['bystanders'][key]) for key in keys)] for m in maps]
        tables.append(Table([*where, *columns], rows, 'Other boxes, in all positions together'))
    return tables


def _where(each: Any) -> list[str]:
    return [str(each[name]) for name in ('background', 'object', 'size')]
