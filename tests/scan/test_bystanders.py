"""Other boxes while an object slides, against MMDetection's plain inference on the pasted image."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from mmdet.apis import inference_detector
from torchvision.ops import box_iou

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import load_detector
from mindpad_mm.core.scenes import paste
from mindpad_mm.scan import ScanResult, blindspot_scan, driver
from mindpad_mm.scan.bystanders import FAR_AWAY, STATES, Bystanders, watch
from tests.scan import small_scans
from tests.scan.small_scans import boxes

OPTIONS = {'sizes': [16, 24], 'stride': 9}


def scan(files, out, **options):
    return small_scans.scan(files, out, **OPTIONS | options)


@pytest.fixture(scope='module')
def watched(files, tmp_path_factory):
    return scan(files, tmp_path_factory.mktemp('bystanders') / 'out', bystanders=True)


NEAR, MOVED, FAR, UNDER = (
    (50, 10, 70, 30),
    (53, 10, 73, 30),
    (300, 10, 340, 50),
    (20, 20, 60, 60),
)


@pytest.mark.parametrize(
    ('clean', 'found', 'states', 'appeared'),
    [
        ([(*NEAR, 0.9, 0)], [(*NEAR, 0.3, 0)], ['kept'], (0, 0)),
        ([(*NEAR, 0.9, 0)], [(*MOVED, 0.8, 0)], ['kept'], (0, 0)),
        ([(*NEAR, 0.9, 0)], [(*NEAR, 0.2, 0)], ['vanished'], (0, 0)),
        ([(*NEAR, 0.9, 0)], [], ['vanished'], (0, 0)),
        ([(*NEAR, 0.9, 0)], [(*MOVED, 0.8, 1)], ['changed'], (0, 0)),
        ([(*NEAR, 0.9, 0)], [(*FAR, 0.8, 0)], ['vanished'], (1, 1)),
        ([], [(*NEAR, 0.8, 0)], [], (1, 0)),
        ([], [(*NEAR, 0.2, 0)], [], (0, 0)),
        # What overlaps the object may well change.
        ([(*UNDER, 0.9, 0)], [], ['touched'], (0, 0)),
        ([], [(*UNDER, 0.9, 0)], [], (0, 0)),
        # A box that vanishes beside one that stays has not changed its class.
        (
            [(*NEAR, 0.9, 0), (*NEAR, 0.4, 1)],
            [(*NEAR, 0.9, 0)],
            ['kept', 'vanished'],
            (0, 0),
        ),
        ([(*NEAR, 0.9, 0)], [(*NEAR, 0.9, 0), (*NEAR, 0.4, 1)], ['kept'], (1, 0)),
        ([(*NEAR, 0.2, 0)], [], [], (0, 0)),
    ],
)
def test_each_box_is_in_the_state_that_the_definition_says(clean, found, states, appeared):
    target = np.array([[10.0, 10, 40, 40]])
    (row,) = watch([boxes(*found)], boxes(*clean), target)
    assert [STATES[int(each)] for each in row[:-2]] == states
    assert tuple(row[-2:]) == appeared


def states_of(found, clean, target):
    """States of all clean boxes and the number that appeared, with torchvision's IoU, box by box."""
    clean, found = (each[each.scores >= 0.3] for each in (clean, found))
    overlap = box_iou(clean.bboxes, found.bboxes)
    left, top, right, bottom = target

    def touches(box):
        return box[0] < right and box[2] > left and box[1] < bottom and box[3] > top

    def follows(old, new):
        return overlap[old, new] >= 0.5 and clean.labels[old] == found.labels[new]

    olds, news = range(len(clean)), range(len(found))
    fresh = [new for new in news if not any(follows(old, new) for old in olds)]
    states, replaced = [], set()
    for old in olds:
        kept = any(follows(old, new) for new in news)
        instead = [] if kept else [new for new in fresh if overlap[old, new] >= 0.5]
        replaced.update(instead)
        state = 'kept' if kept else 'changed' if instead else 'vanished'
        states.append('touched' if touches(clean.bboxes[old]) else state)
    away = [new for new in fresh if new not in replaced and not touches(found.bboxes[new])]
    return states, len(away)


def test_states_are_those_of_mmdetections_plain_inference(files, watched):
    info, seen = watched.info, set()
    model = load_detector(
        str(files / 'config.py'), str(files / 'weights.pth'), cfg_options=info.cfg_options
    )
    assert info.engine == 'incremental'
    scene = cv2.imread(str(watched.folder / 'scene_0.png'))
    clean = inference_detector(model, scene).pred_instances
    count = int((clean.scores >= 0.3).sum())
    places = np.argwhere(~np.isnan(watched.scores))
    for at in np.random.default_rng(0).permutation(places)[:12]:
        _, obj, size, r, c = at
        row, col = watched.rows[r], watched.cols[c]
        height, width = info.objects[obj].boxes[size]
        found = inference_detector(model, paste(scene, watched.object_pixels(obj, size), row, col))
        wanted = states_of(found.pred_instances, clean, (col, row, col + width, row + height))
        states = [STATES[each] for each in watched.bystanders.states[tuple(at)][:count]]
        assert states == wanted[0]
        assert watched.bystanders.appeared[tuple(at)][0] == wanted[1]
        seen.update(states)
    assert {'touched', 'kept', 'vanished'} <= seen


