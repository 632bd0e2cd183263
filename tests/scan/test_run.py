"""Whole scans of a small SSDLite, against MMDetection alone."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import inference_detector
from mmengine.logging import MMLogger

from mindpad_mm.core.detector import DetectorFiles
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import load_detector
from mindpad_mm.core.matching import match_each
from mindpad_mm.scan import ScanResult, blindspot_scan
from mindpad_mm.scan.arrays import ARRAYS
from mindpad_mm.scan.positions import position_boxes

TOOL = Path(__file__).parents[2] / 'tools' / 'blindspot_scan.py'
OPTIONS = {'sizes': [24, 40], 'stride': 9, 'iou_thr': 0.3, 'clean_thr': 0.9}


def scan(files, out, **options):
    given = {**OPTIONS, 'scene': files / 'photo.png', 'object': files / 'light.png'}
    detector = DetectorFiles(
        files / 'config.py', files / 'weights.pth', options.pop('cfg_options', None)
    )
    return blindspot_scan(detector, out=out, **{**given, **options})


def recompute(result, files, background, size, row, col):
    """Score, IoU and box at a position from the saved files, with MMDetection's own functions."""
    info = result.info
    model = load_detector(
        str(files / 'config.py'), str(files / 'weights.pth'), cfg_options=info.cfg_options
    )
    scene = cv2.imread(str(result.folder / info.backgrounds[background].file))
    file = result.folder / info.objects[0].files[size]
    light = cv2.imread(str(file), cv2.IMREAD_UNCHANGED).astype(int)
    height, width = light.shape[:2]
    window = scene[row : row + height, col : col + width]
    alpha = light[..., 3:]
    window[...] = (alpha * light[..., :3] + (255 - alpha) * window + 127) // 255
    found = inference_detector(model, scene).pred_instances
    target = position_boxes(np.array([[row, col]]), (height, width))
    matches = match_each([found], info.label_index, target, info.iou_thr)
    return [values[0] for values in matches]


@pytest.fixture(scope='module')
def whole(files, tmp_path_factory):
    return scan(files, tmp_path_factory.mktemp('whole') / 'out')


@pytest.mark.parametrize('space', ['input', 'image'])
def test_any_position_can_be_recomputed_with_mmdetection_alone(files, whole, space, tmp_path):
    result = whole if space == 'input' else scan(files, tmp_path / 'out', space='image')
    rng = np.random.default_rng(0)
    assert np.nanmax(result.scores) > 0.1
    assert np.nanstd(result.scores) > 0.01
    for _ in range(6):
        size = rng.integers(2)
        fits = np.argwhere(~np.isnan(result.scores[0, 0, size]))
        r, c = fits[rng.integers(len(fits))]
        score, iou, box = recompute(result, files, 0, size, result.rows[r], result.cols[c])
        assert result.scores[0, 0, size, r, c] == pytest.approx(score, abs=1e-4)
        assert result.ious[0, 0, size, r, c] == pytest.approx(iou, abs=1e-3)
        np.testing.assert_allclose(result.boxes[0, 0, size, r, c], box, rtol=0, atol=0.05)


def test_folder_contains_the_arrays_the_details_and_the_inputs(files, whole):
    names = {path.name for path in whole.folder.iterdir()}
    assert names == {
        'scan.npz', 'scan.json', 'scene_0.png', 'object_0_24.png', 'object_0_40.png'
    }  # fmt: skip
    with np.load(whole.folder / 'scan.npz') as arrays:
        assert arrays['scores'].dtype == arrays['ious'].dtype == np.float32
        assert arrays['boxes'].shape == (*arrays['scores'].shape, 4)
        assert arrays['flags'].dtype == bool
        assert arrays['scores'].shape == (1, 1, 2, len(arrays['rows']), len(arrays['cols']))
    info = json.loads((whole.folder / 'scan.json').read_text())
    assert info['sizes'] == [24, 40]
    assert info['engine'] == 'incremental'
    assert info['label'] == 'traffic light'
    assert info['positions_per_second'] > 0
    assert info['versions']['torch'] == torch.__version__
    assert info['cfg_options'] == {'model.test_cfg.score_thr': 0.001}
    assert info['periods'] == [[p, p] for p in (16, 32, 64, 107, 160, 320)]
    assert len(info['statistics']['maps']) == 2
    shape = cv2.imread(str(whole.folder / 'object_0_24.png'), cv2.IMREAD_UNCHANGED).shape
    assert shape == (*info['objects'][0]['boxes'][0], 4)


def test_saved_scan_loads_as_it_was(whole):
    loaded = ScanResult.load(whole.folder)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(loaded, name), getattr(whole, name))
    assert loaded.info.to_json() == json.loads(json.dumps(whole.info.to_json()))


