"""Scans of built detectors and of plain functions, with arrays for photos and objects."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import init_detector

from mindpad_mm.core.callable_detector import CallableDetector
from mindpad_mm.core.errors import UserError
from mindpad_mm.scan import ScanResult, ScanSettings, blindspot_scan
from mindpad_mm.testing.small import CLASSES

OPTIONS = {'sizes': [24], 'stride': 12, 'iou_thr': 0.3, 'clean_thr': 0.9}


@pytest.fixture
def photo(files):
    return cv2.imread(str(files / 'photo.png'))


@pytest.fixture
def light(files):
    return cv2.imread(str(files / 'light.png'), cv2.IMREAD_UNCHANGED)


def built(files):
    """The small detector, as MMDetection builds it."""
    model = init_detector(str(files / 'config.py'), str(files / 'weights.pth'), device='cpu')
    model.dataset_meta = {'classes': CLASSES}
    return model


def find_white(images):
    """One box around the white pixels of each RGB image; its score is the image's darkest red / 255."""
    found = []
    for image in images:
        rows, cols = np.nonzero((image == 255).all(-1))
        box = [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1] if len(rows) else None
        score = image[..., 0].min() / 255
        boxes, scores, labels = ([box], [score], [1]) if box else ([], [], [])
        found.append({'boxes': boxes, 'scores': scores, 'labels': labels})
    return found


def test_a_built_detector_and_arrays_give_the_same_as_files(files, photo, light):
    model = built(files)
    model.bbox_head.test_cfg['score_thr'] = 0.02
    in_memory = blindspot_scan(model, photo, light, **OPTIONS)
    detector = files / 'config.py', files / 'weights.pth'
    of_files = blindspot_scan(detector, files / 'photo.png', files / 'light.png', **OPTIONS)
    np.testing.assert_array_equal(in_memory.scores, of_files.scores)
    np.testing.assert_array_equal(in_memory.boxes, of_files.boxes)
    assert in_memory.folder is None
    # The detector is unchanged.
    assert model.bbox_head.test_cfg['score_thr'] == 0.02


def test_a_detector_in_training_mode_is_scanned_in_evaluation_mode(files, photo, light):
    model = built(files)
    wanted = blindspot_scan(model, photo, light, **OPTIONS)
    model.train()
    found = blindspot_scan(model, photo, light, **OPTIONS)
    np.testing.assert_array_equal(found.scores, wanted.scores)
    assert model.training
    assert model.backbone.training


def test_any_function_can_be_scanned():
    scene = np.full((40, 50, 3), (10, 20, 102), np.uint8)
    white = np.full((8, 6, 3), 255, np.uint8)
    detector = CallableDetector(find_white, ['nothing', 'white thing'])
    result = blindspot_scan(detector, scene, white, label='white thing', sizes=8, stride=3)
    assert result.info.engine == 'full'
    assert result.scores.shape == (1, 1, 1, 11, 15)
    np.testing.assert_allclose(result.scores, 102 / 255)  # the red channel comes first
    assert (result.ious == 1).all()
    other = blindspot_scan(
        CallableDetector(find_white, ['nothing', 'white thing'], 'bgr'),
        scene, white, label='white thing', sizes=8, stride=3, space='image',
    )  # fmt: skip
    np.testing.assert_allclose(other.scores, 10 / 255)


def test_torchvisions_ssd_can_be_scanned(photo, light):
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    torch.manual_seed(0)
    model = ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=3, score_thresh=0.001
    ).eval()

    def detect(images):
        tensors = [torch.from_numpy(image).permute(2, 0, 1) / 255 for image in images]
        with torch.inference_mode():
            return model(tensors)

    detector = CallableDetector(detect, ['background', 'car', 'traffic light'])
    result = blindspot_scan(detector, photo, light, sizes=[24], stride=20, iou_thr=0.01)
    assert result.info.label == 'traffic light'
    index = np.unravel_index(np.nanargmax(result.scores), result.scores.shape)
    score = float(result.scores[index])
    assert score > 0
    row, col = int(result.rows[index[3]]), int(result.cols[index[4]])
    pasted = result.scene_pixels(0).copy()
    pixels = result.object_pixels(0, 0).astype(int)
    window = pasted[row : row + pixels.shape[0], col : col + pixels.shape[1]]
    alpha = pixels[..., 3:]
    window[...] = (alpha * pixels[..., :3] + (255 - alpha) * window + 127) // 255
    (found,) = detect([np.ascontiguousarray(pasted[..., ::-1])])
    kept = found['scores'][found['labels'] == 2]
    assert min(abs(kept - score)) < 1e-6


