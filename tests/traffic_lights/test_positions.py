"""Lights moved away from borders, or into the upper half: nothing else of a set changes."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from mindpad_mm.cli.lights import make_parser
from mindpad_mm.cli.options import settings_from
from mindpad_mm.core.errors import UserError
from mindpad_mm.traffic_lights.dataset import Recipe, compose_image
from mindpad_mm.traffic_lights.positions import border_distance, moved_position
from mindpad_mm.traffic_lights.sources import Lights, Scenes
from mindpad_mm.traffic_lights.write import make_traffic_lights

DRAWN = Scenes(None, None), Lights(None, None)
UNIFORM = Recipe(size=64, min_size=12, distractors=1, occluded=0.5, most_lights=2)
CENTRE = dataclasses.replace(UNIFORM, positions='centre', margin=12)
UPPER = dataclasses.replace(UNIFORM, positions='upper')


def images(recipe, count=30):
    return [compose_image(recipe, 'train', index, *DRAWN) for index in range(count)]


def spots(count=2000, **options):
    """Positions of a light of 20 x 9 pixels in an image of 96."""
    rng = np.random.default_rng(0)
    return np.array([moved_position((20, 9), 96, [], rng, **options) for _ in range(count)])


def distances(found):
    return np.array([border_distance((top, left), (20, 9), 96) for top, left in found])


@pytest.mark.parametrize('recipe', [CENTRE, dataclasses.replace(CENTRE, margin_share=0.5), UPPER])
def test_moving_lights_changes_their_places_and_nothing_else(recipe):
    moved = 0
    for (before, old, photo), (after, new, same_photo) in zip(images(UNIFORM), images(recipe)):
        assert photo == same_photo
        assert [light.crop for light in old] == [light.crop for light in new]
        assert [light.occluded for light in old] == [light.occluded for light in new]
        untouched = np.ones(before.shape[:2], bool)
        for one, other in zip(old, new):
            assert np.array_equal(one.mask, other.mask)
            moved += (one.top, one.left) != (other.top, other.left)
            for light in (one, other):
                # Occluders stand out by a third of a light's height, blur by some pixels more.
                h, w = light.mask.shape
                out = h // 3 + 6
                rows = slice(max(0, light.top - out), light.top + h + out)
                untouched[rows, max(0, light.left - out) : light.left + w + out] = False
        assert np.array_equal(before[untouched], after[untouched])
    assert moved > 15


def test_centred_lights_keep_the_margin_and_reach_it_on_every_side():
    found = spots(positions='centre', margin=16)
    assert found.min(0).tolist() == [16, 16]
    assert found.max(0).tolist() == [96 - 20 - 16, 96 - 9 - 16]


def test_upper_lights_stand_in_the_upper_half_and_reach_its_borders():
    found = spots(positions='upper')
    assert found.min(0).tolist() == [0, 0]
    assert found.max(0).tolist() == [48 - 20, 96 - 9]


@pytest.mark.parametrize('share', [0.0, 0.01, 0.1, 1.0])
def test_the_share_of_lights_within_the_margin_is_the_one_asked_for(share):
    found = distances(spots(positions='centre', margin=16, margin_share=share))
    nearer = int((found < 16).sum())
    assert stats.binomtest(nearer, len(found), share).pvalue > 1e-4
    if share == 1:
        assert found.min() == 0
        assert found.max() < 16


def test_a_moved_light_keeps_half_a_height_from_the_others():
    rng = np.random.default_rng(1)
    for _ in range(200):
        top, left = moved_position((20, 9), 96, [(40, 40, 20, 9)], rng, 'centre', 16)
        apart_rows = top > 40 + 20 + 10 or top + 20 + 10 < 40
        assert apart_rows or left > 40 + 9 + 10 or left + 9 + 10 < 40
    assert moved_position((20, 9), 40, [(10, 15, 20, 9)], rng, 'centre', 8) is None


def test_with_one_light_an_image_every_margin_leaves_room_and_all_sets_have_the_same_lights():
    one = dataclasses.replace(UNIFORM, most_lights=1, negatives=0)
    widest = dataclasses.replace(one, positions='centre', margin=24)
    for (_, old, _), (_, new, _) in zip(images(one), images(widest)):
        assert len(old) == len(new) == 1
        assert old[0].crop == new[0].crop


def test_no_room_for_several_lights_is_said_in_one_line():
    crowded = dataclasses.replace(
        UNIFORM, positions='centre', margin=24, negatives=0, most_lights=3
    )
    with pytest.raises(UserError, match=r'no room for a light of \d+ x \d+ pixels.*most_lights'):
        images(crowded)


# Boxes of these sets before there was a choice of positions.
OLD_BOXES = {
    0: [[2, 26, 5, 11], [10, 39, 5, 13], [13, 9, 4, 9], [8, 36, 4, 9], [47, 0, 4, 10],
        [21, 26, 5, 13], [39, 15, 5, 11], [22, 39, 4, 12], [49, 29, 5, 11], [22, 5, 4, 9],
        [23, 16, 4, 10], [33, 36, 4, 9]],
    12: [[13, 26, 5, 11], [18, 33, 5, 13], [20, 17, 4, 9], [17, 32, 4, 9], [40, 12, 4, 10],
         [24, 26, 5, 13], [39, 27, 5, 11], [25, 33, 4, 12], [41, 28, 5, 11], [25, 15, 4, 9],
         [26, 21, 4, 10], [28, 38, 4, 9]],
}  # fmt: skip


@pytest.mark.parametrize('margin', OLD_BOXES)
def test_sets_without_the_new_settings_are_those_of_before(tmp_path, margin):
    recipe = Recipe(num_train=6, num_val=2, size=64, margin=margin)
    meta = make_traffic_lights(tmp_path / 'set', recipe)
    coco = json.loads((tmp_path / 'set' / 'annotations' / 'train.json').read_text())
    assert [each['bbox'] for each in coco['annotations']] == OLD_BOXES[margin]
    assert meta['recipe'] == coco['info']['recipe']
    assert not meta['recipe'].keys() & {'positions', 'margin_share', 'most_lights'}


def test_the_recipe_of_a_moved_set_names_its_positions():
    kept = dataclasses.replace(CENTRE, margin_share=0.03).to_json()
    assert (kept['positions'], kept['margin'], kept['margin_share']) == ('centre', 12, 0.03)


@pytest.mark.parametrize(
    ('values', 'match'),
    [
        ({'positions': 'lower'}, r'`positions` lower: choose from: uniform, centre, upper'),
        ({'margin_share': 1.5}, r'`margin_share` 1.5: a share from 0 to 1'),
        ({'margin_share': 0.1}, r"`margin_share` 0.1: only with `positions` 'centre' and a `margin`"),
        ({'margin_share': 0.1, 'positions': 'centre'}, r'`margin_share` 0.1: only with'),
        ({'most_lights': 0}, r'`most_lights` 0: at least 1'),
    ],
)  # fmt: skip
def test_settings_that_are_not_possible_are_named(values, match):
    with pytest.raises(UserError, match=match):
        Recipe(**values)


def test_the_command_line_has_the_settings():
    words = '--out x --positions centre --margin 24 --margin-share 0.03 --most-lights 1'
    args = make_parser('lights').parse_args(words.split())
    args.num_val = 1
    recipe = settings_from(args, Recipe)
    assert (recipe.positions, recipe.margin, recipe.margin_share) == ('centre', 24, 0.03)
    assert recipe.most_lights == 1
