"""The whole measurement: against plain MMDetection, killed and resumed, kept and read again."""

from __future__ import annotations

import csv
import json

import cv2
import numpy as np
import pytest
from mmdet.apis import inference_detector, init_detector

import mindpad_mm.border.budget
import mindpad_mm.border.run
from mindpad_mm import CallableDetector, border_loss
from mindpad_mm.border import BorderResult
from mindpad_mm.border.measure import Scorer, cut_into_chunks
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.matching import paired_iou
from tests.border.annotations import annotations
from tests.border.toys import HeatDetector, convolutions, noise_photo

FAST = dict(minutes=0, found_thr=0.02, draws=100, far=16, distances=(0, 8), max_objects=2)


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp('photos')
    for number in range(6):
        cv2.imwrite(str(folder / f'{number}.png'), noise_photo(150, 160, number))
    return folder


@pytest.fixture(scope='module')
def result(files, photos, tmp_path_factory):
    out = tmp_path_factory.mktemp('border')
    return border_loss(
        (files / 'config.py', files / 'weights.pth'), photos, out=out, padding='circular', **FAST
    )


def plain_score(model, result, number, view):
    """The score of a probe's object by MMDetection's own function on the window."""
    probe = result.probes[number]
    obj = result.info.objects[probe.obj]
    found = inference_detector(model, result.window_pixels(number, view)).pred_instances
    boxes = found.bboxes.numpy() + (probe.corner(view)[1], probe.corner(view)[0]) * 2
    x1, y1, x2, y2 = probe.line(result.photos[probe.photo].window)
    boxes = np.maximum(np.minimum(boxes, [x2, y2, x2, y2]), [x1, y1, x1, y1])
    fits = paired_iou(boxes, np.array(obj['box'])) >= 0.5
    fits &= found.labels.numpy() == obj['label']
    return found.scores.numpy()[fits].max(initial=0)


@pytest.mark.parametrize(('variant', 'options'), [(0, {}), (1, {'model.padding_cfg': 'circular'})])
def test_scores_are_those_of_plain_mmdetection_on_the_same_window(result, files, variant, options):
    """As trained, and swapped by a config."""
    model = init_detector(
        str(files / 'config.py'),
        str(files / 'weights.pth'),
        device='cpu',
        cfg_options={'model.test_cfg.score_thr': 0.001, **options},
    )
    found = 0
    for number in range(0, len(result.probes), 7):
        for index, view in enumerate(result.info.views):
            expected = plain_score(model, result, number, view)
            assert result.values[variant, number, index, 0] == pytest.approx(expected, abs=2e-4)
            found += expected > 0
    assert found > 10


def test_the_table_is_enough_to_compute_everything_again(result):
    folder = result.folder
    with open(folder / 'border.csv', newline='', encoding='utf-8') as stream:
        rows = [row for row in csv.DictReader(stream) if int(row['distance']) <= 16]
    scores = {}
    for row in rows:
        key = (row['variant'], row['object'], row['side'], row['distance'])
        scores.setdefault(key, {})[row['view']] = float(row['score'])
    statistics = json.loads((folder / 'border.json').read_text())['statistics']
    for name in ('as trained', 'circular'):
        mine = [each for key, each in scores.items() if key[0] == name]
        near = statistics[name]['by_side']['all']['near']
        assert near['border_loss']['n'] == len(mine)
        for measure, views in (
            ('border_loss', ('open', 'cut')),
            ('context_loss', ('open', 'control')),
            ('padding_loss', ('control', 'cut')),
        ):
            mean = np.mean([each[views[0]] - each[views[1]] for each in mine])
            assert near[measure]['mean'] == pytest.approx(mean, abs=1e-5)


def test_a_result_read_again_is_the_same(result):
    again = BorderResult.load(result.folder)
    np.testing.assert_allclose(again.values, result.values, atol=1e-6)
    assert again.verdict == result.verdict
    assert again.probes == result.probes
    assert again.info == result.info
    with pytest.raises(UserError, match='right after'):
        again.window_pixels(0, 'cut')  # its photos were not loaded


def test_a_killed_measurement_resumes_to_the_same_bytes(
    files, photos, result, tmp_path, monkeypatch
):
    detector = (files / 'config.py', files / 'weights.pth')
    scored = []
    score = Scorer.score

    def dies(self, probes):
        if len(scored) == 5:
            raise KeyboardInterrupt
        scored.append(probes)
        return score(self, probes)

    monkeypatch.setattr(Scorer, 'score', dies)
    options = dict(FAST, out=tmp_path, padding='circular')
    with pytest.raises(KeyboardInterrupt):
        border_loss(detector, photos, **options)
    with pytest.raises(UserError, match='not empty'):
        border_loss(detector, photos, **options)
    with pytest.raises(UserError, match='differs in settings'):
        border_loss(detector, photos, resume=True, **{**options, 'iou_thr': 0.6})
    scored.clear()
    monkeypatch.setattr(
        Scorer, 'score', lambda self, probes: scored.append(probes) or score(self, probes)
    )
    border_loss(detector, photos, resume=True, **options)
    chunks = cut_into_chunks([0, 1], result.probes)
    assert len(scored) == len(chunks) - 5
    assert (tmp_path / 'border.csv').read_bytes() == (result.folder / 'border.csv').read_bytes()
    assert not (tmp_path / '.progress').exists()
    scored.clear()
    finished = border_loss(detector, photos, resume=True, **options)
    assert not scored
    assert finished.verdict == result.verdict
    assert np.array_equal(finished.window_pixels(0, 'cut'), result.window_pixels(0, 'cut'))


