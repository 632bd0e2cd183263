from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.objects import ScanObject, load_coco_objects


def disc(colour=(10, 200, 90), hidden=(255, 0, 255)):
    """An opaque disc of one colour; another colour hides under full transparency."""
    pixels = np.zeros((61, 61, 4), np.uint8)
    pixels[..., :3] = hidden
    inside = np.hypot(*np.mgrid[-30:31, -30:31]) <= 25
    pixels[inside] = (*colour, 255)
    return pixels


def test_object_is_cropped_to_its_visible_part():
    assert ScanObject.from_pixels(disc(), 'disc').pixels.shape == (51, 51, 4)


def test_image_without_alpha_is_opaque():
    pixels = ScanObject.from_pixels(np.zeros((4, 5, 3), np.uint8), 'black').pixels
    assert pixels.shape == (4, 5, 4)
    assert (pixels[..., 3] == 255).all()


def test_fully_transparent_object_is_refused():
    with pytest.raises(UserError, match='fully transparent'):
        ScanObject.from_pixels(np.zeros((4, 5, 4), np.uint8), 'nothing')


@settings(deadline=None, max_examples=60)
@given(height=st.integers(1, 80), width=st.integers(1, 80), size=st.integers(1, 120))
def test_size_is_the_longer_side_and_the_shorter_keeps_the_shape(height, width, size):
    obj = ScanObject(np.full((height, width, 4), 255, np.uint8), 'white')
    resized = obj.resized(size)
    assert max(resized.shape[:2]) == size
    exact = np.array([height, width]) * size / max(height, width)
    assert np.abs(np.array(resized.shape[:2]) - exact).max() <= max(0.5, 1 - exact.min())
    assert (resized == 255).all()


@pytest.mark.parametrize('size', [7, 20, 33, 90])
def test_hidden_colour_never_bleeds_into_the_edge(size):
    resized = ScanObject.from_pixels(disc(), 'disc').resized(size)
    visible = resized[resized[..., 3] > 0]
    assert np.abs(visible[:, :3].astype(int) - (10, 200, 90)).max() <= 1
    assert 0 < (resized[..., 3] % 255 > 0).mean() < 0.5  # only the edge is partly transparent


def test_shrinking_averages_over_areas_as_pillow_does():
    rng = np.random.default_rng(0)
    pixels = np.dstack([rng.integers(0, 256, (64, 32, 3)), np.full((64, 32), 255)])
    resized = ScanObject(pixels.astype(np.uint8), 'noise').resized(16)
    expected = np.asarray(Image.fromarray(pixels[..., :3].astype(np.uint8)).resize((8, 16), 4))
    assert np.abs(resized[..., :3].astype(int) - expected).max() <= 1


def test_drawn_object_is_the_same_for_the_same_seed():
    assert (ScanObject.drawn(3).pixels == ScanObject.drawn(3).pixels).all()
    assert ScanObject.drawn(0).resized(32).shape[0] == 32


@pytest.fixture
def coco(tmp_path):
    """A photo of two shapes: annotation 7 a triangle, 8 a crowd, 9 without a mask."""
    photo = np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)
    (tmp_path / 'images').mkdir()
    cv2.imwrite(str(tmp_path / 'images' / 'photo.png'), photo)
    triangle = [[10.0, 10.0, 40.0, 12.0, 20.0, 44.0]]
    annotations = [
        {'id': 7, 'segmentation': triangle, 'iscrowd': 0},
        {'id': 8, 'segmentation': {'counts': [3000], 'size': [50, 60]}, 'iscrowd': 1},
        {'id': 9, 'segmentation': [], 'iscrowd': 0},
        {'id': 10, 'segmentation': {'counts': [3000], 'size': [50, 60]}, 'iscrowd': 0},
    ]
    for annotation in annotations:
        annotation.update(image_id=1, category_id=1, bbox=[0, 0, 1, 1], area=1)
    image = {'id': 1, 'file_name': 'photo.png', 'height': 50, 'width': 60}
    content = {'images': [image], 'annotations': annotations, 'categories': [{'id': 1}]}
    (tmp_path / 'annotations').mkdir()
    path = tmp_path / 'annotations' / 'instances.json'
    path.write_text(json.dumps(content))
    mask = coco_mask.decode(coco_mask.frPyObjects(triangle, 50, 60))[..., 0].astype(bool)
    return path, photo, mask


def test_coco_object_is_the_photo_under_the_annotations_mask(coco):
    path, photo, mask = coco
    (obj,), holes = load_coco_objects(path, [7])
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    window = np.s_[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    assert (obj.pixels[..., 3] == mask[window] * 255).all()
    assert (obj.pixels[..., :3] == photo[window])[mask[window]].all()
    assert [hole.tolist() for hole in holes.values()] == [mask.tolist()]


@pytest.mark.parametrize(
    ('ann_id', 'message'), [(1, 'no annotation'), (8, 'crowd'), (9, 'no mask'), (10, 'empty mask')]
)
def test_annotation_that_cannot_be_cut_out_is_refused(coco, ann_id, message):
    with pytest.raises(UserError, match=message):
        load_coco_objects(coco[0], [ann_id])


@pytest.mark.parametrize(
    ('segmentation', 'image', 'message'),
    [
        ([[1, 2, 3, 4]], {}, 'polygon of 4 numbers'),
        ('10 10 40', {}, 'neither polygons nor run lengths'),
        (None, {'id': 2}, 'no file_name among its images'),
        (None, {'height': None}, 'no height among its images'),
    ],
)
def test_damaged_annotation_is_refused_with_what_it_lacks(coco, segmentation, image, message):
    content = json.loads(coco[0].read_text())
    content['annotations'][0]['segmentation'] = segmentation or [[1, 1, 9, 1, 9, 9]]
    content['images'][0].update(image)
    content['images'] = [{k: v for k, v in content['images'][0].items() if v is not None}]
    coco[0].write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        load_coco_objects(coco[0], [7])


def test_photo_that_is_not_found_names_the_parameter_to_set(coco, tmp_path):
    with pytest.raises(UserError, match='`photo_root`'):
        load_coco_objects(coco[0], [7], tmp_path / 'nowhere')


def test_file_that_is_not_coco_json_is_refused(tmp_path):
    (tmp_path / 'a.json').write_text('{"images": [')
    (tmp_path / 'photo.png').write_bytes(b'\x89PNG' * 1000)
    for name in ('a.json', 'photo.png', 'missing.json'):
        with pytest.raises(UserError, match=name) as info:
            load_coco_objects(tmp_path / name, [1])
        assert len(str(info.value)) < 300
