"""What a measurement means, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mindpad_mm.border.statistics import NEAR, Estimate, VariantStatistics
from mindpad_mm.border.variants import CHECKPOINT, INPUT_PADDING, SWAP, VariantInfo

# Differences of scores below this matter to nobody, however surely they are not 0.
MATTERS = 0.02


def above(estimate: Estimate, least: float = 0.0) -> bool:
    """Whether the interval of an estimate lies above a value."""
    return estimate['interval'] is not None and estimate['interval'][0] > least


def padding_is_to_blame(statistics: VariantStatistics) -> bool:
    """Whether padding loss near the border is decided, and large enough to matter."""
    loss = statistics['by_side']['all'][NEAR]['padding_loss']
    return above(loss) and (loss['mean'] or 0) >= MATTERS


def verdict(
    statistics: Mapping[str, VariantStatistics],
    variants: Sequence[VariantInfo],
    settings: Mapping[str, Any],
) -> list[str]:
    """Sentences: what the border costs, padding's share of it, what swaps would do, what to do."""
    own = statistics[variants[0].name]
    near = own['by_side']['all'][NEAR]
    if not near['border_loss']['n']:
        return [f'No object was scored within {settings["near"]} px of a cut.']
    sentences = [_cost(near, settings)]
    if near['border_loss']['interval'] is None:
        photos = near['border_loss']['photos']
        sentences.append(f'Only {photos} photos: too few for intervals, so nothing is decided.')
        return sentences
    sentences.append(_causes(near))
    changes = {
        each: statistics[each.name]['differences'][NEAR]
        for each in variants[1:]
        if statistics[each.name]['differences'][NEAR]['cut']['n']
    }
    swaps = [each for each in changes if each.kind == SWAP]
    swaps.sort(key=lambda each: -(changes[each]['cut']['mean'] or 0))
    told = [_swap(each, changes[each]) for each in swaps]
    if told:
        sentences.append('Swapped without retraining, near the border: ' + ', '.join(told) + '.')
    sentences.append(_advice(own, changes, settings))
    return sentences


def _cost(near: Mapping[str, Estimate], settings: Mapping[str, Any]) -> str:
    loss, lost = near['border_loss'], near['lost_objects']
    where = f'Within {settings["near"]} px of the border this detector'
    of = f'of {number(near["open"]["mean"])} confidence'
    if loss['interval'] is not None and not above(loss):
        return f'{where} loses {with_interval(loss)} {of}: no loss is shown.'
    objects = f' and {percent(lost["mean"])} of its objects' if lost['n'] else ''
    return f'{where} loses {with_interval(loss)} {of}{objects}.'


def _causes(near: Mapping[str, Estimate]) -> str:
    padding, context = near['padding_loss'], near['context_loss']
    return (
        f'Padding accounts for {with_interval(padding)} of it, missing context for '
        f'{with_interval(context)}.'
    )


def _swap(variant: VariantInfo, change: Mapping[str, Estimate]) -> str:
    gain = change['cut']
    mean, interval = gain['mean'] or 0, gain['interval']
    if interval is None or interval[0] <= 0 <= interval[1]:
        return f'{variant.name} changes {with_interval(gain)}, undecided'
    if mean > 0:
        return f'{variant.name} wins back {with_interval(gain)}'
    cost: Estimate = {**gain, 'mean': -mean, 'interval': [-interval[1], -interval[0]]}
    return f'{variant.name} costs {with_interval(cost)}'


def _advice(
    own: VariantStatistics,
    changes: Mapping[VariantInfo, Mapping[str, Estimate]],
    settings: Mapping[str, Any],
) -> str:
    by_distance = own['by_side']['all']
    near = by_distance[NEAR]
    blame = padding_is_to_blame(own)
    helping = [
        each
        for each, change in changes.items()
        if above(change['cut']) and (change['open']['mean'] or 0) >= -MATTERS
    ]
    helping.sort(key=lambda each: -(changes[each]['cut']['mean'] or 0))

    def gain(each: VariantInfo) -> str:
        return number(changes[each]['cut']['mean'])

    advice = []
    swaps = [each for each in helping if each.kind == SWAP]
    trained = [each for each in helping if each.kind == CHECKPOINT]
    padded = [each for each in helping if each.kind == INPUT_PADDING]
    if blame and swaps:
        loss = number(near['padding_loss']['mean'])
        advice.append(
            f'Padding is to blame: swap to {swaps[0].name}, which wins back {gain(swaps[0])} '
            f'(padding loss {loss}) without retraining.'
        )
    elif blame:
        tried = any(each.kind == SWAP for each in changes)
        loss = with_interval(near['padding_loss'])
        advice.append(
            f'Do not swap: padding costs {loss}, but no swap wins that back without retraining.'
            if tried
            else 'Padding is to blame.'
        )
        advice.append('Train with objects near the border, or with another padding.')
    else:
        advice.append('Do not swap: padding is not to blame.')
    if trained:
        advice.append(f'The checkpoint {trained[0].name} does better by {gain(trained[0])}.')
    if above(near['border_loss'], MATTERS) and not (blame and swaps):
        rim = _rim(by_distance, settings['distances'])
        if rim is not None:
            advice.append(
                f'If your images are tiles, let them overlap by the size of an object plus {rim} px: '
                f'from there on no loss is shown.'
            )
    if padded:
        advice.append(f'With {padded[0].name} it finds {gain(padded[0])} more.')
    return ' '.join(advice)


def _rim(by_distance: Mapping[str, Mapping[str, Estimate]], distances: Sequence[int]) -> int | None:
    """The least distance from which on no border loss is shown; None if there is none."""
    rim = None
    for distance in sorted(distances, reverse=True):
        loss = by_distance[str(distance)]['border_loss']
        if not loss['n'] or above(loss):
            break
        rim = distance
    return rim


def number(value: float | None) -> str:
    """A score to two decimals, ``.05`` or ``-.05``."""
    if value is None:
        return '?'
    text = f'{value:.2f}'.replace('0.', '.', 1)
    return '.00' if text == '-.00' else text


def percent(value: float | None) -> str:
    """A share as a whole percentage."""
    return '?' if value is None else f'{100 * value:.0f} %'


def with_interval(estimate: Estimate) -> str:
    """``.05 [.01, .09]``."""
    interval = estimate['interval']
    between = f' [{number(interval[0])}, {number(interval[1])}]' if interval else ''
    return number(estimate['mean']) + between
