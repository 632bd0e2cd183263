"""Annotated objects: what a file may lack, and what cannot be used."""

from __future__ import annotations

import json

import pytest

from mindpad_mm.border.objects import annotated_objects, chosen_objects, pasted_objects
from mindpad_mm.border.photos import Photo
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.objects import ScanObject
from mindpad_mm.settings.border import BorderSettings
from tests.border.annotations import annotations

NAMES = [f'{number}.png' for number in range(6)]
PHOTOS = [Photo(f'folder/{name}', name, 1.0, (150, 160), (96, 96), 16) for name in NAMES]
CLASSES = ['car', 'traffic light']


def objects_of(content, folder):
    (folder / 'ann.json').write_text(json.dumps(content))
    return annotated_objects(PHOTOS, CLASSES, BorderSettings(ann=folder / 'ann.json'))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: c['images'][0].update(width=999), '999 x 150 pixels, but it has 160 x 150'),
        (
            lambda c: [i.update(file_name='none.png') for i in c['images']],
            'names none of the 6 photos',
        ),
        (lambda c: c['annotations'][0].pop('bbox'), 'no bbox of four numbers'),
        (lambda c: c['annotations'][0].update(bbox=None), 'no bbox of four numbers'),
        (
            lambda c: c['annotations'][0].update(bbox=[1, 2, 'x', 4]),
            'must be x, y, width and height',
        ),
        (
            lambda c: c['annotations'][0].update(bbox=[1, 2, 1e400, 4]),
            'must be x, y, width and height',
        ),
        (lambda c: [k.pop('name') for k in c['categories']], 'none of the classes'),
        (lambda c: c['images'].append({**c['images'][0], 'id': 99}), 'the folders do not tell'),
    ],
)
def test_annotations_that_cannot_be_used_are_one_line(tmp_path, change, message):
    content = annotations(NAMES)
    change(content)
    with pytest.raises(UserError, match=message):
        objects_of(content, tmp_path)


@pytest.mark.parametrize(
    'change',
    [
        lambda c: [i.pop('height') for i in c['images']],
        lambda c: [i.update(width=None) for i in c['images']],
        lambda c: [i.update(file_name='deep/' + i['file_name']) for i in c['images']],
        lambda c: c['images'].append({'id': 98}),
        lambda c: c['annotations'].append({**c['annotations'][0], 'id': 90, 'iscrowd': 1}),
    ],
)
def test_what_annotations_may_lack_changes_nothing(tmp_path, change):
    content = annotations(NAMES)
    whole = objects_of(content, tmp_path)
    change(content)
    assert objects_of(content, tmp_path) == whole
    assert [each.box for each in whole] == [(60, 60, 80, 84)] * 6


def test_objects_found_twice_count_once_and_of_many_some_are_chosen_at_random(tmp_path):
    content = annotations(NAMES)
    # One of another class and one beside it are other objects.
    for number, (category, x) in enumerate(((3, 62), (9, 60), (3, 110))):
        extra = dict(id=50 + number, image_id=7, category_id=category, bbox=[x, 60, 20, 24])
        content['annotations'].append(extra)
    found = [each for each in objects_of(content, tmp_path) if each.photo == 0]
    assert sorted((each.label, each.box[0]) for each in found) == [(0, 60), (1, 60), (1, 110)]
    few = [chosen_objects(found, number, BorderSettings(max_objects=1)) for number in range(20)]
    assert all(len(each) == 1 for each in few)
    assert len({each[0].box for each in few}) > 1


def test_pasted_objects_stay_far_from_the_photos_edges_and_too_large_ones_are_left_out():
    light = ScanObject.drawn()
    settings = BorderSettings(sizes=(24, 140), max_objects=10)
    pasted = pasted_objects(PHOTOS, [light], 1, settings)
    assert len(pasted) == 30  # every second one is too large
    for each in pasted:
        x1, y1, x2, y2 = each.box
        assert min(x1, y1, 160 - x2, 150 - y2) >= 16
        assert max(x2 - x1, y2 - y1) == 24


@pytest.mark.parametrize('spelling', ['Thing', 'things', 'THING', 'thi-ng'])
def test_a_class_that_the_annotations_spell_otherwise_is_refused_and_named(tmp_path, spelling):
    content = {
        'images': [{'id': 1, 'file_name': '0.png', 'width': 200, 'height': 200}],
        'categories': [{'id': 1, 'name': spelling}, {'id': 2, 'name': 'other'}],
        'annotations': [],
    }
    (tmp_path / 'ann.json').write_text(json.dumps(content))
    settings = BorderSettings(ann=str(tmp_path / 'ann.json'))
    with pytest.raises(UserError, match=f"{spelling!r}, the detector a class 'thing'"):
        annotated_objects([], ['thing', 'other'], settings)
