"""The verdict says what was measured, and advises what was measured to help."""

from __future__ import annotations

import numpy as np
import pytest

from mindpad_mm.border.statistics import variant_statistics
from mindpad_mm.border.variants import VariantInfo
from mindpad_mm.border.verdict import number, verdict
from mindpad_mm.border.windows import Probe

DISTANCES = (0, 8, 16, 32)
SETTINGS = dict(
    near=16, sides=['left'], distances=list(DISTANCES), fill=['auto'], found_thr=0.3, draws=300, seed=0
)  # fmt: skip
PROBES = [
    Probe(photo, photo, 'left', distance, (0, 64), (0, 0), None)
    for photo in range(20)
    for distance in DISTANCES
]


def told(as_trained, *others, photos=20):
    """The verdict on scores (open, cut, control) that are alike up to a little noise."""
    probes = [probe for probe in PROBES if probe.photo < photos]
    variants = [VariantInfo('as trained', 'as trained'), *(VariantInfo(n, k) for n, k, _ in others)]
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.02, (1, len(probes), 3))
    scores = []
    for open_, cut, control in (as_trained, *(each for _, _, each in others)):
        near = np.array([probe.distance <= 16 for probe in probes])
        row = np.tile([float(cut), open_, control], (len(probes), 1))
        row[~near] = open_
        scores.append(row)
    values = np.array(scores) + noise
    views = ['cut', 'open', 'control']
    found = variant_statistics(
        [v.name for v in variants], views, values, probes, np.full(len(probes), 40.0), SETTINGS
    )
    return ' '.join(verdict(found, variants, SETTINGS))


def test_padding_to_blame_and_a_swap_that_cures():
    text = told(
        (0.8, 0.3, 0.8), ('circular', 'swapped', (0.8, 0.8, 0.8)), ('reflect', 'swapped', (0.8, 0.6, 0.8))
    )  # fmt: skip
    assert 'Within 16 px of the border this detector loses .50' in text
    assert 'Padding is to blame: swap to circular, which wins back .50' in text
    assert 'circular wins back .50' in text
    assert 'reflect wins back .30' in text


def test_a_swap_that_lowers_all_scores_is_no_cure():
    text = told((0.8, 0.3, 0.8), ('circular', 'swapped', (0.5, 0.5, 0.5)))
    assert 'swap to circular' not in text
    assert 'Do not swap: padding costs .50' in text
    assert 'no swap wins that back without retraining' in text


def test_missing_context_is_no_reason_to_swap():
    text = told((0.8, 0.6, 0.6), ('reflect', 'swapped', (0.8, 0.5, 0.6)))
    assert 'Padding accounts for .00' in text
    assert 'missing context for .20' in text
    assert 'reflect costs .10' in text
    assert 'Do not swap: padding is not to blame.' in text
    assert 'overlap by the size of an object plus 32 px' in text


def test_a_rival_or_a_checkpoint_is_advised_if_it_measured_better():
    text = told(
        (0.8, 0.6, 0.6),
        ('input reflect 32 px', 'input padded', (0.8, 0.7, 0.7)),
        ('other', 'checkpoint', (0.8, 0.75, 0.7)),
    )
    assert 'With input reflect 32 px it finds .10 more' in text
    assert 'The checkpoint other does better by .15' in text


def test_without_a_loss_there_is_nothing_to_do():
    text = told((0.8, 0.8, 0.8))
    assert 'no loss is shown' in text
    assert 'overlap' not in text


def test_few_photos_decide_nothing():
    text = told((0.8, 0.3, 0.8), photos=3)
    assert 'Only 3 photos' in text
    assert 'swap' not in text


@pytest.mark.parametrize(
    ('value', 'text'),
    [(0.05, '.05'), (-0.05, '-.05'), (1, '1.00'), (-0.001, '.00'), (0, '.00'), (None, '?')],
)
def test_numbers_have_two_decimals(value, text):
    assert number(value) == text