def test_minutes_limit_the_work_and_the_first_probes_are_spread_over_photos(
    files, photos, monkeypatch
):
    monkeypatch.setattr(mindpad_mm.border.budget, 'seconds_per_probe', lambda *_: 2.0)
    detector = (files / 'config.py', files / 'weights.pth')
    result = border_loss(detector, photos, **{**FAST, 'minutes': 1})
    assert 15 < len(result.probes) < result.info.possible_probes
    counts = np.bincount([probe.photo for probe in result.probes])
    searched = result.info.photos_searched
    assert searched < 6  # in four photos there is enough
    assert counts.max() - counts.min() <= 1
    assert f'of {result.info.possible_probes} possible cuts' in result.summary()


def test_annotated_objects_are_matched_by_class_name_and_scaled(files, photos, tmp_path):
    content = annotations(sorted(path.name for path in photos.iterdir()))
    (tmp_path / 'ann.json').write_text(json.dumps(content))
    detector = (files / 'config.py', files / 'weights.pth')
    result = border_loss(detector, photos, ann=tmp_path / 'ann.json', **{**FAST, 'zoom': 1.5})
    assert {result.info.classes[each['label']] for each in result.info.objects} == {'traffic light'}
    assert all(each['box'] == [90, 90, 120, 126] for each in result.info.objects)
    with pytest.raises(UserError, match='give `object` or `ann`'):
        border_loss(detector, photos, ann=tmp_path / 'ann.json', object=files / 'light.png', **FAST)


def test_photos_of_one_name_are_told_apart_by_their_folders(files, tmp_path):
    for number, folder in enumerate(('a', 'b')):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / 'x.png'), noise_photo(150, 160, number))
    entries = [
        dict(id=n, file_name=f'{f}/x.png', height=150, width=160) for n, f in ((1, 'a'), (2, 'b'))
    ]
    content = {
        'images': entries,
        'categories': [dict(id=3, name='car')],
        'annotations': [
            dict(id=5, image_id=1, category_id=3, bbox=[60, 60, 20, 20], area=400, iscrowd=0),
            dict(id=6, image_id=2, category_id=3, bbox=[50, 66, 24, 20], area=480, iscrowd=0),
        ],
    }
    (tmp_path / 'ann.json').write_text(json.dumps(content))
    detector = (files / 'config.py', files / 'weights.pth')
    folders = [tmp_path / 'a', tmp_path / 'b']
    result = border_loss(detector, folders, ann=tmp_path / 'ann.json', **{**FAST, 'zoom': 1})
    found = {result.info.photos[o['photo']]['source'][-7]: o['box'] for o in result.info.objects}
    assert found == {'a': [60, 60, 80, 80], 'b': [50, 66, 74, 86]}


def test_a_checkpoint_that_takes_other_windows_is_refused(files, photos, tmp_path):
    text = (files / 'config.py').read_text().replace('input_size = 96', 'input_size = 128')
    (tmp_path / 'larger.py').write_text(text)
    detector = (files / 'config.py', files / 'weights.pth')
    larger = (tmp_path / 'larger.py', files / 'weights.pth')
    with pytest.raises(UserError, match='larger does not take the windows of the first'):
        border_loss(detector, photos, checkpoints={'larger': larger}, **FAST)


def test_arrays_generators_and_numpy_settings_are_taken(files):
    detector = (files / 'config.py', files / 'weights.pth')
    light = cv2.imread(str(files / 'light.png'), cv2.IMREAD_UNCHANGED)
    result = border_loss(
        detector,
        (noise_photo(150, 160, number) for number in range(3)),
        object=light,
        label='traffic light',
        sizes=[24],
        **{**FAST, 'distances': np.arange(0, 9, 8)},
    )
    assert result.info.settings['distances'] == [0, 8]
    assert {each['source'] for each in result.info.objects} == {'array'}
    with pytest.raises(UserError, match='`photos` is empty'):
        border_loss(detector, [], **FAST)


