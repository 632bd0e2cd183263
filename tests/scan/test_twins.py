"""Every position twice, with the border near and far: where the loss must be 0 it is, elsewhere not."""

from __future__ import annotations

import base64
import json
import math
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmdet.apis import inference_detector

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import load_detector
from mindpad_mm.core.matching import match_each
from mindpad_mm.core.scenes import paste
from mindpad_mm.report.data import page_data
from mindpad_mm.report.page import report_scan
from mindpad_mm.scan import ScanResult, blindspot_scan
from mindpad_mm.scan.positions import position_boxes
from mindpad_mm.scan.twins import axis_shifts
from tests.border.toys import HeatDetector, SquareDetector, convolutions, noise_photo, street

SQUARE = np.full((24, 24, 3), (0, 0, 255), np.uint8)
# A frame, through which the scene is seen.
FRAME = np.full((24, 24, 4), (0, 0, 255, 255), np.uint8)
FRAME[4:-4, 4:-4, 3] = 0
# Only the cells in the middle of the object match; no position is flagged, whatever the scene has.
HEAT = dict(sizes=24, stride=4, iou_thr=0.7, clean_thr=2.0, window=(160, 160), zoom=1, far=32)
NOTHING = 1e-6
# Radius of the receptive field of `convolutions`: 3 x 3 at strides 1, 2, 4, 4.
RADIUS = 1 + 2 + 4 + 4


def losses(result):
    loss = result.losses()[0, 0, 0]
    assert not np.isnan(loss).all()
    return loss


@pytest.mark.parametrize('mode', ['circular', 'zeros'])
def test_circular_padding_on_a_periodic_photo_has_no_loss(mode):
    photo = np.tile(noise_photo(160, 160), (3, 3, 1))
    detector = HeatDetector(convolutions(mode)).wrapped()
    result = blindspot_scan(detector, photo, FRAME, **HEAT)
    assert np.nanmax(result.scores) > 0.1
    loss = np.abs(losses(result))
    assert not np.isnan(loss).any()
    assert loss.max() < NOTHING if mode == 'circular' else loss.max() > 0.01


def test_a_detector_without_padding_has_no_loss():
    detector = HeatDetector(convolutions('zeros', padding=0), first=RADIUS).wrapped()
    # With this IoU a single cell matches, so none of those that match is missing at the border.
    result = blindspot_scan(detector, noise_photo(300, 300), FRAME, **{**HEAT, 'iou_thr': 0.9})
    assert np.nanstd(result.scores) > 0.001
    assert np.abs(losses(result)).max() < NOTHING


def test_beyond_the_receptive_field_zeros_cost_nothing():
    detector = HeatDetector(convolutions('zeros')).wrapped()
    result = blindspot_scan(detector, noise_photo(300, 300), FRAME, **HEAT)
    loss = np.abs(losses(result))
    # The matching cell is 12 px inside the object, its field 11 px wide: only the outermost rows can
    # see the padding, for cells that match a little less well.
    assert loss[3:-3, 3:-3].max() < NOTHING
    assert result.statistics(0, 0, 0)['loss']['interior'] == pytest.approx(0, abs=NOTHING)


def near_left(image, box):
    """Blind within 20 px of the image's left side."""
    return 0.9 if box[0] >= 20 else 0.0


@pytest.fixture(scope='module')
def rim(tmp_path_factory):
    photos = [street(number) for number in range(3)]
    return blindspot_scan(
        SquareDetector(near_left).wrapped(), photos, SQUARE, sizes=24, stride=16, window=(288, 288),
        zoom=1, out=tmp_path_factory.mktemp('rim') / 'out',
    )  # fmt: skip


def test_a_planted_blind_rim_shows_on_the_loss_map_and_nowhere_else(rim):
    left = rim.cols < 20
    losses = rim.losses()
    np.testing.assert_allclose(losses[..., left], 0.9, rtol=1e-6)
    assert (losses[..., ~left] == 0).all()
    overall = rim.info.statistics['overall']
    assert overall['loss.left']['mean'] == pytest.approx(0.9)
    assert overall['loss.left']['interval'] == pytest.approx([0.9, 0.9])
    for name in ('top', 'bottom', 'right', 'interior'):
        assert overall[f'loss.{name}'] == {'mean': 0, 'interval': [0, 0], 'backgrounds': 3}
    assert 0 < overall['loss.border']['mean'] < 0.9
    assert 'within 16 px of a side: 0.' in rim.summary()


