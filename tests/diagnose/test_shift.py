"""Shifted frames show the real surroundings, and the response is the network's own."""

from __future__ import annotations

import mindpad_mm  # noqa: F401  # isort: skip  # first, so that MMDetection imports on mmcv-lite

import copy
import io
import json

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmdet.apis import inference_detector
from torch import nn

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import load_detector
from mindpad_mm.core.matching import paired_iou
from mindpad_mm.core.objects import ScanObject
from mindpad_mm.diagnose import Subject, check_shift
from mindpad_mm.diagnose.checks.shift.response import DetectorScore
from mindpad_mm.diagnose.checks.shift.scene import ShiftScene
from mindpad_mm.zoo import model_files

SIZE = (40, 48)


class Whereabouts(nn.Module):
    """A classifier whose logit 0 is the mean position of the light along an axis, 0..1."""

    def __init__(self, axis):
        super().__init__()
        self.axis = axis
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        light = (x.sum(1) - x.sum(1).amin()).sum(2 - self.axis)
        place = torch.arange(light.shape[1]) / (light.shape[1] - 1)
        logit = self.weight * (light * place).sum(1) / light.sum(1).clamp(min=1)
        return torch.stack([logit, torch.zeros_like(logit)], 1)


DARK = np.zeros((200, 200, 3), np.uint8)
LAMP = ScanObject.from_pixels(np.full((8, 6, 3), 255, np.uint8), 'lamp')


def lit(axis):
    return check_shift(Subject(Whereabouts(axis), SIZE), [DARK], LAMP, 8, label='0', step=1)


@pytest.mark.parametrize(('axis', 'names'), [(0, ('up', 'down')), (1, ('left', 'right'))])
def test_the_object_moves_as_the_scene_does_pixel_by_pixel_until_it_has_left(axis, names):
    result = lit(axis)
    extent, box = SIZE[axis], (8, 6)[axis]
    start = (extent - box) // 2
    for name, sign in zip(names, (-1, 1)):
        track = result.tracks[name]
        away = start if sign < 0 else extent - box - start
        np.testing.assert_array_equal(track.shifts, np.arange(away + box))
        np.testing.assert_array_equal(track.gaps, away - track.shifts)
        first = np.clip(start + sign * track.shifts, 0, extent)
        last = np.clip(start + sign * track.shifts + box - 1, 0, extent - 1)
        place = (first + last) / 2 / (extent - 1)
        np.testing.assert_allclose(track.scores, 1 / (1 + np.exp(-place)), rtol=1e-5)
    across = result.tracks['left' if axis == 0 else 'up']
    assert np.ptp(across.scores[across.whole]) < 1e-6