def test_a_name_that_is_taken_does_not_keep_a_swap_from_being_tried(files, photos, monkeypatch):
    monkeypatch.setattr(mindpad_mm.border.run, 'blame_of', lambda _: True)
    detector = (files / 'config.py', files / 'weights.pth')
    options = {**FAST, 'distances': 0, 'sides': 'top', 'max_objects': 1}
    result = border_loss(detector, photos, checkpoints={'reflect': detector}, **options)
    kinds = {each.name: each.kind for each in result.info.variants}
    assert kinds['reflect'] == 'checkpoint'
    assert kinds['reflect (swapped)'] == kinds['circular'] == 'swapped'


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(zoom=0.5), r'too small .* needs 112 x 112 after scaling'),
        (dict(labels='tram'), "`labels`: the detector has no class 'tram'"),
        (dict(window=(50, 60)), r'`window`: .* 50 x 60'),
        (dict(padding='mirror'), 'mirror'),
        (dict(sides='north'), '`sides`'),
        (dict(distances=-1), '`distances`'),
        (dict(fill='grey'), '`fill`'),
        (dict(minutes=-1), '`minutes`'),
        (dict(paddings='reflect'), "did you mean 'padding'"),
    ],
)
def test_what_a_user_can_mend_is_one_line(files, photos, options, message):
    with pytest.raises(UserError, match=message):
        border_loss((files / 'config.py', files / 'weights.pth'), photos, **{**FAST, **options})


def test_a_function_has_no_layers_to_swap():
    detector = HeatDetector(convolutions('zeros')).wrapped()
    with pytest.raises(UserError, match='no layers to swap'):
        border_loss(detector, [noise_photo(240, 240)], window=(160, 160), padding='reflect', **FAST)


def test_a_placebo_on_the_model_as_it_is_differs_by_nothing_but_rounding_where_nothing_is_cut(
    files,
):
    """Other checkpoints are paired with the first: the same one differs by nothing."""
    detector = (files / 'config.py', files / 'weights.pth')
    photos = [noise_photo(150, 160, number) for number in range(5)]
    result = border_loss(detector, photos, checkpoints={'twin': detector}, **FAST)
    twin = result.statistics['twin']['differences']['near']
    del twin['first_padding_loss']  # no difference
    assert all(abs(each['mean'] or 0) < 1e-6 for each in twin.values())
    np.testing.assert_array_equal(*result.values)


def test_if_padding_is_to_blame_every_swap_is_tried_on_as_many_probes_as_the_time_allows(
    files, photos, monkeypatch
):
    asked = []

    def seconds(_, variants):
        asked.append([variant.name for variant in variants])
        return 0.1 if len(asked) == 1 else 6.0

    monkeypatch.setattr(mindpad_mm.border.budget, 'seconds_per_probe', seconds)
    monkeypatch.setattr(mindpad_mm.border.run, 'blame_of', lambda _: True)
    detector = (files / 'config.py', files / 'weights.pth')
    result = border_loss(detector, photos, **{**FAST, 'minutes': 1, 'padding': 'reflect'})
    others = ['symmetric', 'replicate', 'circular', 'partial']
    assert sorted(asked[-1]) == sorted(others)
    names = [each.name for each in result.info.variants]
    assert names[:2] == ['as trained', 'reflect']
    assert sorted(names[2:]) == sorted(others)
    assert all('padding is to blame' in each.note for each in result.info.variants[2:])
    scored = np.isfinite(result.values[:, :, 0, 0]).sum(1)
    assert scored.tolist() == [len(result.probes)] * 2 + [10] * 4
    for name in others:
        change = result.statistics[name]['differences']['near']['cut']
        first = {name: index for index, name in enumerate(names)}[name]
        gains = result.values[first, :10, 0, 0] - result.values[0, :10, 0, 0]
        assert change['n'] == 10
        assert change['mean'] == pytest.approx(gains.mean(), abs=1e-5)


def test_a_detector_that_finds_nothing_is_one_line():
    blind = CallableDetector(
        lambda images: [dict(boxes=[], scores=[], labels=[]) for _ in images], ['thing']
    )
    with pytest.raises(UserError, match='no object was found in 2 photos'):
        border_loss(blind, [noise_photo(200, 200)] * 2, window=(96, 96), **FAST)


def test_the_batch_size_changes_no_score_and_the_width_of_a_padded_input_does(files, photos):
    detector = (files / 'config.py', files / 'weights.pth')
    options = {**FAST, 'distances': 0, 'sides': 'left', 'input_padding': 'constant'}
    one, five, wide = (
        border_loss(detector, photos, **options, **extra)
        for extra in (dict(batch_size=1), dict(batch_size=5), dict(input_padding_px=8))
    )
    np.testing.assert_allclose(one.values[..., 0], five.values[..., 0], atol=1e-4)
    assert [each.name for each in wide.info.variants] == ['as trained', 'input constant 8 px']
    np.testing.assert_allclose(one.values[0], wide.values[0], atol=1e-3)
    assert np.abs(one.values[1, ..., 0] - wide.values[1, ..., 0]).max() > 1e-3
