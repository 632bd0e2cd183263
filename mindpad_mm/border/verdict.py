"""What a measurement means, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mindpad_mm.border.losses import BEYOND, LEAST_PHOTOS, NEAR, Estimate, VariantStatistics
from mindpad_mm.border.variants import CHECKPOINT, INPUT_PADDING, SWAP, VariantInfo

# Losses of confidence below this matter to nobody, however surely they are not 0.
MATTERS = 0.02
# What is surely below this is called nothing.
_NEGLIGIBLE = 0.03
# A swap that wins back a smaller share of what padding costs is no cure.
_LEAST_CURE = 0.25

Changes = Mapping[VariantInfo, Mapping[str, Mapping[str, Estimate]]]
"""The differences of each variant to the first, by distance and measure."""


@dataclass(frozen=True)
class Blame:
    """Where padding costs confidence: ``'near the border'``, ``'at 0 px'`` or ``'on the left'``."""

    where: str
    loss: Estimate


def above(estimate: Estimate, least: float = 0.0) -> bool:
    """Whether the interval of an estimate lies above a value."""
    return estimate['interval'] is not None and estimate['interval'][0] > least


def below(estimate: Estimate, most: float = 0.0) -> bool:
    """Whether the interval of an estimate lies below a value."""
    return estimate['interval'] is not None and estimate['interval'][1] < most


def blame_of(statistics: VariantStatistics) -> Blame | None:
    """Where padding is to blame, if it is.

    Near the border on all sides together, padding loss must be decided and at least 0.02. On one side,
    or at the smallest distance, its whole interval must lie above 0.02: one of several may do that by
    chance.
    """
    everywhere = statistics['by_side']['all']
    loss = everywhere[NEAR]['padding_loss']
    if above(loss) and (loss['mean'] or 0) >= MATTERS:
        return Blame('near the border', loss)
    nearest = min((each for each in everywhere if each.isdigit()), key=int)
    parts = [Blame(f'at {nearest} px', everywhere[nearest]['padding_loss'])]
    parts += [
        Blame(f'on the {side}', by_distance[NEAR]['padding_loss'])
        for side, by_distance in statistics['by_side'].items()
        if side != 'all'
    ]
    found = [part for part in parts if above(part.loss, MATTERS)]
    return max(found, key=lambda part: part.loss['mean'] or 0, default=None)


def verdict(
    statistics: Mapping[str, VariantStatistics],
    variants: Sequence[VariantInfo],
    settings: Mapping[str, Any],
) -> list[str]:
    """Sentences: what the border costs, padding's share of it, what swaps would do, what to do."""
    own = statistics[variants[0].name]
    near = own['by_side']['all'][NEAR]
    loss = near['border_loss']
    if not loss['n']:
        return [
            f'No cut within {settings["near"]} px of an object was scored: give more photos or minutes.'
        ]
    where = f'Within {settings["near"]} px of the border this detector'
    of = f'of {number(near["open"]["mean"])} confidence'
    if loss['interval'] is None:
        photos = f'{loss["photos"]} photo{"s" * (loss["photos"] != 1)}'
        return [
            f'{where} {"loses" if (loss["mean"] or 0) > 0 else "shows no loss:"} '
            f'{number(loss["mean"])} {of}.',
            f'Nothing is decided: objects of {photos} were scored, and intervals need at least '
            f'{LEAST_PHOTOS}. Give more photos.',
        ]
    padding, context = (with_interval(near[key]) for key in ('padding_loss', 'context_loss'))
    if above(loss):
        lost, chance = near['lost_objects'], near['lost_in_control']
        objects = (
            f' and {percent(lost["mean"])} of its objects ({percent(chance["mean"])} in the control)'
            if lost['n']
            else ''
        )
        sentences = [
            f'{where} loses {with_interval(loss)} {of}{objects}.',
            f'Padding accounts for {padding} of it, missing context for {context}.',
        ]
    else:
        sentences = [
            f'{where} shows no loss: {with_interval(loss)} {of}.',
            f'Padding costs {padding}, missing context {context}.',
        ]
    blame = blame_of(own)
    if blame is not None and blame.where != 'near the border':
        sentences.append(f'{blame.where.capitalize()}, padding costs {with_interval(blame.loss)}.')
    changes = {
        each: statistics[each.name]['differences']
        for each in variants[1:]
        if statistics[each.name]['differences'][NEAR]['cut']['n']
    }
    sentences += _comparisons(changes)
    sentences.append(' '.join(_advice(own, blame, changes, settings)))
    return sentences


