"""The verdict says what was measured, and advises what was measured to help."""

from __future__ import annotations

import numpy as np
import pytest

from mindpad_mm.border.losses import variant_statistics
from mindpad_mm.border.probes import Probe
from mindpad_mm.border.variants import VariantInfo
from mindpad_mm.border.verdict import number, verdict

DISTANCES = (0, 8, 16, 32)
SETTINGS = dict(
    near=16, sides=['left', 'right'], distances=list(DISTANCES), fill=['auto'], found_thr=0.3,
    draws=300, seed=0,
)  # fmt: skip
PROBES = [
    Probe(photo, photo, side, distance, (0, 64), (0, 0), None)
    for photo in range(20)
    for side in ('left', 'right')
    for distance in DISTANCES
]


def told(as_trained, *others, photos=20, noise=0.02, change=None):
    """The verdict on scores (open, cut, control) near the border that are alike up to a little noise.

    Args:
        change: Changes the array (variants, probes, (cut, open, control)) before it is judged.
    """
    probes = [probe for probe in PROBES if probe.photo < photos]
    variants = [VariantInfo('as trained', 'as trained'), *(VariantInfo(n, k) for n, k, _ in others)]
    rng = np.random.default_rng(0)
    scores = []
    for open_, cut, control in (as_trained, *(each for _, _, each in others)):
        near = np.array([probe.distance <= 16 for probe in probes])
        row = np.tile([float(cut), open_, control], (len(probes), 1))
        row[~near] = open_
        scores.append(row)
    values = np.array(scores) + rng.normal(0, noise, (1, len(probes), 3))
    if change is not None:
        change(values, probes)
    views = ['cut', 'open', 'control']
    found = variant_statistics(
        [v.name for v in variants], views, values, probes, np.full(len(probes), 40.0), SETTINGS
    )
    return ' '.join(verdict(found, variants, SETTINGS))


def test_padding_to_blame_and_a_swap_that_cures():
    text = told(
        (0.8, 0.2, 0.8), ('circular', 'swapped', (0.8, 0.8, 0.8)), ('reflect', 'swapped', (0.8, 0.5, 0.8))
    )  # fmt: skip
    assert 'Within 16 px of the border this detector loses .60' in text
    assert 'and 100 % of its objects (0 % in the control)' in text
    assert 'swap to circular, which gains .60 near the border without retraining' in text
    assert '(padding costs .60 there)' in text
    assert 'circular gains .60' in text
    assert 'reflect gains .30' in text


def test_a_swap_that_lowers_all_scores_is_no_cure():
    text = told((0.8, 0.3, 0.8), ('circular', 'swapped', (0.5, 0.5, 0.5)))
    assert 'swap to circular' not in text
    assert 'Do not swap: padding costs .50' in text
    assert 'no swap wins that back without retraining' in text


def test_a_swap_that_wins_back_next_to_nothing_is_no_cure():
    text = told((0.8, 0.3, 0.8), ('replicate', 'swapped', (0.8, 0.33, 0.8)))
    assert 'swap to replicate' not in text


def test_a_swap_that_loses_elsewhere_is_no_cure():
    def further_in(values, probes):
        values[1, [probe.distance == 32 for probe in probes], 0] -= 0.3

    text = told((0.8, 0.5, 0.8), ('reflect', 'swapped', (0.8, 0.7, 0.8)), change=further_in)
    assert 'swap to reflect, which' not in text
    # What it wins back is not kept silent, nor what that costs.
    assert 'Padding is to blame: padding costs .30' in text
    assert 'A swap to reflect gains .20 near the border, but costs .30' in text
    assert 'farther off: swap if more of your objects stand near borders.' in text


def test_a_loss_at_one_distance_that_chance_may_explain_is_no_price():
    def unsteady(values, probes):
        at = [index for index, probe in enumerate(probes) if probe.distance == 16]
        shift = np.random.default_rng(3).normal(-0.03, 0.05, 20)
        values[1, at, 0] = 0.5 + shift[[probes[index].photo for index in at]]
        values[0, at, 0] = 0.5

    text = told((0.8, 0.3, 0.8), ('circular', 'swapped', (0.8, 0.8, 0.8)), change=unsteady)
    assert 'swap to circular, which gains' in text
    assert 'mindpad adapt' not in text


