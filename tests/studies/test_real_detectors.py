"""What swaps, padded inputs and overlapping tiles do to a finished detector."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mindpad_mm import border_loss
from mindpad_mm.core.detector import DetectorFiles
from studies import real_detectors
from studies.real_detectors import WIDTHS, Case, claim_of, collect, real_markdown
from tests.border.toys import HeatDetector, convolutions, noise_photo


@pytest.mark.parametrize(
    ('mode', 'interval', 'found'),
    [
        ('reflect', [0.01, 0.1], 'reproduced'),
        ('reflect', [-0.1, -0.02], 'not reproduced'),
        ('reflect', [-0.1, 0.01], 'not reproduced'),
        ('reflect', [-0.1, 0.1], 'undecided'),
        ('reflect', None, 'undecided'),
        ('circular', [-0.01, 0.01], 'reproduced'),
        ('circular', [0.05, 0.1], 'not reproduced'),
        ('circular', [-0.1, -0.03], 'not reproduced'),
        ('circular', [0.01, 0.1], 'undecided'),
    ],
)
def test_a_claim_is_judged_by_the_whole_interval(mode, interval, found):
    estimate = {'mean': 0.0, 'interval': interval, 'n': 9, 'photos': 9}
    assert claim_of(mode, estimate) == found


@pytest.fixture
def measured(monkeypatch):
    """``border_loss`` of a small network instead of the one of the case; counts its calls."""
    calls = []

    def small(files, photos, *, minutes, padding=(), input_padding_px=None, **options):
        del files, photos, options
        assert (input_padding_px is None) == bool(padding)
        calls.append((input_padding_px, minutes))
        return border_loss(
            HeatDetector(convolutions('zeros')).wrapped(),
            [noise_photo(300, 300, number) for number in range(5)],
            window=(160, 160), far=32, minutes=0, found_thr=0.01, draws=100, max_objects=1,
            sides='left',
        )  # fmt: skip

    monkeypatch.setattr(real_detectors, 'border_loss', small)
    monkeypatch.setattr(Case, '_costs', lambda self, window: {'as trained': 1.0})
    return calls


def test_a_case_is_measured_once_with_swaps_and_for_each_width_and_not_again(tmp_path, measured):
    case = Case('small', DetectorFiles('config.py', 'weights.pth'), Path('photos'), minutes=12)
    file = tmp_path / 'results.json'
    results = collect([case], tmp_path, file)
    assert measured == [(None, 6), *((width, 2) for width in WIDTHS)]
    assert collect([case], tmp_path, file) == json.loads(file.read_text())
    assert len(measured) == 1 + len(WIDTHS)
    assert list(results['small']['runs']['swaps']['variants']) == ['as trained']


def test_costs_are_relative_to_as_trained_and_grow_with_the_input(files):
    case = Case(
        'small', DetectorFiles(files / 'config.py', files / 'weights.pth'), Path('photos'),
        modes=('circular',), widths=(8, 200), how=('reflect',),
    )  # fmt: skip
    costs = case._costs([96, 96])
    assert list(costs) == ['as trained', 'circular', 'input reflect 8 px', 'input reflect 200 px']
    assert costs['as trained'] == 1
    assert costs['input reflect 200 px'] > 1.5  # 27 times the pixels


def test_tiles_cost_what_their_overlap_repeats(tmp_path, measured):
    case = Case('small', DetectorFiles('config.py', 'weights.pth'), Path('photos'))
    text = real_markdown(collect([case], tmp_path, tmp_path / 'results.json'))
    line = next(each for each in text.splitlines() if each.startswith('| 16 px'))
    # Tiles of 160 px that share 32 px advance by 128.
    assert line.endswith(f'| {(160 / 128) ** 2:.2f} |')
    assert '| 0 px |' in text
