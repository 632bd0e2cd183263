"""``tools/border_loss.py``: its files, its page, several processes, and a real detector."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mindpad_mm import border_loss
from mindpad_mm.border import BorderResult
from mindpad_mm.cli.border import main
from tests.border.toys import noise_photo
from tests.nodes import run_on_two_nodes

ROOT = Path(__file__).parents[2]
MODELS = ROOT.parent / 'shared' / 'models'
PHOTOS = ROOT.parent / 'shared' / 'data' / 'coco96'
MEASURES = {'open', 'border_loss', 'context_loss', 'padding_loss', 'lost_objects'}
ENVIRONMENT = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
OPTIONS = ['--minutes', '0', '--found-thr', '0.02', '--far', '16', '--max-objects', '2']
OPTIONS += ['--distances', '0', '8', '--draws', '100']


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp('photos')
    for number in range(6):
        cv2.imwrite(str(folder / f'{number}<b>.png'), noise_photo(150, 160, number))
    return folder


def arguments_of(files, photos, out, *options):
    paths = [ROOT / 'tools' / 'border_loss.py', files / 'config.py', files / 'weights.pth']
    return [*map(str, paths), '--photos', str(photos), '--out', str(out), *OPTIONS, *options]


def run(start, *arguments):
    return subprocess.run(
        [*start, *arguments_of(*arguments)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )


def every_variant(files):
    checkpoint = f'other={files / "weights.pth"}'
    return [
        '--padding', 'reflect', '--input-padding', 'constant', '--checkpoint', checkpoint,
        '--fill', 'auto', '7', '--placebo',
    ]  # fmt: skip


@pytest.fixture(scope='module')
def alone(files, photos, tmp_path_factory):
    out = tmp_path_factory.mktemp('out') / 'border'
    finished = run([sys.executable], files, photos, out, *every_variant(files))
    assert finished.returncode == 0, finished.stderr
    return out, finished.stdout


def test_the_verdict_comes_first_and_the_page_is_named_last(alone):
    out, printed = alone
    lines = [line for line in printed.splitlines() if line.strip() and 'INFO' not in line]
    assert lines[0].startswith('Within 16 px of the border this detector')
    assert lines[-1] == str(out / 'report.html')
    for name in ('as trained', 'reflect', 'input constant 32 px', 'other'):
        assert any(line.strip().startswith(name) for line in lines)


def test_json_has_every_variant_side_distance_and_measure(alone):
    content = json.loads((alone[0] / 'border.json').read_text())
    names = ['as trained', 'reflect', 'other', 'input constant 32 px']
    assert [each['name'] for each in content['variants']] == names
    for name in names:
        statistics = content['statistics'][name]
        assert list(statistics['by_side']) == ['all', 'top', 'bottom', 'left', 'right']
        for by_distance in statistics['by_side'].values():
            assert list(by_distance) == ['near', 'beyond', '0', '8']
            for measures in by_distance.values():
                assert {
                    'open',
                    'border_loss',
                    'context_loss',
                    'padding_loss',
                    'lost_objects',
                } <= set(measures)
                assert all(
                    set(each) == {'mean', 'interval', 'n', 'photos'} for each in measures.values()
                )
        assert set(statistics['differences']) == (
            set() if name == 'as trained' else {'near', 'beyond', '0', '8'}
        )
        assert set(statistics['fills']) == {'7'}
        assert statistics['placebo']['n'] > 0
    near = content['statistics']['other']['differences']['near']
    assert near['cut']['mean'] == 0  # the same weights


def test_page_is_one_file_with_the_verdict_and_names_as_text(alone):
    page = (alone[0] / 'report.html').read_text(encoding='utf-8')
    verdict = json.loads((alone[0] / 'border.json').read_text())['verdict']
    assert all(sentence.replace("'", '&#39;') in page for sentence in verdict)
    assert not re.search(r'<(script|link|iframe|img)[^>]+(src|href)="(?!data:)', page)
    assert '<b>.png' not in page
    assert '&lt;b&gt;.png' in page
    picture = cv2.imread(str(alone[0] / 'border.png'))
    assert picture.shape[1] > 1000
    assert picture.std() > 10


def test_two_nodes_write_the_same_table_as_one_process(alone, files, photos, tmp_path):
    out = tmp_path / 'two'
    command = arguments_of(files, photos, out, *every_variant(files), '--launcher', 'pytorch')
    for status, printed in run_on_two_nodes(command, ENVIRONMENT):
        assert status == 0, printed
    assert (out / 'border.csv').read_bytes() == (alone[0] / 'border.csv').read_bytes()
    assert BorderResult.load(out).info.processes == 2


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--checkpoint', 'weights.pth'], 'is not NAME=FILE or NAME=CONFIG:FILE'),
        (['--fill', 'pad'], '--fill: the test pipeline pads with nothing'),
        (['--zoom', 'large'], '--zoom'),
        (['--window', '50', '60'], '--window: the test pipeline resizes 50 x 60'),
    ],
)
def test_what_can_be_mended_is_one_line_with_the_option(
    files, photos, tmp_path, options, message, capsys
):
    names = [str(files / name) for name in ('config.py', 'weights.pth')]
    with pytest.raises(SystemExit) as left:
        main([*names, '--photos', str(photos), '--out', str(tmp_path), *OPTIONS, *options])
    assert left.value.code == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.skipif(not MODELS.is_dir(), reason='needs the real detectors beside the checkout')
def test_on_a_real_detector_two_open_windows_differ_by_nothing_decided(monkeypatch):
    """A placebo, on YOLOX-nano: and no part of what it shows is due to padding."""
    monkeypatch.chdir(ROOT)
    yolox = MODELS / 'yolox_nano_coco'
    result = border_loss(
        (yolox / 'yolox_nano_coco.py', yolox / 'yolox_nano_coco.pth'),
        sorted((PHOTOS / 'images').iterdir())[:40],
        ann=PHOTOS / 'annotations' / 'instances.json',
        distances=0,
        max_objects=2,
        placebo=True,
        minutes=0,
    )
    statistics = result.statistics['as trained']
    low, high = statistics['placebo']['interval']
    assert low <= 0 <= high
    assert high - low < 0.1
    near = statistics['by_side']['all']['near']
    assert near['open']['mean'] > 0.2
    assert abs(near['padding_loss']['mean']) < 0.05
    assert np.isfinite(result.values[0, :, :2, 0]).all()
