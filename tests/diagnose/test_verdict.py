"""The verdict on a network: one recommendation, and no figure that predicts nothing recommends a mode."""

from __future__ import annotations

import mindpad_mm  # noqa: F401  # isort: skip  # first, so that MMDetection imports on mmcv-lite

import io
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from torch import nn

from mindpad_mm.core.loading import load_detector
from mindpad_mm.diagnose import CHECKS, DiagnoseSettings, Subject, diagnose
from mindpad_mm.diagnose.verdict import MEASURE, verdict
from mindpad_mm.report.diagnosis_page import report_diagnosis

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def detector(files):
    return load_detector(str(files / 'config.py'), str(files / 'weights.pth'))


def network(*layers):
    return nn.Sequential(*layers).eval()


def test_a_detector_is_to_be_measured_and_only_then_swapped(detector):
    found = verdict(detector, [], command='mindpad border a.py a.pth --photos p/')
    text = ' '.join(found.advice)
    assert text.startswith('Before you swap anything, measure')
    assert 'try circular' in text
    assert found.command == 'mindpad border a.py a.pth --photos p/'


def test_a_circular_detector_is_not_told_to_try_circular(detector):
    swapped = Subject(detector, (64, 64)).padded_by('circular').model
    assert 'circular' not in ' '.join(verdict(swapped, []).advice)


def test_what_cannot_be_measured_gets_no_command(detector):
    assert verdict(detector, [], random=True).advice[0].startswith('The weights are random')
    assert verdict(network(nn.Conv2d(3, 4, 3, padding=1)), []).command == ''
    without = verdict(network(nn.Conv2d(3, 4, 3)), [])
    assert without.findings == ('No layer pads, so there is no padding to swap.',)
    assert not without.advice


@pytest.fixture(scope='module')
def suite():
    """All checks of a small network that was not trained."""
    layers = nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, 1)
    subject = Subject(network(*layers), (32, 32), 'two layers')
    photos = [np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)]
    return diagnose(subject, DiagnoseSettings(checks=[*CHECKS]), photos)


def test_no_check_recommends_a_mode(suite):
    assert len(suite.diagnoses) >= 5
    for diagnosis in suite.diagnoses.values():
        text = f'{diagnosis.advice()} {diagnosis.finding()} {diagnosis.worth}'
        assert not re.search(r'padding_cfg|[Tt]rain with|[Ss]wap to|[Uu]se \w+ padding', text), text


def test_what_figures_are_worth_is_what_the_study_says(suite):
    """The numbers are those of docs/CHOOSE.md."""
    page = ' '.join((ROOT / 'docs' / 'CHOOSE.md').read_text('utf-8').split())
    told = 0
    for diagnosis in suite.diagnoses.values():
        for number in re.findall(r'-?\.\d\d \[-?\.\d\d, \.\d\d\]', diagnosis.worth):
            assert number in page, number
            told += 1
    assert told == 6
    assert suite.diagnoses['padding_error'].worth.startswith(
        'This ranking of modes predicts nothing'
    )


def test_terminal_page_and_json_say_the_same(suite, tmp_path):
    report_diagnosis(suite, tmp_path)
    console = Console(file=io.StringIO(), width=100, soft_wrap=True)
    suite.print(console)
    page = (tmp_path / 'report.html').read_text('utf-8')
    sentences = [*suite.verdict.findings, *suite.verdict.advice]
    assert len(sentences) >= 3
    for text in (console.file.getvalue(), page, (tmp_path / 'diagnosis.json').read_text('utf-8')):
        assert all(sentence in text for sentence in sentences)
    places = [page.index(sentence) for sentence in sentences]
    assert places == sorted(places)
    assert places[-1] < page.index('<nav')


def test_the_command_is_one_that_exists():
    assert MEASURE in (ROOT / 'docs' / 'CHOOSE.md').read_text('utf-8')
