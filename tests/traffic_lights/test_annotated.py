"""Photos with lights are found, or the annotations are refused: none passes for having no lights."""

from __future__ import annotations

import json

import pytest

from mindpad_mm.core.errors import UserError
from mindpad_mm.traffic_lights.annotated import photos_with_lights


def annotations(folder, images, category='traffic light', lit=(1,), **more):
    """Annotations of images with the ids 1, 2, ...; those of ``lit`` have a light."""
    content = {
        'images': [{'id': k, 'file_name': name} for k, name in enumerate(images, 1)],
        'categories': [{'id': 7, 'name': 'car'}, {'id': 9, 'name': category}],
        'annotations': [{'id': k, 'image_id': k, 'category_id': 9} for k in lit],
        **more,
    }
    path = folder / 'instances.json'
    path.write_text(json.dumps(content))
    return path


def lit(folder, photos, images, **options):
    return photos_with_lights(annotations(folder, images, **options), folder / 'images', photos)


@pytest.mark.parametrize(
    ('photos', 'images', 'wanted'),
    [
        (['1.jpg', '2.jpg'], ['1.jpg', '2.jpg'], ['1.jpg']),
        (['a/1.jpg', 'b/1.jpg'], ['a/1.jpg', 'b/1.jpg'], ['a/1.jpg']),
        (['a/1.jpg', 'b/1.jpg'], ['b/1.jpg', 'a/1.jpg'], ['b/1.jpg']),
        (['1.jpg', '2.jpg'], ['train2017/1.jpg', 'train2017/2.jpg'], ['1.jpg']),
        (['1.jpg', '2.jpg'], ['images/1.jpg', 'other/1.jpg'], ['1.jpg']),
        (['1.jpg', '2.jpg'], ['other/1.jpg', 'images/1.jpg'], []),
        (['a/1.jpg', '2.jpg'], ['C:\\data\\a\\1.jpg', '2.jpg'], ['a/1.jpg']),
        (['a/1.jpg', 'b/2.jpg'], ['1.jpg', '2.jpg'], ['a/1.jpg']),
        (['2.jpg', '3.jpg'], ['1.jpg', '2.jpg'], []),
        (['ä ö.jpg'], ['ä ö.jpg'], ['ä ö.jpg']),
    ],
)
def test_photos_are_told_by_name_and_folders(tmp_path, photos, images, wanted):
    assert lit(tmp_path, photos, images).names == wanted


@pytest.mark.parametrize(
    ('photos', 'images', 'says'),
    [
        (['a/1.jpg', 'b/1.jpg'], ['1.jpg', '2.jpg'], 'a/1.jpg and b/1.jpg could both be'),
        (['1.jpg', '3.jpg'], ['a/1.jpg', 'b/1.jpg'], 'two images could be photo 1.jpg'),
        (['1.JPG', '2.jpg'], ['1.jpg', '2.jpg'], 'lists no photo 1.JPG, but 1.jpg'),
        (['1.png', '2.jpg'], ['1.jpg', '2.jpg'], 'lists no photo 1.png, but 1.jpg'),
        (['8.jpg', '9.jpg'], ['1.jpg', '2.jpg'], 'lists none of the 2 photos; it has 1.jpg'),
    ],
)
def test_what_does_not_tell_them_apart_is_refused(tmp_path, photos, images, says):
    with pytest.raises(UserError, match=says) as caught:
        lit(tmp_path, photos, images)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    'category',
    ['Traffic light', 'TRAFFIC LIGHT', 'traffic_light', 'traffic-light', 'trafficlight',
     'traffic lights', ' traffic light', 'traffic  light', 'Traffic Lights', 'traffic light (red)',
     'red traffic light'],
)  # fmt: skip
def test_another_spelling_of_the_category_is_refused_and_named(tmp_path, category):
    with pytest.raises(UserError, match='call it') as caught:
        lit(tmp_path, ['1.jpg', '2.jpg'], ['1.jpg', '2.jpg'], category=category)
    assert repr(category) in str(caught.value)


@pytest.mark.parametrize(
    ('options', 'says'),
    [
        (
            dict(category='traffic sign'),
            "no category 'traffic light' (it has 'car', 'traffic sign')",
        ),
        (dict(categories=[]), "no category 'traffic light' (it has none)"),
        (dict(lit=()), "no object of its category 'traffic light'"),
        (dict(images=['1.jpg']), 'does not list 1 of the 2 photos (2.jpg)'),
    ],
)
def test_what_the_annotations_leave_open_is_told(tmp_path, options, says):
    options = {'images': ['1.jpg', '2.jpg'], **options}
    found = lit(tmp_path, ['1.jpg', '2.jpg'], **options)
    assert len(found.notes) == 1
    assert says in found.notes[0]


def test_there_is_nothing_to_tell_of_complete_annotations(tmp_path):
    assert not lit(tmp_path, ['1.jpg', '2.jpg'], ['1.jpg', '2.jpg', '3.jpg']).notes