def test_scan_of_another_version_is_to_be_scanned_again(whole, tmp_path):
    (tmp_path / 'scan.json').write_text('{}')
    np.savez(tmp_path / 'scan.npz', scores=whole.scores)
    with pytest.raises(UserError, match=r'another version of mindpad_mm.*ious.*: scan again'):
        ScanResult.load(tmp_path)


def test_scan_saved_before_photos_were_told_from_their_padding_is_to_be_scanned_again(
    whole, tmp_path
):
    shutil.copytree(whole.folder, tmp_path / 'old')
    file = tmp_path / 'old' / 'scan.json'
    content = json.loads(file.read_text())
    del content['backgrounds'][0]['photo']
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r'another version of mindpad_mm \(photo\): scan again'):
        ScanResult.load(file.parent)


def test_killed_scan_resumes_to_the_same_bytes(files, whole, tmp_path):
    out = tmp_path / 'out'
    options = ['--size', '24', '40', '--stride', '9', '--iou-thr', '0.3', '--clean-thr', '0.9']
    inputs = ['--background', files / 'photo.png', '--object', files / 'light.png']
    command = [sys.executable, TOOL, files / 'config.py', files / 'weights.pth', '--out', out]
    # The order in which floats are added up depends on the number of threads.
    threads = str(torch.get_num_threads())
    environment = {
        **os.environ, 'PYTHONPATH': str(TOOL.parents[1]), 'OMP_NUM_THREADS': threads
    }  # fmt: skip
    process = subprocess.Popen(
        [*map(str, [*command, *inputs]), *options], env=environment, stderr=subprocess.DEVNULL
    )
    chunk = out / '.progress' / '0-0-0-0'
    while not chunk.is_file():
        assert process.poll() is None, 'the scan ended before it could be killed'
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / 'scan.npz').exists()
    with pytest.raises(UserError, match='differs in stride'):
        scan(files, out, stride=10, resume=True)
    scan(files, out, resume=True)
    assert (out / 'scan.npz').read_bytes() == (whole.folder / 'scan.npz').read_bytes()
    assert not (out / '.progress').exists()


def test_a_folder_of_objects_stands_for_its_images(files, tmp_path):
    folder = tmp_path / 'lights'
    folder.mkdir()
    for name in ('b.png', 'a.png'):
        shutil.copy(files / 'light.png', folder / name)
    result = scan(files, tmp_path / 'out', object=[folder], sizes=[40], stride=100)
    assert [obj.source for obj in result.info.objects] == [
        str(folder / name) for name in ('a.png', 'b.png')
    ]


def test_resuming_a_finished_scan_changes_nothing(files, whole):
    before = {path: path.stat().st_mtime_ns for path in whole.folder.iterdir()}
    again = scan(files, whole.folder, resume=True)
    assert {path: path.stat().st_mtime_ns for path in whole.folder.iterdir()} == before
    np.testing.assert_array_equal(again.scores, whole.scores)
    with pytest.raises(UserError, match='differs in iou_thr'):
        scan(files, whole.folder, resume=True, iou_thr=0.4)


def test_existing_folder_is_not_overwritten(files, whole):
    with pytest.raises(UserError, match='not empty'):
        scan(files, whole.folder)


def test_batch_size_does_not_change_what_is_found(files, whole, tmp_path):
    other = scan(files, tmp_path / 'out', batch_size=3)
    np.testing.assert_allclose(other.scores, whole.scores, atol=1e-4)


BAD_INPUT = {
    'no such class': ({'label': 'trafic light'}, "did you mean 'traffic light'"),
    'stride 0': ({'stride': 0}, '`stride` 0'),
    'IoU above 1': ({'iou_thr': 1.5}, '`iou_thr` 1.5'),
    'IoU of 0': ({'iou_thr': 0}, '`iou_thr` 0'),
    'object larger than the scene': ({'sizes': [97]}, 'use smaller `sizes`'),
    'size 0': ({'sizes': [0]}, '`sizes` 0'),
    'threshold without end': ({'clean_thr': float('inf')}, '`clean_thr` inf'),
    'tolerance without end': ({'tolerance': float('inf')}, '`tolerance` inf'),
    'negative seed': ({'seed': -1}, '`seed` -1'),
    'seed beyond numpy': ({'seed': 1 << 32}, '`seed` 4294967296'),
    'period below 2': ({'periods': [16, 1]}, '`periods` 16 1 '),
    'photo-root without its file': ({'photo_root': 'photos'}, 'give `from_coco` as well'),
    'category without its file': ({'category': 'car'}, 'give `from_coco` as well'),
    'annotations twice': (
        {'from_coco': 'a.json', 'ann_ids': [3], 'category': 'car'},
        'either `ann_ids`',
    ),
    'no annotations': ({'from_coco': 'a.json'}, 'either `ann_ids` or `category`'),
    'no object of a category': (
        {'from_coco': 'a.json', 'category': 'car', 'max_objects': 0},
        '`max_obj',
    ),
    'unknown engine': ({'engine': 'warp'}, 'choose one of: auto, focused, full'),
    'unknown space': ({'space': 'time'}, 'choose one of: input, image'),
    'missing background': ({'scene': ['no.png']}, "'no.png' does not exist"),
    'missing object': ({'object': ['no.png']}, "'no.png' does not exist"),
    'annotation without its file': ({'ann_ids': [3]}, 'give `from_coco`'),
    'misspelt setting': ({'strid': 3}, "did you mean 'stride'"),
}