def test_the_nine_places_are_flush_with_the_border():
    down, right = lit(0).nine[0], lit(1).nine[0]
    for places, extent, box in ((down, 40, 8), (right.T, 48, 6)):
        assert np.ptp(places, axis=1).max() < 1e-6
        first = np.array([0, (extent - box) // 2, extent - box])
        logit = (first + (box - 1) / 2) / (extent - 1)
        np.testing.assert_allclose(places[:, 0], 1 / (1 + np.exp(-logit)), rtol=1e-5)


def test_by_default_every_phase_of_a_grid_is_met_in_few_shifts():
    result = check_shift(Subject(Whereabouts(0), (150, 90)), [DARK], LAMP, 8, label='0')
    for track in result.tracks.values():
        assert len(track.shifts) <= 33
        assert len(set(track.shifts % 8)) == 8


sides = st.integers(1, 12)


@given(st.data(), sides, sides, sides, sides, sides, sides)
def test_the_visible_box_is_that_of_the_objects_pixels_in_the_frame(
    data, height, width, h, w, y, x
):
    frame = (height, width)
    scene = np.zeros((max(2 * height, y + h), max(2 * width, x + w), 3), np.uint8)
    scene[y : y + h, x : x + w] = 1
    shown = ShiftScene(scene, (y, x, h, w), frame, '')
    top = data.draw(st.integers(0, scene.shape[0] - height))
    left = data.draw(st.integers(0, scene.shape[1] - width))
    assert shown.holds(top, left)
    assert not shown.holds(top, scene.shape[1] - width + 1)
    painted = shown.frame(top, left)[..., 0]
    assert painted.shape == frame
    rows, columns = np.flatnonzero(painted.any(1)), np.flatnonzero(painted.any(0))
    box = shown.visible(top, left)
    if not len(rows):
        assert box is None
    else:
        assert box == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    gaps = [shown.gap(top, left, v) for v in ((-1, 0), (1, 0), (0, -1), (0, 1))]
    assert (min(gaps) >= 0) == (painted.sum() == h * w)
    assert shown.holds(*shown.start)


@pytest.fixture(scope='module')
def zoo():
    config, checkpoint = (str(path) for path in model_files('zeros'))
    return Subject.load(config, checkpoint), config, checkpoint


@pytest.fixture(scope='module')
def followed(zoo):
    return check_shift(zoo[0], step=24)


def test_a_detectors_score_is_what_mmdetection_says_of_the_same_pixels(zoo, followed):
    subject, config, checkpoint = zoo
    other = load_detector(config, checkpoint, cfg_options={'model.test_cfg.score_thr': 0.001})
    before = copy.deepcopy(subject.model.bbox_head.test_cfg)
    row, column = followed.place
    height, width = followed.box
    target = np.array([column, row, column + width, row + height])
    found = inference_detector(other, followed.example).pred_instances
    matching = paired_iou(found.bboxes.numpy(), target) >= 0.5
    expected = float(found.scores[torch.from_numpy(matching)].max())
    assert followed.start == pytest.approx(expected, abs=1e-5)
    assert expected > 0.3
    DetectorScore(subject, None, 0.5)
    assert subject.model.bbox_head.test_cfg == before


def test_numbers_table_figure_and_advice_agree(followed):
    data = json.loads(json.dumps(followed.to_json()))
    assert list(data['tracks']) == [row[0] for row in followed.table().rows]
    for track in data['tracks'].values():
        whole = [s for s, gap in zip(track['scores'], track['gaps']) if gap >= 0]
        assert track['min'] == min(whole) == whole[track['min_shift'] // 24]
        assert track['scores'][0] == data['start']
    lowest = min(track['min'] for track in data['tracks'].values())
    assert f'falls to {lowest:.2f}' in followed.advice()
    assert data['scenes'] == 3
    picture = io.BytesIO()
    followed.plot().savefig(picture, dpi=40)
    assert picture.getvalue().startswith(b'\x89PNG')


def annotations(folder, box=(30.2, 19.8, 5.9, 8.1)):
    photo = np.zeros((60, 70, 3), np.uint8)
    photo[20:28, 30:36] = 255
    cv2.imwrite(str(folder / 'photo.png'), photo)
    content = {
        'images': [{'id': 1, 'file_name': 'photo.png', 'height': 60, 'width': 70}],
        'categories': [{'id': 3, 'name': 'lamp'}],
        'annotations': [{'id': 7, 'image_id': 1, 'category_id': 3, 'bbox': box}],
    }
    (folder / 'ann.json').write_text(json.dumps(content))
    return folder / 'ann.json'


def test_an_annotated_object_is_followed_in_its_own_photo_as_far_as_it_reaches(tmp_path):
    ann_file = annotations(tmp_path)
    subject = Subject(Whereabouts(1), SIZE)
    result = check_shift(subject, from_coco=ann_file, ann_id=7, label='0', step=1)
    assert result.box == (8, 6)
    # The frame starts at column 33 - 24 and can move over 70 - 48 columns.
    assert result.tracks['right'].shifts[-1] == 9
    assert result.tracks['left'].shifts[-1] == 70 - 48 - 9
    row, column = result.place
    assert (result.example[row : row + 8, column : column + 6] == 255).all()
    # The photo ends before the object reaches the right or the left of the frame.
    assert np.isnan(result.nine[0][:, [0, 2]]).all()
    assert result.to_json()['nine']['top left'] is None


def test_errors_of_the_user_are_one_line(tmp_path, zoo):
    ann_file = annotations(tmp_path)
    places = Subject(Whereabouts(1), SIZE)
    for subject, arguments, message in (
        (places, dict(step=0), '`step` 0'),
        (places, dict(ann_id=7), 'both `from_coco` and `ann_id`'),
        (places, dict(from_coco=ann_file, ann_id=8), 'no annotation with id 8'),
        (
            Subject(Whereabouts(1), (64, 64)),
            dict(from_coco=ann_file, ann_id=7),
            'larger than the input',
        ),
        (places, dict(label='cat'), "classes 0 to 1: give one as a number, not 'cat'"),
        (places, dict(label='2'), 'classes 0 to 1'),
        (places, dict(size=60), 'does not fit in an input of 40 x 48'),
        (zoo[0], dict(label='cat'), "no class 'cat'"),
        (Subject(nn.Conv2d(3, 2, 3, padding=1), SIZE), {}, 'neither a detector'),
    ):
        with pytest.raises(UserError, match=message) as caught:
            check_shift(subject, **arguments)
        assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('box', 'message'),
    [
        ((2, 2, 60, 20), r'20 x 60 pixels .*, more than the input of 40 x 48'),
        ((2, 2, 20, 50), r'50 x 20 pixels .*, more than the input of 40 x 48'),
        ((100, 10, 5, 5), r'annotation 7 lies outside its photo: \[100, 10, 5, 5\]'),
    ],
)
def test_an_unsuitable_annotation_is_an_error(tmp_path, box, message):
    with pytest.raises(UserError, match=message):
        check_shift(
            Subject(Whereabouts(1), SIZE), from_coco=annotations(tmp_path, box), ann_id=7, label='0'
        )


def test_an_annotated_box_ends_with_its_photo(tmp_path):
    ann_file = annotations(tmp_path, (60, 50, 14.2, 10.3))
    result = check_shift(Subject(Whereabouts(1), SIZE), from_coco=ann_file, ann_id=7, label='0')
    assert result.box == (10, 10)
    assert result.statistics('left')['min'] > 0


def test_a_size_that_the_classifier_refuses_is_an_error():
    class Refuses(Whereabouts):
        def forward(self, x):
            raise AssertionError(f'wrong size {tuple(x.shape[-2:])}')

    with pytest.raises(UserError, match=r'cannot run on an input of 40 x 48 .*wrong size'):
        check_shift(Subject(Refuses(0), SIZE), [DARK], LAMP, 8, label='0')


def test_advice_says_that_the_network_does_not_know_the_object():
    subject = Subject.load('torchvision:mobilenet_v2', input_size=(64, 64))
    result = check_shift(subject, [DARK], step=40)
    assert 'does not know the object' in result.advice()
