"""The driver on a detector whose score at every position is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.journal import FOLDER
from mindpad_mm.core.objects import ScanObject
from mindpad_mm.core.scenes import Part, Scene
from mindpad_mm.scan.arrays import score_map_of
from mindpad_mm.scan.chunks import ScanTask
from mindpad_mm.scan.driver import run_scan
from mindpad_mm.scan.engines import FullEngine, find_engine
from mindpad_mm.scan.engines.full import fastest_batch_size
from mindpad_mm.settings.scan import ScanSettings


def flat_scene(height, width, level):
    pixels = np.full((height, width, 3), level, np.uint8)
    return Scene(pixels, f'grey {level}', 'input', None, {})


def white(height, width):
    return ScanObject(np.full((height, width, 4), 255, np.uint8), f'white {height} x {width}')


@pytest.fixture
def task():
    return ScanTask(
        scenes=[flat_scene(40, 50, 204), flat_scene(30, 64, 102)],
        objects=[white(10, 5), white(4, 8)],
        sizes=[10, 20],
        label=1,
        settings=ScanSettings(stride=3, batch_size=5),
        engine='full',
    )


def test_every_score_is_at_its_background_object_size_row_and_column(spot_detector, task, tmp_path):
    result, _ = run_scan(spot_detector, task, tmp_path, {})
    assert result.scores.shape == (2, 2, 2, 12, 20)
    assert result.rows.tolist() == list(range(0, 40 - 5 + 1, 3))
    assert result.cols.tolist() == list(range(0, 64 - 5 + 1, 3))
    shapes = {(0, 10): (10, 5), (0, 20): (20, 10), (1, 10): (5, 10), (1, 20): (10, 20)}
    for b, o, s, r, c in np.ndindex(*result.scores.shape):
        scene, (height, width) = task.scenes[b], shapes[o, task.sizes[s]]
        row, col = result.rows[r], result.cols[c]
        fits = row + height <= scene.size[0] and col + width <= scene.size[1]
        score = result.scores[b, o, s, r, c]
        if not fits:
            assert np.isnan(score)
            continue
        wanted = (1 + row + 100 * col) / 10000 * scene.pixels[0, 0, 0] / 255
        assert score == pytest.approx(wanted, rel=1e-5)
        assert result.ious[b, o, s, r, c] == 1
    assert not result.flags.any()


def test_what_lies_outside_the_photo_has_no_positions_and_scores_inside_stay(spot_detector):
    whole = flat_scene(40, 50, 204)
    photo = Part(6, 9, 23, 31)
    inside = Scene(whole.pixels, 'part', 'input', None, {}, photo=photo)
    other = Scene(whole.pixels, 'elsewhere', 'input', None, {}, photo=Part(0, 10, 40, 30))
    size, stride = [10], 3
    scan_settings = ScanSettings(stride=stride, batch_size=5)
    result, _ = run_scan(
        spot_detector,
        ScanTask([inside, other], [white(10, 5)], size, 1, scan_settings, 'full'),
    )
    every, _ = run_scan(
        spot_detector, ScanTask([whole], [white(10, 5)], size, 1, ScanSettings(stride=1), 'full')
    )
    for scores, part in zip(result.scores[:, 0, 0], (photo, Part(0, 10, 40, 30))):
        scored = {
            (int(result.rows[r]), int(result.cols[c])) for r, c in np.argwhere(~np.isnan(scores))
        }
        assert scored == {
            (row, col)
            for row in range(part.top, part.top + part.height - 10 + 1, stride)
            for col in range(part.left, part.left + part.width - 5 + 1, stride)
        }
        for r, c in np.argwhere(~np.isnan(scores)):
            assert scores[r, c] == every.scores[0, 0, 0, result.rows[r], result.cols[c]]


def test_positions_that_match_a_detection_in_the_clean_scene_are_flagged(spot_detector):
    scene = flat_scene(40, 40, 200)
    scene.pixels[12:22, 15:25] = 255
    task = ScanTask([scene], [white(10, 10)], [10], 1, ScanSettings(stride=1), 'full')
    result, _ = run_scan(spot_detector, task)
    overlap = np.maximum(10 - np.abs(result.rows - 12), 0)[:, None] * np.maximum(
        10 - np.abs(result.cols - 15), 0
    )
    assert (result.flags[0, 0, 0] == (overlap / (200 - overlap) >= 0.5)).all()
    score_map = score_map_of(result, (0, 0, 0), (10, 10), scene.photo)
    assert score_map.scores[12, 15] != result.scores[0, 0, 0, 12, 15]


def test_resumed_scan_gives_the_same_as_an_uninterrupted_one(
    spot_detector, task, tmp_path, monkeypatch
):
    monkeypatch.setattr(FullEngine, 'chunk_size', 13)  # rounded up to 15 = 3 batches
    (tmp_path / 'whole').mkdir()
    whole, _ = run_scan(spot_detector, task, tmp_path / 'whole', {})
    asked = []
    plain = FullEngine.detect

    def dies(self, positions):
        asked.append(len(positions))
        if len(asked) == 9:
            raise KeyboardInterrupt
        return plain(self, positions)

    (tmp_path / 'killed').mkdir()
    monkeypatch.setattr(FullEngine, 'detect', dies)
    with pytest.raises(KeyboardInterrupt):
        run_scan(spot_detector, task, tmp_path / 'killed', {})
    kept = set((tmp_path / 'killed' / FOLDER).iterdir())
    assert len(kept) == 1 + 7  # the fingerprint, and all chunks but the warm-up and the last
    monkeypatch.setattr(FullEngine, 'detect', plain)
    resumed, _ = run_scan(spot_detector, task, tmp_path / 'killed', {})
    for name in ('scores', 'ious', 'flags', 'clean'):
        assert getattr(resumed, name).tobytes() == getattr(whole, name).tobytes()


def test_object_larger_than_a_scene_is_refused(spot_detector, task, tmp_path):
    too_large = ScanTask(task.scenes, task.objects, [31], 1, ScanSettings(), 'full')
    with pytest.raises(UserError, match='use smaller `sizes`'):
        run_scan(spot_detector, too_large, tmp_path, {})


def test_unknown_engine_is_refused_with_a_list_of_engines():
    with pytest.raises(UserError, match='auto, focused, full, incremental'):
        find_engine('warp')
    assert find_engine('auto', 'image') is FullEngine


def test_measured_batch_size_is_one_that_was_tried(spot_detector, task):
    engine = FullEngine(spot_detector, task.scenes[0], task.objects[0].resized(10))
    positions = np.zeros((6, 2), int)
    assert fastest_batch_size(engine, positions) in (1, 2, 4)
