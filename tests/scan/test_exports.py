"""A scan's results in the formats of other tools."""

from __future__ import annotations

import csv
import json

import cv2
import numpy as np
import pytest

from mindpad_mm.core.callable_detector import CallableDetector
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.scenes import paste
from mindpad_mm.scan import blindspot_scan
from mindpad_mm.scan.causes import CAUSES
from mindpad_mm.scan.exports import export_worst, worst_places, write_statistics


def detect(images):
    """Finds the white object, with a score that grows to the right; nowhere in the top rows."""
    found = []
    for image in images:
        rows, cols = np.nonzero((image == 255).all(-1))
        boxes, scores = np.zeros((0, 4)), []
        if len(rows) and rows[0] > 10:
            boxes = [[cols[0], rows[0], cols[-1] + 1, rows[-1] + 1]]
            scores = [0.2 + cols[0] / 200]
        found.append({'boxes': boxes, 'scores': scores, 'labels': [0] * len(scores)})
    return found


@pytest.fixture(scope='module')
def result(tmp_path_factory):
    scene = np.random.default_rng(0).integers(0, 200, (64, 96, 3), np.uint8)
    light = np.full((16, 8, 3), 255, np.uint8)
    out = tmp_path_factory.mktemp('exports') / 'out'
    detector = CallableDetector(detect, ['light'])
    return blindspot_scan(detector, scene, light, out=out, sizes=[16, 24], stride=7, causes=True)


def test_the_table_of_statistics_has_the_numbers_of_scan_json(result, tmp_path):
    write_statistics(result, tmp_path / 'statistics.csv')
    with open(tmp_path / 'statistics.csv', newline='') as stream:
        rows = list(csv.DictReader(stream))
    saved = json.loads((result.folder / 'scan.json').read_text())['statistics']
    means = {row['metric']: row for row in rows if not row['size']}
    assert means.keys() == saved['overall'].keys()
    for name, mean in saved['overall'].items():
        assert float(means[name]['value']) == mean['mean']
        ends = [float(means[name][end]) for end in ('low', 'high') if means[name][end]]
        assert ends == (mean['interval'] or [])
    for each in saved['maps']:
        of_map = {
            row['metric']: float(row['value']) for row in rows if row['size'] == str(each['size'])
        }
        assert of_map['mean'] == each['mean']
        assert of_map['worst.row'] == each['worst']['row']
        assert of_map['percentiles.50'] == each['percentiles']['50']
        assert of_map['causes.limit'] == each['causes']['limit']


def test_worst_places_are_the_lowest_scores_and_do_not_overlap(result):
    places = worst_places(result, 5)
    scores = [result.scores[place] for place in places]
    assert len(places) == 5
    assert scores == sorted(scores)
    assert scores[0] == np.nanmin(result.scores)
    for number, one in enumerate(places):
        for other in places[:number]:
            height, width = result.info.objects[0].boxes[one[2]]
            apart = (
                abs(result.rows[one[3]] - result.rows[other[3]]) >= height
                or abs(result.cols[one[4]] - result.cols[other[4]]) >= width
            )
            assert apart or one[:3] != other[:3]


def test_samples_are_the_pasted_images_with_boxes_in_fiftyones_layout(result, tmp_path):
    export_worst(result, tmp_path, 30)
    samples = json.loads((tmp_path / 'samples.json').read_text())['samples']
    assert {bool(each['predictions']['detections']) for each in samples} == {True, False}
    for place, sample in zip(worst_places(result, 30), samples):
        image = cv2.imread(str(tmp_path / sample['filepath']))
        row, col = sample['row'], sample['col']
        light = result.object_pixels(place[1], place[2])
        np.testing.assert_array_equal(image, paste(result.scene_pixels(0), light, row, col))
        (truth,) = sample['ground_truth']['detections']
        assert (truth['_cls'], truth['label']) == ('Detection', 'light')
        left, top, width, height = truth['bounding_box']
        pixels = np.array([left * 96, top * 64, width * 96, height * 64])
        np.testing.assert_allclose(pixels, [col, row, light.shape[1], light.shape[0]])
        assert sample['score'] == pytest.approx(float(result.scores[place]))
        assert sample['cause'] == CAUSES[result.causes.causes[place]]
        for found in sample['predictions']['detections']:
            np.testing.assert_allclose(found['bounding_box'], truth['bounding_box'])
            assert found['confidence'] == sample['score']


def test_no_places_are_refused(result, tmp_path):
    with pytest.raises(UserError, match='`count` 0 is not valid'):
        export_worst(result, tmp_path, 0)