def test_a_result_in_memory_is_saved_with_its_pictures(files, photo, light, tmp_path):
    result = blindspot_scan((files / 'config.py', files / 'weights.pth'), photo, light, **OPTIONS)
    pixels = result.scene_pixels(0).copy(), result.object_pixels(0, 0).copy()
    result.save(tmp_path / 'new' / 'folder')
    loaded = ScanResult.load(tmp_path / 'new' / 'folder')
    np.testing.assert_array_equal(loaded.scene_pixels(0), pixels[0])
    np.testing.assert_array_equal(loaded.object_pixels(0, 0), pixels[1])
    loaded.save(tmp_path / 'copy')
    assert ScanResult.load(tmp_path / 'copy').plot().axes


def test_a_result_has_a_summary_a_plot_and_a_table(files, photo, light, tmp_path):
    detector = files / 'config.py', files / 'weights.pth'
    result = blindspot_scan(detector, [photo, photo[::-1]], light, **OPTIONS)
    assert repr(result).startswith("ScanResult('traffic light', 2 scenes, 1 object, 1 size")
    assert 'mean score' in result.summary()
    assert len(result.plot().axes) >= 4
    html = result._repr_html_()
    assert 'data:image/png;base64,' in html
    table = pytest.importorskip('pandas') and result.to_dataframe()
    assert len(table) == np.isfinite(result.scores).sum() == result.info.positions
    row = table.iloc[7]
    index = tuple(int(np.flatnonzero(axis == row[name])[0]) for axis, name in
                  ((result.rows, 'row'), (result.cols, 'col')))  # fmt: skip
    assert result.scores[(int(row['background']), 0, 0, *index)] == np.float32(row['score'])


BAD_INPUT = {
    'a function that is not wrapped': ({'detector': find_white}, 'CallableDetector'),
    'a module without a config': ({'detector': torch.nn.Conv2d(3, 3, 1)}, 'init_detector'),
    'pixels that are no bytes': ({'scene': np.zeros((9, 9, 3))}, '`scene` is an array of float64'),
    'a grey scene': ({'scene': np.zeros((9, 9), np.uint8)}, r'\(height, width, 3\)'),
    'resume without a folder': ({'resume': True}, 'give `out`'),
    'settings twice': ({'settings': ScanSettings(), 'stride': 3}, 'not both'),
    'another color order': (
        {'detector': lambda: CallableDetector(find_white, ['a'], 'hsv')}, "'rgb', 'bgr'"
    ),
    'a function that returns too few': (
        {'detector': CallableDetector(lambda images: [], ['a'])}, '0 detections for 1 images'
    ),
    'a function that returns no boxes': (
        {'detector': CallableDetector(lambda images: [{}] * len(images), ['a'])}, 'without boxes'
    ),
}  # fmt: skip


@pytest.mark.parametrize('case', BAD_INPUT)
def test_bad_input_in_memory_gets_one_clear_line(case):
    options, message = BAD_INPUT[case]
    given = {
        'detector': CallableDetector(find_white, ['a']),
        'scene': np.zeros((9, 9, 3), np.uint8),
    }
    given |= {'object': np.full((3, 3, 3), 255, np.uint8), **options}
    if case == 'another color order':
        with pytest.raises(UserError, match=message):
            given['detector']()
        return
    if 'settings' not in options:
        given['sizes'] = 3
    with pytest.raises(UserError, match=message) as info:
        blindspot_scan(**given)
    assert '\n' not in str(info.value)