def test_the_loss_map_is_free_of_the_scene():
    def as_the_scene(image, box):
        """As sure as the pixels to 16 px from the box are bright."""
        x1, y1, x2, y2 = box
        around = image[max(0, y1 - 16) : y2 + 16, max(0, x1 - 16) : x2 + 16, 1]
        return float(np.clip(around.mean() / 160, 0, 1))

    photo = noise_photo(420, 460)
    photo[..., 2] = np.minimum(photo[..., 2], 200)
    result = blindspot_scan(
        SquareDetector(as_the_scene).wrapped(), photo, SQUARE, sizes=24, stride=8, window=(288, 288)
    )
    far = slice(2, -2)
    assert np.ptp(result.scores[0, 0, 0, far, far]) > 0.2
    assert (losses(result)[far, far] == 0).all()
    assert np.abs(losses(result)).max() > 0.01


@given(
    window=st.integers(40, 300),
    box=st.integers(1, 40),
    far=st.integers(1, 80),
    room=st.tuples(st.booleans(), st.booleans()),
)
def test_shifted_windows_have_the_place_far_from_both_sides(window, box, far, room):
    lines, span = np.arange(window - box + 1), window - box
    shifts, possible = axis_shifts(lines, span, far, {-far: room[0], far: room[1]})
    assert set(shifts) <= {-far, 0, far}
    low = lines - shifts
    assert (low[possible] >= far).all()
    assert (span - low[possible] >= far).all()
    if not all(room):
        assert not (shifts == (far if room[0] else -far)).any()
    if all(room) and span >= 4 * far:
        assert possible.all()
        assert (shifts == np.where(2 * lines <= span, -far, far)).all()
    # What is left out could not be placed by any of the three shifts.
    for line in lines[~possible]:
        for shift, has_room in ((-far, room[0]), (0, True), (far, room[1])):
            assert not has_room or min(line - shift, span - line + shift) < far


def test_the_loss_map_stands_beside_the_scores_in_the_figure(rim):
    figure = rim.plot([(1, 0, 0)])
    scores, loss = figure.axes[1:3]
    np.testing.assert_allclose(scores.images[0].get_array(), rim.scores[1, 0, 0])
    np.testing.assert_allclose(loss.images[0].get_array(), rim.losses()[1, 0, 0])
    assert loss.images[0].get_clim() == pytest.approx((-0.9, 0.9))
    assert 'inside +0.000' in loss.get_title('left')


def test_the_page_carries_the_loss_map_and_says_what_it_means(rim):
    report_scan(rim)
    carried = page_data([rim], ['one'])['scans'][0]
    losses = np.frombuffer(zlib.decompress(base64.b64decode(carried['losses'])), '<f4')
    np.testing.assert_array_equal(losses, rim.losses().astype(np.float32).ravel())
    assert 'left +0.900' in carried['maps'][0]['words'][3]
    page = (rim.folder / 'report.html').read_text()
    for text in ('What the border costs', 'loss at the border', 'photo_2.png'):
        assert text in page


OPTIONS = dict(stride=9, iou_thr=0.3, clean_thr=0.9, sizes=24, window=(), far=16)


@pytest.fixture(scope='module')
def twins(files, tmp_path_factory):
    return scan_small(files, out=tmp_path_factory.mktemp('twins') / 'out')


def scan_small(files, **options):
    detector = files / 'config.py', files / 'weights.pth'
    return blindspot_scan(
        detector, files / 'photo.png', files / 'light.png', **{**OPTIONS, **options}
    )


def test_any_open_score_can_be_recomputed_with_mmdetection_alone(files, twins):
    folder, info = twins.folder, json.loads((twins.folder / 'scan.json').read_text())
    window, light = info['windows'][0], cv2.imread(str(folder / 'object_0_24.png'), -1)
    photo = cv2.imread(str(folder / window['file']))
    scene = cv2.imread(str(folder / 'scene_0.png'))
    height, width = scene.shape[:2]
    model = load_detector(
        str(files / 'config.py'), str(files / 'weights.pth'), cfg_options=info['cfg_options']
    )
    arrays = np.load(folder / 'scan.npz')
    known = np.argwhere(~np.isnan(arrays['open_scores'][0, 0, 0]))
    assert len(known) > 30
    assert np.nanmax(arrays['open_scores']) > 0.1
    assert (photo[window['row'] :, window['col'] :][:height, :width] == scene).all()
    rng = np.random.default_rng(0)
    for r, c in known[rng.permutation(len(known))[:8]]:
        down, right = arrays['open_shifts'][0, 0, 0, r, c].tolist()
        assert [down, right] in window['shifts']
        top, left = window['row'] + down, window['col'] + right
        shifted = photo[top : top + height, left : left + width]
        row, col = arrays['rows'][r] - down, arrays['cols'][c] - right
        found = inference_detector(model, paste(shifted, light, row, col)).pred_instances
        target = position_boxes(np.array([[row, col]]), light.shape[:2])
        score = match_each([found], info['label_index'], target, info['iou_thr']).scores[0]
        assert arrays['open_scores'][0, 0, 0, r, c] == pytest.approx(score, abs=1e-4)


