"""What changed between two scans, in words."""

from __future__ import annotations

import numpy as np
import pytest

from mindpad_mm.scan import change_words, paired_over_backgrounds
from tests.scan.test_statistics import map_statistics, score_map, square


def maps(levels, sizes=(16,)):
    """Statistics of one map of a constant score for each scene and size."""
    found = []
    for background, level in enumerate(levels):
        for size in sizes:
            flat = score_map(lambda rows, cols, level=level: level + 0 * rows + 0 * cols)
            found.append(
                {**map_statistics(flat, square(8)), 'background': background, 'size': size}
            )
    return found


FIRST = maps([0.2, 0.4, 0.6])


def test_a_change_whose_interval_excludes_zero_is_decided():
    (sentence,) = change_words(FIRST, maps([0.31, 0.49, 0.7]), 'reflect against zeros')
    mean = paired_over_backgrounds(FIRST, maps([0.31, 0.49, 0.7]))['mean']
    assert mean['mean'] == pytest.approx(0.1)
    low, high = mean['interval']
    assert sentence.startswith('reflect against zeros: mean score rises (decided).')
    assert f'mean score +0.100 [{low:+.3f}, {high:+.3f}]' in sentence
    (sentence,) = change_words(maps([0.31, 0.49, 0.7]), FIRST, 'zeros against reflect')
    assert 'mean score falls (decided)' in sentence


def test_a_change_that_scenes_disagree_on_decides_nothing():
    (sentence,) = change_words(FIRST, maps([0.5, 0.1, 0.65]), 'reflect against zeros')
    assert 'nothing is decided' in sentence
    assert 'rises' not in sentence


def test_one_scene_decides_nothing_and_the_sentence_says_why():
    (sentence,) = change_words(maps([0.2]), maps([0.9]), 'reflect against zeros')
    assert 'too few scenes' in sentence
    assert 'mean score +0.700;' in sentence


def test_each_size_has_a_sentence_of_its_own():
    first, other = (maps(np.array([0.2, 0.4, 0.6]) + more, (16, 32)) for more in (0, 0.05))
    sentences = change_words(first, other, 'reflect against zeros')
    assert [sentence.split(':')[0] for sentence in sentences] == [
        'reflect against zeros, at 16 px',
        'reflect against zeros, at 32 px',
    ]