def _comparisons(changes: Changes) -> Iterator[str]:
    """A sentence for each kind of variant: what it does near the border."""
    leads = {
        SWAP: 'Swapped without retraining, near the border: ',
        CHECKPOINT: 'Other checkpoints, near the border: ',
        INPUT_PADDING: 'With the input padded, near the border: ',
    }
    for kind, lead in leads.items():
        mine = [each for each in changes if each.kind == kind]
        mine.sort(key=lambda each: -(changes[each][NEAR]['cut']['mean'] or 0))
        if mine:
            told = [f'{each.name} {_change(changes[each][NEAR]["cut"])}' for each in mine]
            yield lead + ', '.join(told) + '.'


def _change(gain: Estimate) -> str:
    interval = gain['interval']
    if interval is None or interval[0] <= 0 <= interval[1]:
        return f'changes nothing decided ({with_interval(gain)})'
    if interval[0] > 0:
        return f'gains {with_interval(gain)}'
    return f'costs {with_interval(_negated(gain))}'


def _negated(change: Estimate) -> Estimate:
    """A change as a cost."""
    interval = change['interval']
    ends = None if interval is None else [-interval[1], -interval[0]]
    return {**change, 'mean': -(change['mean'] or 0), 'interval': ends}


def _advice(
    own: VariantStatistics, blame: Blame | None, changes: Changes, settings: Mapping[str, Any]
) -> Iterator[str]:
    near = own['by_side']['all'][NEAR]
    swaps = [each for each in changes if each.kind == SWAP]
    cures = sorted(
        (each for each in swaps if _cures(changes[each], blame)),
        key=lambda each: -(changes[each][NEAR]['cut']['mean'] or 0),
    )
    if blame is not None:
        yield from _advice_on_blame(blame, swaps, cures, changes)
        if swaps and not cures:
            yield 'Padding can also learn, without labels: mindpad adapt.'
    elif below(near['padding_loss'], _NEGLIGIBLE):
        yield 'Do not swap: padding is not to blame.'
        if cures:
            gain = number(changes[cures[0]][NEAR]['cut']['mean'])
            yield f'({cures[0].name} scores {gain} more near the border all the same.)'
        if below(near['border_loss'], _NEGLIGIBLE):
            yield 'There is nothing to do.'
    else:
        yield (
            f'Whether padding is to blame is undecided ({with_interval(near["padding_loss"])}): more '
            f'photos or minutes would tell.'
        )
    lost = above(near['border_loss']) and (near['border_loss']['mean'] or 0) >= MATTERS
    further = [distance for distance in settings['distances'] if distance > settings['near']]
    beyond = own['by_side']['all'][BEYOND]['border_loss']
    if lost and not cures and further and below(beyond, _NEGLIGIBLE):
        # In two neighbouring tiles, an object is at least so far from the border of one of them.
        yield (
            f'If your images are tiles, let them overlap by the size of an object plus {2 * further[0]} '
            f'px: from {further[0]} px on, the loss is {with_interval(beyond)}.'
        )


