"""A scan in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mindpad_mm.scan.bound import bound_words
from mindpad_mm.scan.bystanders import bystander_words
from mindpad_mm.scan.causes import causes_words
from mindpad_mm.scan.info import ScanInfo
from mindpad_mm.scan.loss import NEAR
from mindpad_mm.scan.statistics import (
    BackgroundMean,
    ScanMapStatistics,
    paired_over_backgrounds,
    sized_name,
    sizes_of,
)

# Key in the statistics and name of what is told of a change, what says most about the border first.
_CHANGES = (
    ('loss.border', 'loss at the border'),
    ('mean', 'mean score'),
    ('blind_fraction', 'blind share'),
)


def summary_of(info: ScanInfo) -> str:
    """A description of a scan in a few sentences."""
    maps, overall = info.statistics['maps'], info.statistics['overall']
    where = f'{info.positions} positions in {count_of(len(info.backgrounds), "scene")}'
    if not any('mean' in each for each in maps):
        return f'{info.label!r}: all of {where} are flagged, the clean scene has detections there.'
    pasted = info.objects[0].source
    if len(info.objects) > 1:
        pasted += f' and {count_of(len(info.objects) - 1, "other")}'
    lines = [f'{info.label!r} at {where}; pasted: {pasted}.']
    sizes = sizes_of(maps)
    for size in sizes:
        mean, blind = (
            overall.get(sized_name(name, size, sizes)) for name in ('mean', 'blind_fraction')
        )
        if mean and blind:
            lines.append(
                f'At {size} px: mean score {_mean(mean)}, blind (below half the mean of the best '
                f'tenth) at {_mean(blind, percent=True)} of the positions.'
            )
    indices = np.ndindex(len(info.backgrounds), len(info.objects), len(info.sizes))
    index, worst = min(
        ((index, each['worst']) for index, each in zip(indices, maps) if 'worst' in each),
        key=lambda found: found[1]['score'],
    )
    lines.append(
        f'Lowest score {worst["score"]:.3f}: size {max(info.objects[index[1]].boxes[index[2]])} px, '
        f'{info.backgrounds[index[0]].source}, row {worst["row"]}, column {worst["col"]}.'
    )
    checked = bound_words(info.engine_notes, info.tolerance)
    lines += filter(None, [causes_words(maps), bystander_words(maps), checked])
    for size in sizes:
        border, inside = (
            overall.get(sized_name(f'loss.{name}', size, sizes)) for name in ('border', 'interior')
        )
        if border:
            lines.append(
                f'At {size} px, score with the border far minus score, within {NEAR} px of a side: '
                + _mean(border)
                + (f'; inside: {_mean(inside)}.' if inside else '.')
            )
    lines.append(
        'All but the last depend on the scene as well as on the border.'
        if info.windows
        else 'These numbers depend on the scene as well as on the border: the map shows which of '
        'them matters where.'
    )
    return '\n'.join(lines)


def change_words(
    first: Sequence[ScanMapStatistics], other: Sequence[ScanMapStatistics], heading: str
) -> list[str]:
    """How one scan differs from another, in a sentence for each size of the object.

    Args:
        first, other: Statistics of the same maps, in the same order.
        heading: What is compared, the beginning of each sentence.
    """
    changes, sizes = paired_over_backgrounds(first, other), sizes_of(first)
    sentences = []
    for size in sizes:
        told, decided, unsure = [], [], False
        for key, name in _CHANGES:
            change = changes.get(sized_name(key, size, sizes))
            if change is None:
                continue
            interval = change['interval']
            told.append(f'{name} {_signed(change["mean"])}')
            if interval is None:
                unsure = True
                continue
            told[-1] += f' [{", ".join(map(_signed, interval))}]'
            if not interval[0] <= 0 <= interval[1]:
                decided.append(f'{name} {"rises" if change["mean"] > 0 else "falls"}')
        if not told:
            continue
        verdict = f'{" and ".join(decided)} (decided)' if decided else 'nothing is decided'
        if unsure and not decided:
            verdict = 'too few scenes that differ for an interval, so nothing is decided'
        at = f', at {size} px' if len(sizes) > 1 else ''
        sentences.append(f'{heading}{at}: {verdict}. Changes: {"; ".join(told)}.')
    return sentences


def _signed(value: float) -> str:
    return f'{value:+.3f}'


def count_of(number: int, what: str) -> str:
    """A number of things, in the plural where it should be."""
    return f'{number} {what}{"s" * (number != 1)}'


def _mean(statistic: BackgroundMean, percent: bool = False) -> str:
    """A mean and its interval as text."""

    def to_text(value: float) -> str:
        return f'{100 * value:.1f} %' if percent else f'{value:.3f}'

    interval = ''
    if statistic['interval']:
        interval = f' [{", ".join(map(to_text, statistic["interval"]))}]'
    return to_text(statistic['mean']) + interval
