"""Output and errors of tools/diagnose.py."""

from __future__ import annotations

import json
import runpy
import shlex
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mindpad_mm.cli import border
from mindpad_mm.zoo import model_files

TOOL = Path(__file__).parents[2] / 'tools' / 'diagnose.py'


def run(monkeypatch, capsys, *arguments):
    """Exit status, stdout and stderr."""
    monkeypatch.setattr(sys, 'argv', ['diagnose.py', *map(str, arguments)])
    try:
        runpy.run_path(str(TOOL), run_name='__main__')
    except SystemExit as end:
        return end.code, *capsys.readouterr()
    return 0, *capsys.readouterr()


def test_a_detector_is_diagnosed_from_its_files(monkeypatch, capsys, tmp_path):
    out = tmp_path / 'out'
    cv2.imwrite(str(tmp_path / 'photo.png'), np.full((70, 80, 3), 90, np.uint8))
    status, printed, _ = run(
        monkeypatch, capsys, *model_files('zeros'), '--checks', 'filters', 'evenness',
        '--input-size', 97, 128, '--photos', tmp_path, '--out', out,
        '--cfg-options', 'model.backbone.padding_cfg=reflect', '--verbose',
    )  # fmt: skip
    assert status == 0
    assert printed.index('Uneven padding') < printed.index('Filter asymmetry')
    assert 'heights 65, 129' in ' '.join(printed.split())
    written = json.loads((out / 'diagnosis.json').read_text())
    assert [*written] == ['verdict', 'evenness', 'filters', 'info']
    command = shlex.split(written['verdict']['command'])
    assert command[:4] == ['mindpad', 'border', *map(str, model_files('zeros'))]
    assert border.make_parser('').parse_args(command[2:]).cfg_options
    assert written['verdict']['command'] in printed
    assert written['evenness']['input_size'] == [97, 128]
    assert written['info']['checkpoint'].endswith('.pth')
    assert written['info']['cfg_options'] == {'model.backbone.padding_cfg': 'reflect'}
    assert {path.name for path in out.iterdir()} == {
        'diagnosis.json', 'report.html',
        'evenness.png', 'filters.png', 'evenness.csv', 'filters.csv',
    }  # fmt: skip


def test_a_classifier_needs_nothing_but_its_name(monkeypatch, capsys, tmp_path):
    status, printed, _ = run(
        monkeypatch, capsys, 'torchvision:mobilenet_v2', '--checks', 'evenness', '--out', tmp_path,
        '--verbose',
    )  # fmt: skip
    assert status == 0
    assert '193, 225 (a * 32 + 1)' in ' '.join(printed.split())


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['gone.py'], 'config gone.py does not exist'),
        (['torchvision:resnet81'], "no classifier 'resnet81'"),
        (['torchvision:resnet18', '--checks', 'foveate'], "no check 'foveate'; choose from"),
        (['torchvision:resnet18', '--photos', 'gone.jpg'], "photo 'gone.jpg' does not exist"),
        (['torchvision:resnet18', '--input-size', '0', '9'], '--input-size 0 x 9'),
        (['torchvision:resnet18', '--input-size', '9', '9000'], 'each side must have 1 to 8192'),
        (['torchvision:resnet18', '--max-photos', '0'], '0: it must be at least 1'),
        (['torchvision:resnet18', '--modes', 'mirror'], "unknown padding mode 'mirror'"),
        (['torchvision:resnet18', '--checks', 'shift', '--label', 'dog'], "not 'dog'"),
        (['torchvision:resnet18', '--checks', 'filters', '--ann-id', '3'], 'for the check shift'),
        (['torchvision:resnet18', '--device', 'abacus'], "device 'abacus' cannot be used"),
    ],
)
def test_a_mistake_is_one_line(monkeypatch, capsys, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, _, error = run(monkeypatch, capsys, *arguments, '--out', 'out')
    assert status == 2
    assert error.strip().splitlines()[-1].startswith('error: ')
    assert message in error
    assert 'Traceback' not in error


def test_if_no_check_is_possible_nothing_is_written(monkeypatch, capsys, tmp_path):
    status, printed, error = run(
        monkeypatch, capsys, 'torchvision:alexnet', '--checks', 'foveation', '--input-size', 20, 20,
        '--out', tmp_path / 'out',
    )  # fmt: skip
    assert status == 2
    assert error.strip().splitlines()[-1].startswith('error: foveation: not possible: a map of 1 x')
    assert 'written' not in printed
    assert not [*(tmp_path / 'out').iterdir()]


def test_help_shows_examples(monkeypatch, capsys):
    status, printed, _ = run(monkeypatch, capsys, '--help')
    assert not status
    assert 'tools/diagnose.py torchvision:resnet18 --checks evenness' in printed