def _advice_on_blame(
    blame: Blame, swaps: Sequence[VariantInfo], cures: Sequence[VariantInfo], changes: Changes
) -> Iterator[str]:
    costs = f'padding costs {with_interval(blame.loss)} {blame.where}'
    promising = [each for each in swaps if not _surely_no_cure(changes[each][NEAR], blame)]
    if cures:
        change = changes[cures[0]][NEAR]
        of = number(change['first_padding_loss']['mean'])
        yield (
            f'Padding is to blame: swap to {cures[0].name}, which gains {number(change["cut"]["mean"])} '
            f'near the border without retraining (padding costs {of} there).'
        )
    elif not swaps:
        yield f'Padding is to blame: {costs}. No swap was tried.'
    elif not promising:
        yield f'Do not swap: {costs}, but no swap wins that back without retraining.'
    elif helping := [each for each in promising if _wins_back(changes[each], blame)]:
        best = max(helping, key=lambda each: changes[each][NEAR]['cut']['mean'] or 0)
        price = _price(changes[best])
        assert price is not None  # else it is a cure
        where, harm = price
        yield (
            f'Padding is to blame: {costs}. A swap to {best.name} gains '
            f'{number(changes[best][NEAR]["cut"]["mean"])} near the border, but costs '
            f'{with_interval(_negated(harm))} {where}: swap if more of your objects stand near borders.'
        )
    else:
        yield (
            f'Do not swap yet: {costs}, but no swap is shown to win that back. More photos or minutes '
            f'would tell.'
        )


def _cures(change: Mapping[str, Mapping[str, Estimate]], blame: Blame | None) -> bool:
    """Whether a swap decidedly wins back enough near the border, and loses nothing elsewhere."""
    return _wins_back(change, blame) and _price(change) is None


def _wins_back(change: Mapping[str, Mapping[str, Estimate]], blame: Blame | None) -> bool:
    gain = change[NEAR]['cut']
    return above(gain) and (gain['mean'] or 0) >= _least_gain(blame)


def _price(change: Mapping[str, Mapping[str, Estimate]]) -> tuple[str, Estimate] | None:
    """What a swap costs elsewhere, and where; None if it costs nothing that matters.

    Far from every border, a mean below -0.02 counts. Beyond the near distances the loss must be decided
    as well. At one distance its whole interval must be below -0.02: one of several may be below 0 by
    chance.
    """
    far = change[NEAR]['open']
    if (far['mean'] or 0) < -MATTERS:
        return 'far from every border', far
    beyond = change[BEYOND]['cut']
    if below(beyond) and (beyond['mean'] or 0) <= -MATTERS:
        return 'farther off', beyond
    distances = {key: each['cut'] for key, each in change.items() if key.isdigit()}
    worst = min(distances, key=lambda key: distances[key]['mean'] or 0)
    harm = distances[worst]
    return (f'at {worst} px', harm) if below(harm, -MATTERS) else None


@dataclass(frozen=True)
class LearnedChange:
    """What another checkpoint changes, against the detector as trained.

    Attributes:
        gain: The change of the score near the border.
        open: The same far from every border.
        wins: Whether the gain is decided, and enough of what padding costs.
        price: Where it costs most, and how much; None if it costs nothing that matters.
    """

    gain: Estimate
    open: Estimate
    wins: bool
    price: tuple[str, Estimate] | None


def learned_change(
    statistics: Mapping[str, VariantStatistics], variants: Sequence[VariantInfo], name: str
) -> LearnedChange:
    """What the checkpoint of this name changes, judged as the verdict judges swaps."""
    change = statistics[name]['differences']
    blame = blame_of(statistics[variants[0].name])
    return LearnedChange(
        change[NEAR]['cut'], change[NEAR]['open'], _wins_back(change, blame), _price(change)
    )


def _surely_no_cure(change: Mapping[str, Estimate], blame: Blame) -> bool:
    lowers = below(change['open'], -MATTERS)
    return lowers or below(change['cut'], max(_least_gain(blame), _NEGLIGIBLE))


def _least_gain(blame: Blame | None) -> float:
    return max(MATTERS, _LEAST_CURE * (blame.loss['mean'] or 0)) if blame else MATTERS


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
