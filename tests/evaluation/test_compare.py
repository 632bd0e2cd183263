"""Whole comparisons of the shipped checkpoints on a small drawn set."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import runpy
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mindpad_mm import zoo
from mindpad_mm.core.errors import UserError
from mindpad_mm.evaluation import evaluate
from mindpad_mm.evaluation.compare import compare
from mindpad_mm.evaluation.comparison import Comparison
from mindpad_mm.evaluation.entries import Group, Run
from mindpad_mm.report.comparison_page import comparison_tables, report_comparison
from mindpad_mm.settings.compare import CompareSettings

TOOL = Path(__file__).parents[2] / 'tools' / 'compare.py'
SCAN = {'sizes': [40], 'stride': 72}


@pytest.fixture(scope='module')
def comparison(zoo_runs, overrides, tmp_path_factory):
    out = tmp_path_factory.mktemp('comparison')
    entries = [zoo_runs['zeros'], zoo_runs['reflect']]
    settings = CompareSettings(draws=60, cfg_options=overrides)
    return compare(entries, out, settings, scan=SCAN)


def again(comparison, zoo_runs, overrides, entries=None, draws=60, scan=None):
    entries = entries or [zoo_runs['zeros'], zoo_runs['reflect']]
    settings = CompareSettings(draws=draws, cfg_options=overrides)
    return compare(entries, comparison.folder, settings, scan=scan)


def test_metrics_equal_those_of_mmdetections_own_test(comparison, zoo_runs, overrides, tmp_path):
    for mode, metric in (('zeros', 'CocoMetric'), ('reflect', 'SpatialCocoMetric')):
        run, found = zoo_runs[mode], comparison[mode].metrics
        options = {**overrides, 'test_evaluator.type': metric}
        tested = evaluate(run.config, run.checkpoint, tmp_path, options)
        assert found['mAP'].value > 0.1
        names = [name for name in found if f'coco/bbox_{name}' in tested]
        assert len(names) >= (3 if metric == 'CocoMetric' else 25)
        for name in names:
            value = -1 if found[name].value is None else found[name].value
            assert value == pytest.approx(tested[f'coco/bbox_{name}'], abs=1e-3)


def test_differences_are_those_of_the_values_and_inside_their_intervals(comparison):
    reflect, zeros = comparison['reflect'], comparison.reference
    assert zeros.differences == {}
    for name, difference in reflect.differences.items():
        if reflect.metrics[name].value is None:
            assert difference.value is None
            continue
        expected = reflect.metrics[name].value - zeros.metrics[name].value
        assert difference.value == pytest.approx(expected, abs=2e-6)
        if difference.interval is not None:
            assert difference.interval[0] <= difference.interval[1]
    low, high = reflect.differences['mAP'].interval
    assert low < reflect.differences['mAP'].value < high
    # Because of the pairing, it is narrower than the interval of a difference of independent values.
    alone = [np.diff(entry.metrics['mAP'].interval)[0] for entry in comparison.entries]
    assert high - low < np.hypot(*alone)


@pytest.mark.parametrize(('draws', 'has_interval'), [(39, False), (40, True)])
def test_few_draws_make_no_interval(comparison, zoo_runs, overrides, draws, has_interval):
    # The interval of a single draw would be one point, which excludes 0.
    found = again(comparison, zoo_runs, overrides, draws=draws)['reflect']
    assert (found.metrics['mAP'].interval is not None) == has_interval
    assert (found.differences['mAP'].interval is not None) == has_interval


def test_a_region_with_few_objects_gets_no_interval(comparison):
    objects = comparison.test_set.objects_by_region
    few = [zone for zone in ('zone0', 'zone4') if objects[zone] < 10]
    assert few
    for zone in few:
        assert comparison['reflect'].metrics[f'{zone}_mAP'].interval is None
        assert comparison['reflect'].differences[f'{zone}_mAP'].interval is None


def test_everything_is_cached_and_nothing_computed_twice(
    comparison, zoo_runs, overrides, monkeypatch
):
    times = {p: p.stat().st_mtime_ns for p in (comparison.folder / 'cache').rglob('*.*')}
    monkeypatch.setattr('mindpad_mm.evaluation.evaluator.detect', None)
    monkeypatch.setattr('mindpad_mm.evaluation.evaluator.SpatialEval', None)
    repeated = again(comparison, zoo_runs, overrides, scan=SCAN)
    assert repeated.entries == comparison.entries
    assert {p: p.stat().st_mtime_ns for p in times} == times


def test_killed_resampling_continues_to_the_same_differences(
    comparison, zoo_runs, overrides, tmp_path
):
    copy = dataclasses.replace(comparison, folder=tmp_path / 'copy')
    shutil.copytree(comparison.folder, copy.folder)
    for block in (copy.folder / 'cache').glob('*.draws-0/00001.npy'):
        block.unlink()
    found = again(copy, zoo_runs, overrides)
    assert [e.differences for e in found.entries] == [e.differences for e in comparison.entries]


def test_a_run_with_other_options_is_evaluated_anew(comparison, zoo_runs, overrides, tmp_path):
    circular = dataclasses.replace(
        zoo_runs['zeros'], name='circular', cfg_options={'model.padding_cfg.mode': 'circular'}
    )
    entries = [zoo_runs['zeros'], circular]
    found = again(comparison, zoo_runs, overrides, entries)
    assert found['zeros'].metrics == comparison['zeros'].metrics
    assert found['zeros'].runs[0].detections != found['circular'].runs[0].detections
    files = [json.loads(Path(e.runs[0].detections).read_text()) for e in found.entries]
    assert files[0] != files[1]


def test_the_difference_of_a_run_to_itself_is_0(comparison, zoo_runs, overrides):
    twin = dataclasses.replace(zoo_runs['zeros'], name='twin')
    found = again(comparison, zoo_runs, overrides, [zoo_runs['zeros'], twin], scan=SCAN)
    for metric in found['twin'].differences.values():
        assert metric.value in (0, None)
        assert metric.interval in ((0, 0), None)
    assert {metric.value for metric in found['twin'].scan_differences.values()} == {0}


def test_group_is_the_mean_and_deviation_of_its_runs(comparison, zoo_runs, overrides):
    group = Group('both', [zoo_runs['zeros'], zoo_runs['reflect']])
    found = again(comparison, zoo_runs, overrides, [zoo_runs['zeros'], group], scan=SCAN)
    values = [comparison[mode].metrics['mAP'].value for mode in ('zeros', 'reflect')]
    both = found['both'].metrics['mAP']
    assert both.value == pytest.approx(np.mean(values), abs=2e-6)
    assert both.sd == pytest.approx(np.std(values, ddof=1), abs=2e-6)
    assert len(found['both'].runs) == 2
    scans = [comparison[mode].scan_metrics['mean'].value for mode in ('zeros', 'reflect')]
    assert found['both'].scan_metrics['mean'].value == pytest.approx(np.mean(scans), abs=2e-6)
    assert ' ± ' in str(comparison_tables(found)[0])


def test_recalibrated_run_is_kept_as_a_checkpoint(comparison, zoo_runs, overrides):
    run = dataclasses.replace(zoo_runs['zeros'], name='anew', recalibrate=8)
    found = again(comparison, zoo_runs, overrides, [zoo_runs['zeros'], run])
    assert found['anew'].metrics['mAP'] != found['zeros'].metrics['mAP']
    assert len(list((comparison.folder / 'cache').glob('*.pth'))) == 1


def test_recalibration_follows_the_training_images(zoo_runs, overrides, lights, tmp_path):
    folder = tmp_path / 'set'
    shutil.copytree(lights, folder)
    options = {**overrides, 'train_dataloader.dataset.data_root': f'{folder}/'}
    run = dataclasses.replace(zoo_runs['zeros'], recalibrate=8)

    def mean_ap():
        found = compare([run], tmp_path / 'out', CompareSettings(draws=1, cfg_options=options))
        return found.reference.metrics['mAP'].value

    before = mean_ap()
    for file in (folder / 'train').iterdir():
        cv2.imwrite(str(file), 255 - cv2.imread(str(file)))
    assert mean_ap() != before


def test_scan_follows_the_photo_it_is_done_on(zoo_runs, overrides, tmp_path):
    photo = tmp_path / 'photo.png'
    scan = {**SCAN, 'scene': [str(photo)]}
    settings = CompareSettings(cfg_options=overrides, draws=1)
    found = []
    for seed in (0, 1):
        pixels = np.random.default_rng(seed).integers(0, 90, (256, 256, 3), dtype=np.uint8)
        cv2.imwrite(str(photo), pixels)
        comparison = compare([zoo_runs['zeros']], tmp_path / 'out', settings, scan=scan)
        found.append(comparison.reference.runs[0].scan)
    assert found[0] != found[1]


def test_names_in_the_terminal_are_never_read_as_markup(
    zoo_runs, overrides, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr('mindpad_mm.core.progress.SECONDS_BETWEEN_LINES', 0)
    run = dataclasses.replace(zoo_runs['zeros'], name='a [/b]')
    compare([run], tmp_path, CompareSettings(draws=1, cfg_options=overrides), scan=SCAN)
    told = capsys.readouterr().err
    assert told.count('a [/b]') >= 3  # detecting, resampling, scan


def test_files_say_what_was_found(comparison, capsys):
    comparison.save()  # others compared in its folder
    report_comparison(comparison)
    assert Comparison.load(comparison.folder) == comparison
    content = json.loads((comparison.folder / 'comparison.json').read_text())
    assert content['reference'] == 'zeros'
    assert content['test_set']['images'] == 12
    assert content['test_set']['objects'] == content['test_set']['objects_by_region']['all']
    zones = [content['test_set']['objects_by_region'][f'zone{i}'] for i in range(5)]
    assert sum(zones) == content['test_set']['objects']
    annotations = json.loads(Path(content['test_set']['ann_file']).read_text())['annotations']
    sizes = [np.sqrt(np.prod(each['bbox'][2:])) for each in annotations]
    assert content['test_set']['sizes_by_region']['all'] == pytest.approx(
        np.median(sizes), abs=0.01
    )
    with open(comparison.folder / 'comparison.csv', newline='') as stream:
        table = {tuple(row[:4]): row[4:] for row in csv.reader(stream)}
    assert table['entry', 'of', 'kind', 'metric'] == ['value', 'sd', 'low', 'high']
    for one in content['entries']:
        for key, of, kind in (
            ('figures', 'test set', 'value'),
            ('differences', 'test set', 'difference'),
            ('scan_figures', 'scan', 'value'),
            ('scan_differences', 'scan', 'difference'),
        ):
            for name, metric in one[key].items():
                known = metric['value'], metric['sd'], *(metric['interval'] or (None, None))
                cells = table.pop((one['name'], of, kind, name))
                assert cells == ['' if each is None else str(each) for each in known]
    assert len(table) == 1  # the headings
    entry = content['entries'][1]
    assert entry['figures']['mAP']['value'] == comparison['reflect'].metrics['mAP'].value
    assert entry['scan_figures']['blind_fraction']['value'] is not None
    markdown = (comparison.folder / 'comparison.md').read_text()
    page = (comparison.folder / 'report.html').read_text()
    printed = capsys.readouterr().out
    value = f'{comparison["zeros"].metrics["mAP_20"].value:.3f}'
    for text in (markdown, page):
        assert value in text
        assert 'blind' in text
    sentence = f'{entry["name"]} against zeros on '
    assert all(sentence in text for text in (markdown, page, printed))
    assert 'src="data:image/svg+xml;base64,' in page
    assert not re.search(r'(?:src|href)="http', page)
    assert (comparison.folder / 'scans.html').is_file()


BAD_RUNS = {
    'missing config': (
        lambda run: dataclasses.replace(run, config='no.py'),
        'no.py does not exist',
    ),
    'missing weights': (
        lambda run: dataclasses.replace(run, checkpoint='no.pth'),
        'no.pth does not exist',
    ),
    'another set': (
        lambda run: dataclasses.replace(
            run, cfg_options={'test_dataloader.dataset.ann_file': 'annotations/train.json'}
        ),
        'different test sets',
    ),
    'no such set': (
        lambda run: dataclasses.replace(
            run, cfg_options={'test_dataloader.dataset.ann_file': 'gone.json'}
        ),
        'gone.json',
    ),
    'no such photos': (
        lambda run: dataclasses.replace(
            run, cfg_options={'test_dataloader.dataset.data_prefix.img': 'gone/'}
        ),
        'gone/.* does not exist',
    ),
    'the same name': (lambda run: dataclasses.replace(run, name='zeros'), 'own name'),
    'too many to recalibrate on': (
        lambda run: dataclasses.replace(run, recalibrate=9999),
        'at most the',
    ),
    'weights of another model': (
        lambda run: dataclasses.replace(run, checkpoint=zoo.model_files('zeros', 'ssd128')[1]),
        'does not fit the detector in the config',
    ),
}


@pytest.mark.parametrize('case', BAD_RUNS)
def test_bad_run_gets_one_clear_line_before_anything_is_detected(
    zoo_runs, overrides, case, tmp_path, monkeypatch
):
    monkeypatch.setattr('mindpad_mm.evaluation.evaluator.detect', None)
    change, message = BAD_RUNS[case]
    entries = [zoo_runs['zeros'], change(dataclasses.replace(zoo_runs['zeros'], name='bad'))]
    with pytest.raises(UserError, match=message):
        compare(entries, tmp_path, CompareSettings(cfg_options=overrides))


@pytest.mark.parametrize(
    ('options', 'message'),
    [({'draws': 0}, 'draws.* 0'), ({'seed': -1}, 'seed.* -1'), ({}, 'nothing')],
)
def test_bad_numbers_are_refused(options, message, zoo_runs, tmp_path):
    entries = [zoo_runs['zeros']] if options else []
    with pytest.raises(UserError, match=message):
        compare(entries, tmp_path, CompareSettings(**options))


@pytest.fixture
def tool(monkeypatch):
    def call(*arguments):
        monkeypatch.setattr(sys, 'argv', ['compare.py', *map(str, arguments)])
        runpy.run_path(str(TOOL), run_name='__main__')

    return call


def test_tool_compares_one_checkpoint_under_several_modes(
    tool, comparison, zoo_runs, overrides, capsys
):
    run = zoo_runs['zeros']
    options = [f'{key}={value}' for key, value in overrides.items()]
    tool(
        f'{run.config}:{run.checkpoint}', '--name', 'zeros', '--modes', 'zeros', 'circular', 'zeros',
        '--draws', '20', '--out', comparison.folder, '--cfg-options', *options,
    )  # fmt: skip
    printed = capsys.readouterr().out
    assert 'zeros → circular' in printed
    content = json.loads((comparison.folder / 'comparison.json').read_text())
    names = [entry['name'] for entry in content['entries']]
    assert names == ['zeros', 'zeros → zeros', 'zeros → circular']
    assert content['entries'][1]['differences']['mAP']['value'] == 0


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['x'], 'neither'),
        (['a.py:b.pth', '--name', 'a', 'b'], '2 names to 1'),
        (['a.py:b.pth', '--recalibrate', '5'], 'modes'),
        (['a.py:b.pth', '--cfg-options', 'model.neck'], "'model.neck' is not KEY=VALUE"),
        (['a.py:b.pth', '--cfg-options', 'a=(1,2', 'b=2'], "'a=(1,2 b=2' is not KEY=VALUE"),
        (['a.py:b.pth', '--size', '5'], '--scan'),
        (['--group', 'g'], 'no runs'),
        ([], 'nothing to compare'),
    ],
)
def test_tool_prints_one_line_for_a_mistake_and_exits_with_2(tool, arguments, message, capsys):
    with pytest.raises(SystemExit) as end:
        tool(*arguments)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith('error: ')
    assert message in line


def test_help_shows_examples(tool, capsys):
    with pytest.raises(SystemExit) as end:
        tool('--help')
    assert not end.value.code
    text = capsys.readouterr().out
    for word in ('--modes all', '--group', '--recalibrate', 'outputs/'):
        assert word in text


def test_work_dir_of_a_training_is_a_run(comparison, zoo_runs, overrides, tmp_path):
    from mindpad_mm.core.loading import load_config

    folder = tmp_path / 'trained'
    folder.mkdir()
    load_config(zoo_runs['zeros'].config).dump(folder / 'config.py')
    shutil.copy(zoo_runs['zeros'].checkpoint, folder / 'epoch_10.pth')
    (folder / 'last_checkpoint').write_text('epoch_10.pth')
    found = again(comparison, zoo_runs, overrides, [Run.parse(str(folder))])
    assert found['trained'].metrics == comparison['zeros'].metrics
