"""Quick scans: dense near borders, sparse inside, and statistics that do not care."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mindpad_mm import CallableDetector
from mindpad_mm.report.page import report_scan
from mindpad_mm.scan import blindspot_scan
from mindpad_mm.scan.quick import even_map, spread, thinned
from tests.border.toys import SquareDetector, street

SQUARE = np.full((24, 24, 3), (0, 0, 255), np.uint8)


def left_half_is_blind(image, box):
    return 0.0 if box[0] < (image.shape[1] - 24) / 2 else 0.8


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp('photos')
    for number in range(8):
        cv2.imwrite(str(folder / f'{number}.png'), street(number, 280, 408))
    return folder


@pytest.fixture(scope='module')
def result(photos, tmp_path_factory):
    detector = SquareDetector(left_half_is_blind).wrapped()
    out = tmp_path_factory.mktemp('quick') / 'out'
    return blindspot_scan(detector, photos, SQUARE, sizes=24, quick=True, out=out)


def test_positions_are_dense_within_32_px_of_borders_and_sparse_inside(result):
    # Pixel rows 0..256 and columns 0..384.
    assert result.rows.tolist() == [*range(0, 33, 8), *range(64, 224, 32), *range(224, 257, 8)]
    assert result.cols.tolist() == [*range(0, 33, 8), *range(64, 352, 32), *range(352, 385, 8)]
    assert not np.isnan(result.scores).any()


@pytest.mark.parametrize('length', [1, 2, 9, 17, 40, 41, 42, 200])
def test_what_a_quick_scan_keeps_has_no_gap_wider_than_eight_strides(length):
    lines = 5 + 4 * np.arange(length)
    kept = thinned(lines, True)
    assert kept[0] == lines[0]
    assert set(kept) <= set(lines)
    assert (np.diff(kept) <= 32).all()
    assert lines[-1] - kept[-1] < 8
    assert (thinned(lines, False) == lines).all()


def test_few_photos_evenly_spread_stand_for_a_folder(result, photos):
    names = [scene.source for scene in result.info.backgrounds]
    assert names == [str(photos / f'{k}.png') for k in (0, 4, 7)]
    assert spread([1, 2], True) == [1, 2]
    assert spread(range(9), False) == list(range(9))


def test_means_and_shares_are_those_of_evenly_spaced_positions(result):
    even = result.even_map(0, 0, 0)
    assert even.rows.tolist() == list(range(0, 257, 32))
    assert even.cols.tolist() == list(range(0, 385, 32))
    known = result.statistics(0, 0, 0)
    # Of 13 columns 6 are blind; of the 19 scanned ones, 8.
    assert known['zero_fraction'] == pytest.approx(6 / 13, abs=1e-6)
    assert known['mean'] == pytest.approx(0.8 * 7 / 13, abs=1e-6)
    assert known['positions'] == result.scores[0].size
    assert known['flicker'] is None


def test_an_ordinary_map_is_its_own_even_map():
    detector = SquareDetector(left_half_is_blind).wrapped()
    result = blindspot_scan(detector, street(0, 100, 120), SQUARE, sizes=24, stride=7)
    whole = result.score_map(0, 0, 0)
    np.testing.assert_array_equal(even_map(whole, 7).scores, whole.scores)
    assert result.statistics(0, 0, 0)['flicker']['max'] == pytest.approx(0.8)


def test_its_figure_has_a_cell_around_each_position(result):
    (axes, *_) = [axes for axes in result.plot([(0, 0, 0)]).axes if axes.collections]
    (mesh,) = axes.collections
    values = mesh.get_array().reshape(len(result.rows), len(result.cols))
    np.testing.assert_allclose(values, result.scores[0, 0, 0], rtol=1e-6)
    corners = mesh.get_coordinates()
    assert corners[0, :3, 0].tolist() == [-2, 4, 12]
    assert corners[0, 5:7, 0].tolist() == [48, 80]


def test_its_page_is_written(result):
    report_scan(result)
    assert (result.folder / 'report.html').stat().st_size > 10_000


def test_a_quick_scan_of_nothing_but_one_array(photos):
    nothing = CallableDetector(
        lambda images: [{'boxes': np.zeros((0, 4)), 'scores': [], 'labels': []} for _ in images],
        ['thing'],
    )
    result = blindspot_scan(nothing, street(0, 60, 64), SQUARE, sizes=24, quick=True)
    assert result.rows.tolist() == list(range(0, 37, 8))
