"""Annotated objects: which class is looked for, and how large they are pasted."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from mindpad_mm import CallableDetector
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.objects import ScanObject, whole_annotations
from mindpad_mm.scan import blindspot_scan
from mindpad_mm.scan.inputs import label_of

CLASSES = ('traffic light', 'person', 'car')


def annotation(number, image, category, box, **more):
    x, y, width, height = box
    corners = [x, y, x + width, y, x + width, y + height, x, y + height]
    return {
        'id': number, 'image_id': image, 'category_id': category, 'bbox': list(box), 'iscrowd': 0,
        'area': width * height, 'segmentation': [[float(v) for v in corners]], **more,
    }  # fmt: skip


@pytest.fixture
def coco(tmp_path):
    """Two photos of 200 x 300: persons (category 5) and a cat (9)."""
    rng = np.random.default_rng(0)
    for name in ('a.png', 'b.png'):
        photo = rng.integers(0, 256, (200, 300, 3), np.uint8)
        cv2.imwrite(str(tmp_path / name), photo)
    annotations = [
        annotation(1, 1, 5, (20, 30, 40, 60)),
        annotation(2, 1, 5, (100, 30, 20, 24)),
        annotation(3, 2, 5, (100, 30, 30, 90)),
        annotation(4, 2, 5, (0, 30, 40, 60)),  # at the photo's edge
        annotation(5, 2, 5, (60, 30, 15, 60)),  # narrow
        annotation(6, 2, 5, (50, 30, 40, 101)),  # longer than half the photo
        annotation(7, 2, 5, (50, 30, 40, 60), iscrowd=1),
        annotation(8, 2, 5, (50, 30, 40, 60), segmentation=[]),
        annotation(9, 1, 9, (50, 50, 40, 60)),
    ]
    content = {
        'images': [
            {'id': k, 'file_name': name, 'height': 200, 'width': 300}
            for k, name in ((1, 'a.png'), (2, 'b.png'))
        ],
        'categories': [{'id': 5, 'name': 'person'}, {'id': 9, 'name': 'cat'}],
        'annotations': annotations,
    }
    (tmp_path / 'instances.json').write_text(json.dumps(content))
    return tmp_path / 'instances.json'


def of(category):
    return ScanObject(np.full((4, 4, 4), 255, np.uint8), 'made up', category)


def test_the_label_is_the_annotations_category():
    assert label_of([of('person')], None, CLASSES) == 1
    assert label_of([of('person'), of('person')], None, CLASSES) == 1
    assert label_of([of(None)], None, CLASSES) == 0
    assert label_of([of('person')], 'car', CLASSES) == 2


def test_a_category_that_the_detector_lacks_is_an_error_and_not_another_class():
    with pytest.raises(
        UserError, match="is a 'cat', which the detector does not know: set `label`"
    ):
        label_of([of('cat')], None, CLASSES)
    with pytest.raises(UserError, match=r'several categories \(person, car\)'):
        label_of([of('person'), of('car')], None, CLASSES)


def test_whole_objects_of_a_category_are_chosen_from_photos_in_turn(coco):
    assert sorted(whole_annotations(coco, 'person', 9)) == [1, 2, 3]
    for seed in range(8):
        chosen = whole_annotations(coco, 'person', 2, seed)
        assert chosen == whole_annotations(coco, 'person', 2, seed)
        assert len(set(chosen) & {1, 2}) == 1
        assert 3 in chosen
    assert len({tuple(whole_annotations(coco, 'person', 2, seed)) for seed in range(8)}) > 1


def test_a_category_without_whole_objects_gets_one_clear_line(coco):
    with pytest.raises(UserError, match="no category 'persn'; did you mean 'person'"):
        whole_annotations(coco, 'persn', 1)
    content = json.loads(coco.read_text())
    content['annotations'] = content['annotations'][3:8]
    coco.write_text(json.dumps(content))
    with pytest.raises(UserError, match="no 'person' that is whole"):
        whole_annotations(coco, 'person', 1)


def nothing(images):
    return [{'boxes': np.zeros((0, 4)), 'scores': [], 'labels': []} for _ in images]


def scan(detector, coco, **options):
    return blindspot_scan(detector, from_coco=coco, **{'stride': 40, 'iou_thr': 0.01, **options})


def test_annotated_objects_are_pasted_as_large_as_they_are_in_their_photo(coco, tmp_path):
    detector = CallableDetector(nothing, CLASSES)
    result = scan(detector, coco, ann_ids=[1, 3], out=tmp_path / 'out')
    # pycocotools draws polygons with a pixel of their outline.
    shapes = [obj.boxes for obj in result.info.objects]
    np.testing.assert_allclose(shapes, [[[60, 40]], [[90, 30]]], atol=1)
    assert result.info.label == 'person'
    assert result.info.sizes == [None]
    longer = [max(obj.boxes[0]) for obj in result.info.objects]
    assert [each['size'] for each in result.info.statistics['maps']] == longer * 2
    loaded = type(result).load(tmp_path / 'out')
    assert loaded.object_pixels(1, 0).shape[:2] == tuple(shapes[1][0])
    assert set(loaded.to_dataframe()['size']) == set(longer)
    # At its natural size an object is not resampled.
    photo = cv2.imread(str(coco.parent / 'a.png'))
    assert (result.object_pixels(0, 0)[..., :3] == photo[30:90, 20:60]).all()
    again = scan(detector, coco, ann_ids=[1, 3], out=tmp_path / 'out', resume=True)
    assert again.info.sizes == [None]


def test_in_the_networks_input_they_are_as_the_pipeline_resizes_their_photo(files, coco):
    content = json.loads(coco.read_text())
    content['categories'][0]['name'] = 'traffic light'
    coco.write_text(json.dumps(content))
    detector = files / 'config.py', files / 'weights.pth'
    result = scan(detector, coco, ann_ids=[1])
    scene = result.info.backgrounds[0]
    wanted = [60 * scene.height / 200, 40 * scene.width / 300]
    np.testing.assert_allclose(result.info.objects[0].boxes[0], wanted, atol=1)
    given = scan(detector, coco, ann_ids=[1], sizes=20)
    assert max(given.info.objects[0].boxes[0]) == 20
    in_photo = scan(detector, coco, ann_ids=[1], space='image')
    np.testing.assert_allclose(in_photo.info.objects[0].boxes[0], [60, 40], atol=1)


def test_images_and_annotations_together_need_a_size(coco):
    detector = CallableDetector(nothing, CLASSES)
    white = np.full((8, 6, 3), 255, np.uint8)
    with pytest.raises(UserError, match='set `sizes`'):
        scan(detector, coco, ann_ids=[1], object=white)
    assert len(scan(detector, coco, ann_ids=[1], object=white, sizes=20).info.objects) == 2
