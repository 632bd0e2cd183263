"""All checks in one run: their order, files, output and errors."""

from __future__ import annotations

import mindpad_mm  # noqa: F401  # isort: skip  # first, so that MMDetection imports on mmcv-lite

import csv
import io
import json

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console
from torch import nn

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.tables import Table
from mindpad_mm.diagnose import CHECKS, DiagnoseSettings, Diagnosis, Subject, diagnose
from mindpad_mm.report.diagnosis_page import make_folder, report_diagnosis

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
    """The registered checks with an additional one."""
    monkeypatch.setitem(
        CHECKS, 'counted', lambda _, settings, photos: Counted(photos, settings.seed)
    )


@pytest.fixture
def subject():
    layers = nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, 1)
    return Subject(nn.Sequential(*layers).eval(), (32, 33), 'two layers')


def test_the_checks_run_in_their_order_with_the_recommendation_last():
    assert [*CHECKS] == KEYS


def test_everything_found_is_in_the_folder(subject, counting, tmp_path):
    photos = [np.zeros((40, 50, 3), np.uint8)] * 3
    suite = diagnose(
        subject,
        DiagnoseSettings(checks=['filters', 'counted', 'evenness'], seed=4),
        photos,
        info={'config': 'none'},
    )
    keys = ['evenness', 'filters', 'counted']
    assert [*suite.diagnoses] == keys
    folder = make_folder(tmp_path / 'a' / 'b')
    report_diagnosis(suite, folder)
    written = json.loads((folder / 'diagnosis.json').read_text())
    assert [*written] == ['verdict', *keys, 'info']
    assert written['counted'] == {'photos': 3, 'seed': 4}
    assert written['evenness']['input_size'] == [32, 33]
    info = written['info']
    assert (info['name'], info['photos'], info['config']) == ('two layers', 3, 'none')
    assert info['versions']['torch']
    assert [*info['seconds']] == keys
    assert all(seconds >= 0 for seconds in info['seconds'].values())
    for key in keys:
        with open(folder / f'{key}.csv', newline='') as stream:
            table = suite.diagnoses[key].table()
            assert [*csv.reader(stream)] == [[*table.columns], *map(list, table.rows)]
        with Image.open(folder / f'{key}.png') as picture:
            picture.verify()
    page = (folder / 'report.html').read_text()
    for diagnosis in suite.diagnoses.values():
        assert diagnosis.title in page


def test_tables_and_advice_are_printed_as_they_are(subject, counting):
    console = Console(file=io.StringIO(), width=140)
    diagnose(subject, DiagnoseSettings(checks=['evenness', 'counted'])).print(console)
    text = console.file.getvalue()
    assert text.index('Uneven padding') < text.index('Photos counted')
    assert text.rstrip().endswith('Take [more] photos.')


def test_wrong_settings_are_reported_before_anything_runs(subject, monkeypatch):
    monkeypatch.setitem(CHECKS, 'evenness', None)
    with pytest.raises(UserError, match="no check 'eveness'; choose from evenness, artifacts"):
        diagnose(subject, DiagnoseSettings(checks=['evenness', 'eveness']))


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='cannot make folder'):
        make_folder(tmp_path / 'file')


def test_a_network_whose_outputs_are_not_finite_is_not_diagnosed(subject, counting):
    subject.model[2].weight.data.fill_(3e38)
    with pytest.raises(UserError, match='output of layer 2 is not finite'):
        diagnose(subject, DiagnoseSettings(checks=['counted']))
    assert not subject.model[2]._forward_hooks


def refuse(_subject, _settings, _photos):
    raise UserError('it has no\nlight')


def test_a_check_that_is_not_possible_does_not_stop_the_others(
    subject, counting, monkeypatch, tmp_path
):
    monkeypatch.setitem(CHECKS, 'evenness', refuse)
    suite = diagnose(subject, DiagnoseSettings(checks=['evenness', 'counted']))
    report_diagnosis(suite, tmp_path)
    assert [*suite.diagnoses] == ['counted']
    written = json.loads((tmp_path / 'diagnosis.json').read_text())
    assert written['evenness'] == {'not_possible': 'it has no light'}
    assert not (tmp_path / 'evenness.png').exists()
    assert 'it has no light' in ' '.join((tmp_path / 'report.html').read_text().split())
    console = Console(file=io.StringIO(), width=140)
    suite.print(console)
    assert 'evenness: not possible: it has no light' in console.file.getvalue()
    suite.insist_on(['counted'])
    with pytest.raises(UserError, match='evenness: not possible: it has no light'):
        suite.insist_on(['counted', 'evenness'])


def test_it_is_an_error_if_no_check_is_possible(subject, monkeypatch):
    monkeypatch.setitem(CHECKS, 'evenness', refuse)
    with pytest.raises(UserError, match='it has no light'):
        diagnose(subject, DiagnoseSettings(checks=['evenness'])).insist_on([])


def test_pictures_are_drawn_once(subject, counting, monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(Counted, 'plot', lambda self: drawn.append(1) or Figure((2, 1)))
    report_diagnosis(diagnose(subject, DiagnoseSettings(checks=['counted'])), tmp_path)
    assert drawn == [1]
    with Image.open(tmp_path / 'counted.png') as saved:
        assert saved.size == (220, 110)


def test_modes_reach_the_checks_that_compare_them(subject):
    suite = diagnose(
        subject,
        DiagnoseSettings(
            checks=['artifacts', 'foveation', 'padding_error'], modes=['circular', 'partial']
        ),
    )
    assert [*suite.diagnoses['artifacts'].responses] == ['zeros', 'circular', 'partial']
    # The network's own mode is included, because the advice compares with it.
    assert suite.diagnoses['padding_error'].modes == ['zeros', 'circular', 'partial']
    labels = [scheme.label for scheme in suite.diagnoses['foveation'].schemes]
    assert labels == ['as it is', 'circular', 'partial', 'valid', 'full']
    with pytest.raises(UserError, match="unknown padding mode 'circle'"):
        diagnose(subject, DiagnoseSettings(checks=['filters'], modes=['circle']))


def test_the_mode_a_network_has_may_be_a_pair_or_none(subject):
    pair = Subject(subject.padded_by(('reflect', 'circular')).model, subject.input_size)
    for modes in (['zeros'], ['zeros', ('reflect', 'circular')]):
        found = diagnose(pair, DiagnoseSettings(checks=['padding_error'], modes=modes)).diagnoses[
            'padding_error'
        ]
        assert sorted(found.modes) == ['reflect/circular', 'zeros']
        assert found.own == 'reflect/circular'
    nothing = Subject(nn.Sequential(nn.Conv2d(3, 2, 3)).eval(), (32, 32))
    refused = diagnose(nothing, DiagnoseSettings(checks=['padding_error'], modes=['zeros'])).refused
    assert 'none of its layers pads' in refused['padding_error']
