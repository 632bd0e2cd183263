"""Causes of blind places, against MMDetection with its suppression opened by the config."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import inference_detector

from mindpad_mm.core.callable_detector import CallableDetector
from mindpad_mm.core.detector import all_boxes
from mindpad_mm.core.loading import load_detector
from mindpad_mm.core.scenes import detect_images, paste
from mindpad_mm.scan import ScanResult, blindspot_scan, rerun
from mindpad_mm.scan.causes import CAUSES, Causes, causes_words, classify
from mindpad_mm.testing.detectors import family_detector
from tests.scan import small_scans
from tests.scan.small_scans import boxes

OPTIONS = {'sizes': [24, 40], 'stride': 11, 'iou_thr': 0.5, 'clean_thr': 0.9}
OPENED = {
    'model.test_cfg.nms.iou_threshold': 1.0,
    'model.test_cfg.score_thr': 0.0,
    'model.test_cfg.nms_pre': 100_000,
    'model.test_cfg.max_per_img': 100_000,
}


def scan(files, out, **options):
    return small_scans.scan(files, out, **OPTIONS | options)


@pytest.fixture(scope='module')
def explained(files, tmp_path_factory):
    return scan(files, tmp_path_factory.mktemp('causes') / 'out', causes=True)


FIT, PART, AWAY = (10, 10, 30, 30), (10, 10, 20, 22), (60, 60, 80, 80)


@pytest.mark.parametrize(
    ('final', 'raw', 'clean', 'cause'),
    [
        ([], [(*FIT, 0.6, 1)], [], 'suppressed'),
        ([], [(*FIT, 0.1, 1)], [], 'low score'),
        ([], [(*FIT, 0.01, 0)], [], 'low score'),
        ([], [(*PART, 0.1, 1)], [], 'no box'),
        ([], [], [], 'no box'),
        ([(*AWAY, 0.9, 1)], [(*AWAY, 0.9, 1)], [], 'no box'),
        ([(*PART, 0.6, 1)], [(*PART, 0.6, 1), (*FIT, 0.1, 1)], [], 'imprecise'),
        ([(*PART, 0.2, 1)], [(*PART, 0.2, 1)], [], 'no box'),
        ([(*FIT, 0.6, 0)], [(*FIT, 0.6, 0)], [], 'wrong class'),
        ([(*FIT, 0.6, 0)], [(*FIT, 0.6, 0), (*FIT, 0.5, 1)], [], 'suppressed'),
        # What the clean scene has as well is not the object's.
        ([(*FIT, 0.6, 0)], [(*FIT, 0.6, 0)], [(*FIT, 0.7, 0)], 'low score'),
        ([(*FIT, 0.6, 0)], [(*FIT, 0.6, 0)], [(*FIT, 0.7, 1)], 'wrong class'),
        ([(*PART, 0.6, 1)], [(*PART, 0.6, 1)], [(*PART, 0.7, 1)], 'no box'),
        # The scan's score was below the limit, the score of the rerun is above it by rounding.
        ([(*FIT, 0.3001, 1)], [(*FIT, 0.3001, 1)], [], 'low score'),
        ([], None, [], 'unknown'),
        ([(*FIT, 0.6, 0)], None, [], 'wrong class'),
    ],
)
def test_each_kind_of_miss_has_its_cause(final, raw, clean, cause):
    raw = None if raw is None else [boxes(*raw)]
    target = np.array([[10.0, 10, 30, 30]])
    found, _, _ = classify([boxes(*final)], raw, boxes(*clean), 1, target, 0.3, 0.5)
    assert CAUSES[found[0]] == cause


def iou(box, target):
    width, height = (
        max(0, min(box[k + 2], target[k + 2]) - max(box[k], target[k])) for k in range(2)
    )
    both = width * height
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, target)]
    return both / (sum(areas) - both)


def test_causes_are_those_of_mmdetections_plain_and_opened_outputs(files, explained):
    plain, opened = (
        load_detector(str(files / 'config.py'), str(files / 'weights.pth'), cfg_options=options)
        for options in (explained.info.cfg_options, OPENED)
    )
    scene = cv2.imread(str(explained.folder / 'scene_0.png'))
    clean = inference_detector(plain, scene).pred_instances
    places = np.argwhere(explained.causes.causes > 0)
    seen = set()
    for at in np.random.default_rng(0).permutation(places)[:20]:
        _, obj, size, r, c = at
        row, col = explained.rows[r], explained.cols[c]
        height, width = explained.info.objects[obj].boxes[size]
        target = [col, row, col + width, row + height]
        limit = explained.statistics(0, obj, size)['causes']['limit']
        pasted = paste(scene, explained.object_pixels(obj, size), row, col)
        final, raw = (
            [
                (box, score, label == 1, iou(box, target))
                for box, score, label in zip(
                    *(found[k].tolist() for k in ('bboxes', 'scores', 'labels'))
                )
            ]
            for found in (
                inference_detector(each, pasted).pred_instances for each in (plain, opened)
            )
        )
        there = [
            (box, label == 1)
            for box, score, label in zip(
                *(clean[k].tolist() for k in ('bboxes', 'scores', 'labels'))
            )
            if score >= limit
        ]
        new = [
            each
            for each in final
            if each[1] >= limit
            and not any(right == each[2] and iou(box, each[0]) >= 0.5 for box, right in there)
        ]
        if any(right and score >= limit and fit >= 0.5 for _, score, right, fit in raw):
            wanted = 'suppressed'
        elif any(not right and fit >= 0.5 for _, _, right, fit in new):
            wanted = 'wrong class'
        elif any(right and 0.1 <= fit < 0.5 for _, _, right, fit in new):
            wanted = 'imprecise'
        else:
            wanted = 'low score' if any(each[3] >= 0.5 for each in raw) else 'no box'
        assert CAUSES[explained.causes.causes[tuple(at)]] == wanted
        best = max((score for _, score, right, fit in raw if right and fit >= 0.5), default=0)
        assert explained.causes.raw_scores[tuple(at)] == pytest.approx(best, abs=1e-4)
        nearest = max(each[3] for each in raw)
        assert explained.causes.raw_ious[tuple(at)] == pytest.approx(nearest, abs=1e-4)
        seen.add(wanted)
    assert len(seen) > 1


def test_every_blind_place_has_a_cause_and_no_other(explained):
    for index in explained.indices():
        known = explained.statistics(*index)
        blind = (explained.scores[index] < known['blind_below']) & ~explained.flags[index]
        assert blind.any()
        np.testing.assert_array_equal(explained.causes.causes[index] > 0, blind)
        assert sum(known['causes']['counts'].values()) == blind.sum()
        known_there = ~np.isnan(explained.scores[index]) & ~explained.flags[index]
        share = blind.sum() / known_there.sum()
        assert known['blind_fraction'] == pytest.approx(share, abs=1e-4)


def test_places_that_are_not_blind_with_the_border_far_are_counted_by_cause():
    codes = np.array([[0, 1, 2], [2, 2, 5]], np.uint8)
    causes = Causes(codes[None, None, None], *np.zeros((2, 1, 1, 1, 2, 3), np.float32))
    far = np.array([[0.9, 0.1, 0.5], [0.3, np.nan, 0.29]])
    found = causes.counts((0, 0, 0), 0.3, far)
    assert found['counts'] == {'no box': 1, 'low score': 3, 'suppressed': 1}
    assert found['at_border'] == {'low score': 2}
    assert causes_words([{'causes': found}]) == (
        'Causes at the 5 blind places: low score 60 %, no box 20 %, suppressed 20 %. '
        'Not blind with the border far: 2 of them (low score 100 %).'
    )
    assert 'at_border' not in causes.counts((0, 0, 0), 0.3)


def test_a_scan_without_causes_keeps_its_bytes(files, explained, tmp_path):
    plain = scan(files, tmp_path / 'out')
    assert not (plain.folder / 'causes.npz').exists()
    first, second = ((each.folder / 'scan.npz').read_bytes() for each in (plain, explained))
    assert first == second
    assert 'causes' not in (plain.folder / 'scan.json').read_text()
    assert 'Causes at' not in plain.summary()
    assert (
        f'Causes at the {(explained.causes.causes > 0).sum()} blind places' in explained.summary()
    )


def test_a_saved_scan_has_its_causes_when_it_is_read(explained):
    again = ScanResult.load(explained.folder)
    for name, values in vars(explained.causes).items():
        np.testing.assert_array_equal(getattr(again.causes, name), values)
    assert again.plot_causes().legends


def test_a_killed_search_for_causes_goes_on_where_it_stopped(
    files, explained, tmp_path, monkeypatch
):
    run, calls = rerun._run, []

    def stopping(model, task, places):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(places)
        return run(model, task, places)

    monkeypatch.setattr(rerun, '_run', stopping)
    with pytest.raises(KeyboardInterrupt):
        scan(files, tmp_path / 'out', causes=True)
    monkeypatch.setattr(rerun, '_run', lambda *args: calls.append(args[2]) or run(*args))
    resumed = scan(files, tmp_path / 'out', causes=True, resume=True)
    wanted = rerun.blind_places(explained, explained.info.statistics)
    assert len(calls) == len(wanted)
    for file in ('scan.npz', 'causes.npz'):
        assert (resumed.folder / file).read_bytes() == (explained.folder / file).read_bytes()


@pytest.mark.parametrize('family', ['YOLOX', 'RetinaNet', 'Faster R-CNN'])
def test_the_detector_is_as_before_once_all_boxes_were_seen(family):
    model, scene = family_detector(family, 96)
    before = detect_images(model, scene, [scene.pixels])[0]
    with all_boxes(model):
        opened = detect_images(model, scene, [scene.pixels])[0]
    after = detect_images(model, scene, [scene.pixels])[0]
    assert len(opened) > len(before)
    for name in ('bboxes', 'scores', 'labels'):
        assert torch.equal(before[name], after[name])
    # Every final box is one of all boxes.
    apart = (before.bboxes[:, None] - opened.bboxes).abs().amax(-1)
    apart += (before.scores[:, None] - opened.scores).abs()
    assert apart.amin(1).max() < 1e-3


def test_a_function_that_is_scanned_gives_what_final_boxes_tell(files):
    def nothing(images):
        return [{'boxes': np.zeros((0, 4)), 'scores': [], 'labels': []} for _ in images]

    detector = CallableDetector(nothing, ['car', 'traffic light'])
    result = blindspot_scan(
        detector, files / 'photo.png', files / 'light.png', stride=20, causes=True
    )
    known = result.statistics(0, 0, 0)['causes']
    assert known == {'limit': 0.3, 'counts': {'unknown': result.info.positions}}
