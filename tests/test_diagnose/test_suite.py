"""All checks in one go: what is run, written and said."""

from __future__ import annotations

import mindpad_mm  # noqa: F401  # isort: skip  # first, so that MMDetection imports on mmcv-lite

import io
import json

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console
from torch import nn

from mindpad_mm.diagnose import CHECKS, Diagnosis, Subject, diagnose
from mindpad_mm.errors import UserError
from mindpad_mm.report.tables import Table

KEYS = ['evenness', 'artifacts', 'foveation', 'filters', 'shift', 'padding_error']


class Counted(Diagnosis):
    check = 'counted'
    title = 'Photos counted'

    def __init__(self, photos, seed):
        self.photos, self.seed = photos, seed

    def table(self):
        return Table(['photos'], [[str(len(self.photos))]])

    def plot(self):
        return Figure((2, 1))

    def to_json(self):
        return {'photos': len(self.photos), 'seed': self.seed}

    def advice(self):
        return 'Take [more] photos.'


@pytest.fixture
def counting(monkeypatch):
    """The checks, and one of a user's own."""
    monkeypatch.setitem(CHECKS, 'counted', lambda subject, photos, seed: Counted(photos, seed))


@pytest.fixture
def subject():
    layers = nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, 1)
    return Subject(nn.Sequential(*layers).eval(), (32, 33), 'two layers')


def test_the_checks_run_in_their_order_with_the_recommendation_last():
    assert [*CHECKS] == KEYS


def test_everything_found_is_in_the_folder(subject, counting, tmp_path):
    photos = [np.zeros((40, 50, 3), np.uint8)] * 3
    suite = diagnose(
        subject, ['filters', 'counted', 'evenness'], photos, tmp_path / 'a' / 'b', seed=4,
        info={'config': 'none'},
    )  # fmt: skip
    keys = ['evenness', 'filters', 'counted']
    assert [*suite.diagnoses] == keys
    folder = tmp_path / 'a' / 'b'
    written = json.loads((folder / 'diagnosis.json').read_text())
    assert [*written] == [*keys, 'info']
    assert written['counted'] == {'photos': 3, 'seed': 4}
    assert written['evenness']['input_size'] == [32, 33]
    info = written['info']
    assert (info['name'], info['photos'], info['config']) == ('two layers', 3, 'none')
    assert info['versions']['torch']
    assert [*info['seconds']] == keys
    assert all(seconds >= 0 for seconds in info['seconds'].values())
    for key in keys:
        with Image.open(folder / f'{key}.png') as picture:
            picture.verify()
    page = (folder / 'report.html').read_text()
    for diagnosis in suite.diagnoses.values():
        assert diagnosis.title in page


def test_tables_and_advice_are_printed_as_they_are(subject, counting):
    console = Console(file=io.StringIO(), width=140)
    diagnose(subject, ['evenness', 'counted']).print(console)
    text = console.file.getvalue()
    assert text.index('Uneven padding') < text.index('Photos counted')
    assert text.rstrip().endswith('Take [more] photos.')


def test_a_mistake_is_told_before_anything_runs(subject, tmp_path, monkeypatch):
    monkeypatch.setitem(CHECKS, 'evenness', None)
    with pytest.raises(UserError, match="no check 'eveness'; choose from evenness, artifacts"):
        diagnose(subject, ['evenness', 'eveness'])
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='cannot make folder'):
        diagnose(subject, ['evenness'], out=tmp_path / 'file')