@pytest.mark.parametrize('case', BAD_INPUT)
def test_bad_input_gets_one_clear_line(files, tmp_path, case):
    options, message = BAD_INPUT[case]
    with pytest.raises(UserError, match=message):
        scan(files, tmp_path / 'out', **options)


def test_tool_prints_one_line_for_bad_input_and_exits_with_2(files, tmp_path, monkeypatch, capsys):
    arguments = [files / 'config.py', files / 'no.pth', '--out', tmp_path / 'out']
    monkeypatch.setattr(sys, 'argv', ['blindspot_scan.py', *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_status:
        runpy.run_path(str(TOOL), run_name='__main__')
    assert exit_status.value.code == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error')]
    assert len(errors) == 1
    assert 'no.pth' in errors[0]


WRONG_CONFIGS = {
    'model of another kind': ({'model': 3}, 'model'),
    'threshold that is no number': ({'model.test_cfg.score_thr': 'low'}, "score_thr = 'low'"),
    'no test set': ({'test_dataloader': None}, 'no test_dataloader'),
    'unknown test set': ({'test_dataloader.dataset.type': 'Foo'}, 'Foo is not in'),
    'seed that is no number': ({'randomness.seed': 'abc'}, "randomness.seed = 'abc'"),
    'no test_cfg': ({'model.test_cfg': None}, 'cannot predict'),
    'unknown step': ({'test_dataloader.dataset.pipeline.1.type': 'Resise'}, 'Resise is not in'),
    'unknown option': ({'test_dataloader.dataset.pipeline.1.scael': 3}, "cannot be built.*'scael'"),
    'no pixels left': ({'test_dataloader.dataset.pipeline.1.scale': (0, 0)}, 'fails on .*photo.png'),
    'empty pipeline': ({'test_dataloader.dataset.pipeline': []}, 'pipeline in the config is empty'),
    'nothing packed': (
        {'test_dataloader.dataset.pipeline': [{'type': 'LoadImageFromFile'}]}, 'PackDetInputs'
    ),
    'classes of another detector': (
        {'test_dataloader.dataset.metainfo.classes': ('a', 'b', 'c')},
        r'2 classes \(bbox_head.num_classes\), but 3 class names are given \(a, b, c\)',
    ),
}  # fmt: skip


@pytest.mark.parametrize('case', WRONG_CONFIGS)
def test_a_config_that_cannot_be_scanned_gets_one_clear_line(files, tmp_path, case):
    options, message = WRONG_CONFIGS[case]
    with pytest.raises(UserError, match=message) as info:
        scan(files, tmp_path / 'out', cfg_options=options)
    assert '\n' not in str(info.value)


def test_a_scan_that_finds_nothing_says_what_to_look_at(files, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(MMLogger.get_current_instance(), 'handlers', [caplog.handler])
    scan(files, tmp_path / 'nothing', sizes=[40], stride=40, iou_thr=1.0)
    assert "'traffic light' was found at no position" in caplog.text
    scan(files, tmp_path / 'flagged', sizes=[40], stride=40, iou_thr=0.01, clean_thr=1e-9)
    assert 'the clean scene alone scores' in caplog.text


def test_a_forgotten_launcher_option_is_an_error(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'none')
    monkeypatch.setattr(sys, 'argv', ['scan', str(files / 'config.py'), 'weights.pth'])
    with pytest.raises(SystemExit, match='2'):
        runpy.run_path(str(TOOL), run_name='__main__')
    assert '--launcher pytorch' in capsys.readouterr().err


def test_failed_start_leaves_a_folder_that_can_be_used_again(files, tmp_path):
    with pytest.raises(UserError):
        scan(files, tmp_path / 'out', label='bus')
    assert scan(files, tmp_path / 'out', sizes=[90]).scores.size
