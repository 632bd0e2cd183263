"""tools/blindspot_report.py writes pages of finished scans and reports errors in one line."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from mindpad_mm.core.images import write_png
from mindpad_mm.testing.scans import finished_scan

TOOL = Path(__file__).parents[2] / 'tools' / 'blindspot_report.py'


@pytest.fixture
def run(monkeypatch):
    def run(*args):
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, args)])
        runpy.run_path(str(TOOL), run_name='__main__')

    return run


@pytest.fixture
def folders(tmp_path):
    """Two finished scans of the same blank scene."""
    for name, score in (('zeros', 0.5), ('reflect', 0.75)):
        folder = tmp_path / name
        folder.mkdir()
        write_png(folder / 'scene_0.png', np.zeros((20, 30, 3), np.uint8))
        write_png(folder / 'object_0_6.png', np.full((6, 4, 4), 255, np.uint8))
        scores = np.full((1, 1, 1, 8, 14), score, np.float32)
        rows, cols = np.arange(0, 15, 2), np.arange(0, 27, 2)
        boxes = np.full((*scores.shape, 4), np.nan, np.float32)
        finished_scan(
            folder,
            (scores, scores, boxes, scores < 0, scores * 0, rows, cols),
            [
                {
                    'source': 's',
                    'file': 'scene_0.png',
                    'height': 20,
                    'width': 30,
                    'photo': [0, 0, 20, 30],
                }
            ],
            [{'source': 'o', 'files': ['object_0_6.png'], 'boxes': [[6, 4]]}],
            config=f'{name}.py',
            checkpoint=None,
            sizes=[6],
            positions=112,
        )
    return tmp_path / 'zeros', tmp_path / 'reflect'


def test_one_page_shows_both_scans_under_the_names_given(run, folders, tmp_path, capsys):
    out = tmp_path / 'both.html'
    run(*folders, '--names', 'before', 'after', '--out', out)
    page = out.read_text(encoding='utf-8')
    assert 'after minus before' in page
    assert '+0.250' in page
    answer, file = capsys.readouterr().out.splitlines()
    assert answer.startswith('after against before: ')
    assert 'mean score +0.250' in answer
    assert file == str(out)


def test_names_are_the_configs_by_default(run, folders, tmp_path):
    run(*folders, '--out', tmp_path / 'both.html')
    assert 'reflect minus zeros' in (tmp_path / 'both.html').read_text(encoding='utf-8')


def test_folder_without_a_scan_is_one_line(run, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        run(tmp_path)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert 'does not contain a complete scan' in error
    assert len(error.splitlines()) == 1