def test_engines_agree_on_open_scores(files, twins):
    assert twins.info.engine == 'incremental'
    assert {tuple(note.get('shift', ())) for note in twins.info.engine_notes} >= {
        (-16, -16),
        (16, 16),
    }
    full = scan_small(files, engine='full')
    np.testing.assert_allclose(full.open_scores, twins.open_scores, atol=1e-4)


def test_scores_of_the_windows_are_those_of_a_scan_without_twins(files, twins):
    plain = blindspot_scan(
        (files / 'config.py', files / 'weights.pth'),
        twins.scene_pixels(0),
        files / 'light.png',
        **{**OPTIONS, 'window': None, 'far': 64},
    )
    np.testing.assert_array_equal(plain.scores, twins.scores)
    assert plain.open_scores is None
    with pytest.raises(UserError, match='no losses'):
        plain.losses()


def test_a_scan_with_twins_is_saved_loaded_and_resumed(files, twins, tmp_path):
    loaded = ScanResult.load(twins.folder)
    np.testing.assert_array_equal(loaded.open_scores, twins.open_scores)
    np.testing.assert_array_equal(loaded.losses(), twins.losses())
    assert loaded.info.to_json() == json.loads(json.dumps(twins.info.to_json()))
    np.testing.assert_array_equal(loaded.photo_pixels(0), twins.photo_pixels(0))
    again = scan_small(files, out=twins.folder, resume=True)
    np.testing.assert_array_equal(again.open_scores, twins.open_scores)
    with pytest.raises(UserError, match=r'differs in .*far'):
        scan_small(files, out=twins.folder, resume=True, far=8)
    loaded.save(tmp_path / 'copy')
    assert (tmp_path / 'copy' / 'photo_0.png').read_bytes() == (
        twins.folder / 'photo_0.png'
    ).read_bytes()


def test_where_the_photo_has_no_room_there_is_no_open_score():
    # 40 px more than the window to the left and right, nothing above and below.
    detector = SquareDetector(near_left).wrapped()
    result = blindspot_scan(
        detector, street(0, 160, 240), SQUARE, sizes=24, stride=8, window=(160, 160), zoom=1, far=40
    )
    known = ~np.isnan(result.open_scores[0, 0, 0])
    rows = (result.rows >= 40) & (result.rows <= 96)
    # Columns 56 to 80 are far from both sides in the window itself.
    np.testing.assert_array_equal(known.any(1), rows)
    np.testing.assert_array_equal(
        known.all(1), rows & (result.open_shifts[0, 0, 0, :, :, 1] != 0).all(1)
    )
    assert result.open_shifts[0, 0, 0][~known].any() == 0


def test_photos_are_scaled_to_what_windows_need():
    detector = SquareDetector(near_left).wrapped()
    result = blindspot_scan(
        detector, street(0, 200, 240), SQUARE, sizes=24, stride=40, window=(160, 160), far=40
    )
    assert result.info.windows[0].zoom == pytest.approx(1.2)
    assert result.photo_pixels(0).shape == (240, 288, 3)
    assert not np.isnan(result.open_scores).any()


BAD = {
    'window of one number': (dict(window=[160]), '`window` 160 is not valid: give height and width'),
    'window of 0': (dict(window=[0, 160]), '`window` 0 160'),
    'zoom of 0': (dict(window=[160, 160], zoom=0), '`zoom` 0'),
    'zoom without end': (dict(window=[160, 160], zoom=math.inf), '`zoom` inf'),
    'zoom that is no number': (dict(window=[160, 160], zoom='big'), "`zoom` 'big'"),
    'far of 0': (dict(window=[160, 160], far=0), '`far` 0'),
    'zoom without windows': (dict(zoom=2.0), 'give `window` as well'),
    'far without windows': (dict(far=32), 'give `window` as well'),
    'photo as large as the window': (dict(window=[200, 240], zoom=1), 'no photo is large enough'),
    'object that is far from nothing': (dict(window=[100, 100], far=64), 'no position has room'),
}  # fmt: skip


@pytest.mark.parametrize('case', BAD)
def test_what_cannot_be_done_gets_one_clear_line(case):
    options, message = BAD[case]
    detector = SquareDetector(near_left).wrapped()
    with pytest.raises(UserError, match=message):
        blindspot_scan(detector, street(0, 200, 240), SQUARE, sizes=24, stride=40, **options)


def test_a_window_that_the_pipeline_resizes_gets_one_clear_line(files):
    with pytest.raises(UserError, match=r'`window`: the test pipeline makes \d+ x \d+ pixels'):
        scan_small(files, window=(50, 60))
