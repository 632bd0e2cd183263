from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as mask_utils

from mindpad_mm.core.drawing import draw_light
from mindpad_mm.core.errors import UserError
from mindpad_mm.traffic_lights.dataset import (
    Placed,
    Recipe,
    annotation,
    compose_image,
    divide,
    outline,
)
from mindpad_mm.traffic_lights.positions import any_position
from mindpad_mm.traffic_lights.sources import Lights, Scenes

DRAWN = Scenes(None, None), Lights(None, None)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 10), st.integers(0, 10), st.data())
def test_an_outline_rasterises_to_the_mask_it_was_taken_from(h, w, top, left, data):
    starts = data.draw(st.lists(st.integers(0, w - 1), min_size=h, max_size=h))
    mask = np.zeros((h, w), bool)
    for row, start in enumerate(starts):
        mask[row, start : data.draw(st.integers(start + 1, w))] = True
    runs = mask_utils.frPyObjects([outline(mask, top, left)], 24, 24)
    expected = np.zeros((24, 24), bool)
    expected[top : top + h, left : left + w] = mask
    assert np.array_equal(mask_utils.decode(runs)[..., 0] > 0, expected)


@pytest.mark.parametrize('seed', range(6))
def test_box_area_and_polygon_of_an_annotation_agree_with_pycocotools(seed):
    mask = draw_light(30, 'red', seed)[..., 3] >= 32
    entry = annotation(Placed(3, 60 - mask.shape[1], mask, 0.0, 'x'), 60, 1, 1)
    runs = mask_utils.merge(mask_utils.frPyObjects(entry['segmentation'], 60, 60))
    assert entry['area'] == mask_utils.area(runs) == mask.sum()
    assert entry['bbox'] == mask_utils.toBbox(runs).tolist()


def test_positions_are_uniform_and_reach_all_four_borders():
    rng = np.random.default_rng(0)
    spots = np.array([any_position((10, 5), 30, rng) for _ in range(21 * 26 * 20)])
    assert spots.min(0).tolist() == [0, 0]
    assert spots.max(0).tolist() == [20, 25]
    counts = np.bincount(spots[:, 0] * 26 + spots[:, 1], minlength=21 * 26)
    chi2 = ((counts - 20) ** 2 / 20).sum()
    assert chi2 < 21 * 26 + 5 * np.sqrt(2 * 21 * 26)  # five standard deviations


def test_an_image_depends_on_seed_split_and_index_only():
    one, fewer = (Recipe(num_train=n, size=64) for n in (9, 3))
    first = compose_image(one, 'train', 2, *DRAWN)[0]
    assert np.array_equal(first, compose_image(fewer, 'train', 2, *DRAWN)[0])
    others = [(one, 'train', 1), (one, 'val', 2), (Recipe(size=64, seed=1), 'train', 2)]
    for recipe, split, index in others:
        assert not np.array_equal(first, compose_image(recipe, split, index, *DRAWN)[0])


def test_lights_are_apart_inside_the_image_and_within_the_size_range():
    recipe = Recipe(size=128, min_size=8, negatives=0)
    heights = []
    for index in range(80):
        placed = compose_image(recipe, 'train', index, *DRAWN)[1]
        taken = np.zeros((128, 128), int)
        for light in placed:
            h, w = light.mask.shape
            assert light.top >= 0 <= light.left
            assert light.top + h <= 128 >= light.left + w
            taken[light.top : light.top + h, light.left : light.left + w] += 1
            heights.append(h)
        assert placed
        assert taken.max() == 1
    assert 7 <= min(heights) <= 9
    assert 28 <= max(heights) <= 32


def test_images_hold_distractors_but_labels_only_lights():
    bare = Recipe(size=96, negatives=1, distractors=0)
    full = Recipe(size=96, negatives=1, distractors=6)
    for index in range(8):
        plain, none, _ = compose_image(bare, 'train', index, *DRAWN)
        busy, still_none, _ = compose_image(full, 'train', index, *DRAWN)
        assert none == still_none == []
        assert (plain != busy).any()


@pytest.mark.parametrize('share', [0.0, 0.15, 0.5, 1.0])
def test_the_share_of_negatives_is_the_one_asked_for(share):
    recipe = Recipe(size=48, negatives=share, distractors=0)
    empty = sum(not compose_image(recipe, 'train', k, *DRAWN)[1] for k in range(40))
    assert empty == round(40 * share)


def test_a_split_is_disjoint_complete_even_by_group_and_depends_on_the_seed():
    names = [f'{colour}/{k:03d}.jpg' for colour in ('green', 'red') for k in range(40)]
    deal = divide(names, 0.25, {'007.jpg'}, seed=3)
    assert not set(deal['train']) & set(deal['val'])
    assert sorted(deal['train'] + deal['val']) == names
    assert sum(name.startswith('red') for name in deal['val']) == 10
    assert {'red/007.jpg', 'green/007.jpg'} <= set(deal['val'])
    assert deal == divide(names, 0.25, {'007.jpg'}, seed=3)
    assert deal != divide(names, 0.25, {'007.jpg'}, seed=4)


@pytest.mark.parametrize(
    ('field', 'value', 'option'),
    [
        ('size', 31, '`size` 31'),
        ('num_train', 0, '`num_train` 0'),
        ('num_val', -1, '`num_val` -1'),
        ('min_size', 3, '`min_size` 3'),
        ('min_size', 200, '`min_size` 200'),
        ('negatives', 1.5, '`negatives` 1.5'),
        ('occluded', -0.1, '`occluded` -0.1'),
        ('distractors', -1, '`distractors` -1'),
        ('distractors', float('inf'), '`distractors` inf'),
        ('val_fraction', 1.0, '`val_fraction` 1.0'),
        ('val_fraction', float('nan'), '`val_fraction` nan'),
        ('seed', -1, '`seed` -1'),
    ],
)
def test_a_recipe_out_of_range_names_parameter_and_value(field, value, option):
    with pytest.raises(UserError, match=option):
        Recipe(**{field: value})


def test_lights_keep_the_margin_and_come_as_near_as_it_allows():
    recipe = Recipe(num_train=200, size=64, min_size=8, margin=12, negatives=0, distractors=0)
    gaps = []
    for index in range(200):
        for light in compose_image(recipe, 'train', index, *DRAWN)[1]:
            height, width = light.mask.shape
            gaps += [light.top, light.left, 64 - light.top - height, 64 - light.left - width]
    assert min(gaps) == 12


def test_a_margin_that_leaves_no_room_is_refused():
    Recipe(size=64, margin=24)
    with pytest.raises(UserError, match='`margin` 25: from 0 to 24'):
        Recipe(size=64, margin=25)