def test_a_loss_at_one_distance_that_is_sure_is_a_price():
    def at_the_rim(values, probes):
        at = [probe.distance == 0 for probe in probes]
        values[1, at, 0] = values[0, at, 0] - 0.1

    text = told((0.8, 0.3, 0.8), ('circular', 'swapped', (0.8, 0.8, 0.8)), change=at_the_rim)
    assert 'A swap to circular gains' in text
    assert 'but costs .10 [.10, .10] at 0 px: swap if more' in text


def test_lower_scores_far_from_every_border_are_a_price_even_if_undecided():
    def lower(values, probes):
        shift = np.random.default_rng(0).normal(-0.05, 0.2, 20)
        values[1, :, 1] += shift[[probe.photo for probe in probes]]

    text = told((0.5, 0.2, 0.5), ('circular', 'swapped', (0.5, 0.5, 0.5)), change=lower)
    assert 'A swap to circular gains .30 near the border, but costs' in text
    assert 'far from every border: swap if more' in text


def test_a_swap_scored_in_few_photos_decides_nothing():
    def few(values, probes):
        values[1, [probe.photo >= 3 for probe in probes]] = np.nan

    text = told((0.8, 0.3, 0.8), ('circular', 'swapped', (0.8, 0.8, 0.8)), change=few)
    assert 'Do not swap yet: padding costs .50' in text
    assert 'no swap is shown to win that back' in text
    assert 'Padding can also learn, without labels: mindpad adapt.' in text


def test_without_swaps_it_says_that_none_was_tried():
    assert 'No swap was tried.' in told((0.8, 0.3, 0.8))


def test_missing_context_is_no_reason_to_swap():
    text = told((0.8, 0.6, 0.6), ('reflect', 'swapped', (0.8, 0.5, 0.6)))
    assert 'Padding accounts for .00' in text
    assert 'missing context for .20' in text
    assert 'reflect costs .10' in text
    assert 'Do not swap: padding is not to blame.' in text
    # An object of the tile's neighbour is 32 px from the border of one of the two.
    assert 'overlap by the size of an object plus 64 px: from 32 px on' in text


def test_a_wide_interval_acquits_nobody():
    def unsteady(values, probes):
        rng = np.random.default_rng(1)
        shift = rng.normal(0.02, 0.2, 20)
        values[0, :, 2] += shift[[probe.photo for probe in probes]]

    text = told((0.8, 0.7, 0.7), change=unsteady)
    assert 'Whether padding is to blame is undecided' in text
    assert 'not to blame' not in text


def test_a_side_is_named_where_others_make_up_for_it():
    def by_side(values, probes):
        left = np.array([probe.side == 'left' for probe in probes])
        values[0, left, 0] -= 0.2
        values[0, ~left, 0] += 0.2

    text = told((0.5, 0.5, 0.5), change=by_side)
    assert 'shows no loss' in text
    assert 'On the left, padding costs .20' in text
    assert 'Padding is to blame' in text


def test_the_rim_itself_is_named_where_it_is_narrower_than_near():
    def rim(values, probes):
        at = np.array([probe.distance == 0 for probe in probes])
        values[0, at, 0] -= 0.2
        values[0, ~at, 0] += 0.1

    assert 'At 0 px, padding costs .19' in told((0.5, 0.5, 0.5), change=rim)


def test_a_rival_and_a_checkpoint_are_told_with_what_they_change():
    text = told(
        (0.8, 0.6, 0.6),
        ('input reflect 32 px', 'input padded', (0.8, 0.7, 0.7)),
        ('other', 'checkpoint', (0.8, 0.55, 0.7)),
    )
    assert 'With the input padded, near the border: input reflect 32 px gains .10' in text
    assert 'Other checkpoints, near the border: other costs .05' in text


def test_without_a_loss_there_is_nothing_to_do():
    text = told((0.8, 0.8, 0.8))
    assert 'shows no loss' in text
    assert 'There is nothing to do.' in text
    assert 'overlap' not in text


def test_few_photos_decide_nothing():
    text = told((0.8, 0.3, 0.8), photos=3)
    assert 'Nothing is decided: objects of 3 photos were scored' in text
    assert 'Give more photos.' in text
    assert 'swap' not in text
    assert 'objects of 1 photo were scored' in told((0.8, 0.3, 0.8), photos=1)


@pytest.mark.parametrize(
    ('value', 'text'),
    [(0.05, '.05'), (-0.05, '-.05'), (1, '1.00'), (-0.001, '.00'), (0, '.00'), (None, '?')],
)
def test_numbers_have_two_decimals(value, text):
    assert number(value) == text