def test_counts_in_the_statistics_are_those_of_the_arrays(watched):
    for index in watched.indices():
        known = watched.statistics(*index)['bystanders']
        states, appeared = watched.bystanders.states[index], watched.bystanders.appeared[index]
        for name in ('changed', 'vanished'):
            assert known[name] == (states == STATES.index(name)).sum()
        assert known['appeared'] == appeared[..., 0].sum()
        assert (
            known['watched_near'] + known['watched_far'] == (states >= STATES.index('kept')).sum()
        )
        assert known['watched_far'] == 0 < FAR_AWAY  # the scene has 96 px
        lost = known['changed'] + known['vanished']
        assert known['lost_near'] == pytest.approx(lost / known['watched_near'], abs=1e-6)
        places = (watched.bystanders.events(index) > 0).sum()
        assert known['any_fraction'] == pytest.approx(places / known['positions'], abs=1e-6)
    assert 'the baseline: any pasted object changes something' in watched.summary()


def test_what_is_far_from_the_object_is_the_baseline():
    clean = boxes((*NEAR, 0.9, 0), (*FAR, 0.9, 0))
    found = boxes((*FAR, 0.9, 0))
    targets = np.array([[10.0, 10, 40, 40]])
    row = watch([found], clean, targets)
    states = row[None, None, None, :, None, :2].astype(np.uint8)
    everything = Bystanders(
        states,
        np.zeros((1, 1, 1, 1, 1, 2), np.uint16),
        clean.bboxes.numpy()[None],
        clean.scores.numpy()[None],
        clean.labels.numpy()[None],
    )
    known = everything.statistics((0, 0, 0), np.ones((1, 1), bool), targets[None], ['car', 'bus'])
    assert known['classes'] == ['car', 'car']
    assert (known['lost_near'], known['lost_far']) == (1, 0)
    assert (known['watched_near'], known['watched_far']) == (1, 1)


def test_scores_are_the_same_with_and_without_bystanders(files, watched, tmp_path):
    plain = scan(files, tmp_path / 'out')
    names = {path.name for path in watched.folder.iterdir()}
    assert names - {path.name for path in plain.folder.iterdir()} == {'bystanders.npz'}
    first, second = ((each.folder / 'scan.npz').read_bytes() for each in (plain, watched))
    assert first == second
    assert 'bystanders' not in (plain.folder / 'scan.json').read_text()


def test_both_exact_engines_see_the_same_bystanders(files, watched):
    full = scan(files, None, bystanders=True, engine='full')
    for name, values in vars(full.bystanders).items():
        np.testing.assert_allclose(
            getattr(watched.bystanders, name), values, rtol=0, atol=1e-2, err_msg=name
        )


def test_the_focused_engine_is_refused(files):
    with pytest.raises(UserError, match=r"`bystanders` needs all .*`engine='auto'`"):
        scan(files, None, bystanders=True, engine='focused')


def test_a_saved_scan_has_its_bystanders_when_it_is_read(watched):
    again = ScanResult.load(watched.folder)
    for name, values in vars(watched.bystanders).items():
        np.testing.assert_array_equal(getattr(again.bystanders, name), values)
    assert again.plot_bystanders().axes


def test_a_killed_scan_keeps_its_bystanders(files, watched, tmp_path, monkeypatch):
    detect, calls = driver.watch, []

    def stopping(*args):
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(args)
        return detect(*args)

    monkeypatch.setattr(driver, 'watch', stopping)
    with pytest.raises(KeyboardInterrupt):
        scan(files, tmp_path / 'out', bystanders=True)
    monkeypatch.setattr(driver, 'watch', lambda *args: calls.append(args) or detect(*args))
    resumed = scan(files, tmp_path / 'out', bystanders=True, resume=True)
    assert sum(len(each[2]) for each in calls) == resumed.info.positions
    for file in ('scan.npz', 'bystanders.npz'):
        assert (resumed.folder / file).read_bytes() == (watched.folder / file).read_bytes()


def test_a_scan_is_not_resumed_with_other_bystanders(files, tmp_path, watched):
    with pytest.raises(UserError, match='differs in causes'):
        blindspot_scan(
            (files / 'config.py', files / 'weights.pth'), files / 'photo.png', files / 'light.png',
            out=watched.folder, resume=True, bystanders=True, causes=True, **OPTIONS,
        )  # fmt: skip
