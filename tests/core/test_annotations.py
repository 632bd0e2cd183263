"""Facts in COCO annotations that cannot be right are refused in one line that names the place."""

from __future__ import annotations

import copy
import json
import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindpad_mm.core.annotations import BOXES, EVALUATED, check_annotations
from mindpad_mm.core.coco import read_coco
from mindpad_mm.core.errors import UserError
from mindpad_mm.diagnose.checks.shift.scene import annotated_scene

GOOD = {
    'images': [
        {'id': 1, 'file_name': 'a.jpg', 'width': 80, 'height': 60},
        {'id': 2, 'file_name': 'b.jpg', 'width': 80.0, 'height': 60},
    ],
    'categories': [{'id': 0, 'name': 'car'}, {'id': 3, 'name': 'bus'}],
    'annotations': [
        {
            'id': 0,
            'image_id': 1,
            'category_id': 3,
            'bbox': [-2, 5.5, 30, 0],
            'area': 0,
            'iscrowd': 0,
            'segmentation': [[1, 1, 9, 1, 9, 9]],
        },
        {
            'id': 4,
            'image_id': 2,
            'category_id': 0,
            'bbox': [50, 5, 40, 60],
            'area': 99.5,
            'iscrowd': 1,
            'segmentation': {'size': [60, 80], 'counts': [4800]},
        },
    ],
}


def test_what_real_files_have_passes():
    # A box a little outside its image, one without area, an id 0, a crowd.
    check_annotations(GOOD, 'x.json', EVALUATED, masks=True)
    check_annotations({}, 'x.json')


BAD_NUMBERS = (None, math.nan, math.inf, -1, 1e308, '5', [], {}, True, 10**400)
CASES = [
    *(('images', key, value) for key in ('width', 'height') for value in (*BAD_NUMBERS, 0, 2.5)),
    *(
        ('annotations', 'area', value)
        for value in BAD_NUMBERS
        if value is not True and value != 1e308
    ),
    *(('annotations', 'iscrowd', value) for value in (None, math.nan, 2, -1, '0', 0.5, [])),
    *(('annotations', 'bbox', [1, 2, value, 4]) for value in BAD_NUMBERS),
    *(('annotations', 'bbox', [value, 2, 3, 4]) for value in BAD_NUMBERS if value != -1),
    *(
        ('annotations', 'bbox', value)
        for value in (None, [], [1, 2, 3], [1, 2, 3, 4, 5], '1234', {})
    ),
    ('annotations', 'bbox', [900, 2, 3, 4]),
    ('annotations', 'bbox', [1, -90, 3, 4]),
    ('annotations', 'bbox', [1, 2, 3, 1000]),
    *((part, 'id', v) for part in GOOD for v in (None, math.nan, 1.5, [], {}, True, 'a', 10**400)),
    *(('annotations', 'image_id', value) for value in (None, 7, 'a', [], {}, True)),
    *(('annotations', 'category_id', value) for value in (None, 1.5, [], {}, True)),
    *(('images', 'file_name', value) for value in (None, 7, [], {})),
    *(('categories', 'name', value) for value in (None, 7, [], {})),
    ('annotations', 'segmentation', [[1, 1, 9, 1, 9, math.nan]]),
    ('annotations', 'segmentation', {'size': [60, 80], 'counts': [1, 2]}),
]


@pytest.mark.parametrize(('part', 'key', 'value'), CASES)
def test_a_fact_that_cannot_be_right_is_refused_and_named(part, key, value):
    content = copy.deepcopy(GOOD)
    content[part][1][key] = value
    with pytest.raises(UserError) as info:
        check_annotations(content, 'x.json', EVALUATED, masks=True)
    text = str(info.value)
    assert 'x.json' in text
    assert '\n' not in text
    assert len(text) < 250
    if key not in ('id', 'image_id'):
        assert f'{part}[1]' in text
    if key != 'segmentation':
        assert key in text or key in ('id', 'image_id')


@pytest.mark.parametrize('part', list(GOOD))
def test_two_entries_with_one_id_are_refused(part):
    content = copy.deepcopy(GOOD)
    content[part][1]['id'] = content[part][0]['id']
    with pytest.raises(UserError, match=f'two {part} with the id'):
        check_annotations(content, 'x.json')


@pytest.mark.parametrize('part', list(GOOD))
@pytest.mark.parametrize('value', [None, 5, 'text', {}, [None], [5], [[]]])
def test_parts_that_are_no_lists_of_entries_are_refused(part, value):
    with pytest.raises(UserError, match=rf'x\.json .*{part}'):
        check_annotations({**copy.deepcopy(GOOD), part: value}, 'x.json', BOXES)


leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.just([])
)


@given(part=st.sampled_from(list(GOOD)), needed=st.sampled_from([None, EVALUATED]), data=st.data())
@settings(deadline=None, max_examples=300)
def test_any_value_in_any_place_passes_or_is_one_line(tmp_path_factory, part, needed, data):
    content = copy.deepcopy(GOOD)
    key = data.draw(st.sampled_from(list(content[part][1])))
    content[part][1][key] = data.draw(st.one_of(leaves, st.lists(leaves, max_size=5)))
    path = tmp_path_factory.mktemp('facts') / 'x.json'
    path.write_text(json.dumps(content))
    try:
        coco = read_coco(path, needed)
    except UserError:
        return
    for annotation in coco.anns.values() if needed else ():
        box = np.array(annotation['bbox'], float)
        assert np.isfinite(box).all()
        assert (box[2:] >= 0).all()
        assert coco.imgs[annotation['image_id']]['width'] >= 1


def test_an_annotated_scene_has_the_size_that_the_file_says(tmp_path):
    content = copy.deepcopy(GOOD)
    for name in ('a.jpg', 'b.jpg'):
        cv2.imwrite(str(tmp_path / name), np.zeros((60, 80, 3), np.uint8))
    path = tmp_path / 'x.json'
    content['annotations'][1]['bbox'] = [10, 10, 20, 20]
    path.write_text(json.dumps(content))
    scene, name = annotated_scene(path, 4, None, (40, 40))
    assert (scene.box, name) == ((10, 10, 20, 20), 'car')
    content['images'][1].update(width=60, height=80)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r'80 x 60 pixels, but .* says 60 x 80'):
        annotated_scene(path, 4, None, (40, 40))
    del content['annotations'][1]['bbox']
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"lack 'bbox' in annotations\[1\]"):
        annotated_scene(path, 4, None, (40, 40))
