"""The traffic-light study's tables of made-up numbers, and its messages about wrong input."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mindpad_mm.core.errors import UserError
from studies.paired_tests import paired_difference, summary
from studies.swap_matrix import RECALIBRATED
from studies.traffic_light_tables import (
    claims_table,
    judge,
    swap_markdown,
    traffic_lights_markdown,
)
from studies.traffic_lights import MODES, SETTINGS, Study, comparisons

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def results():
    up = paired_difference([0.51, 0.50, 0.52], [0.41, 0.40, 0.42])
    return {
        'runs': {'128 zeros': {'0': {}, '1': {}}},
        'settings': {'128 zeros': {'seeds': 2, 'mAP': summary([0.2, 0.3])}},
        'differences': {
            '128 reflect - 128 zeros': {'mAP_50': up, 'scan.blind_fraction': up},
            '129 zeros - 128 zeros': {},
        },
        'missing': ['128 partial seed 2'],
        'cpu_seconds': {'trainings': 2, 'mean': 160.4},
        'seeds': [0, 1, 2],
    }


def test_a_claim_is_judged_by_its_sign(results):
    rows = {(row[0], row[2]): row for row in claims_table(results).rows}
    assert rows['Mirror padding raises AP.50', '128 reflect - 128 zeros'][-1] == 'reproduced'
    blind = rows['Mirror padding cures blind spots', '128 reflect - 128 zeros']
    assert blind[-1] == 'not reproduced'
    assert rows['Mirror padding raises AP.20', '128 reflect - 128 zeros'][-1] == 'not run yet'
    assert judge('undecided', 1) == 'undecided'
    assert judge('lower', -1) == 'reproduced'


def test_every_mode_is_compared_with_zeros_at_its_size_and_the_even_size_with_the_uneven():
    names = comparisons()
    assert ('128 partial', '128 zeros') in names
    assert ('129 reflect', '129 zeros') in names
    assert ('129 reflect', '128 reflect') in names
    assert len(names) == len(SETTINGS) - 2 + 2


def test_the_tables_say_what_is_missing_and_leave_no_cell_empty(results):
    text = traffic_lights_markdown(results)
    assert 'Not trained yet: 128 partial seed 2.' in text
    assert '160 s of CPU time (mean of the 2' in text
    assert '0.250 ± 0.071' in text
    assert '**+0.100**' in text
    tables = [line for line in text.splitlines() if line.startswith('|')]
    assert all(cell.strip() for line in tables[2:] for cell in line[1:-1].split(' | ')[1:])


def test_the_swap_matrix_has_a_row_and_a_column_a_mode():
    same = paired_difference([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
    worse = paired_difference([0.3, 0.31, 0.29], [0.5, 0.52, 0.49])
    cells = [
        {
            'trained': trained,
            'tested': tested,
            'recalibrated': 0,
            'figures': dict.fromkeys(('mAP', 'mAP_50', 'zone0_mAP'), summary([0.3, 0.31, 0.29])),
            'differences': dict.fromkeys(
                ('mAP', 'mAP_50', 'zone0_mAP'), same if trained == tested else worse
            ),
        }
        for trained in MODES
        for tested in MODES
    ]
    text = swap_markdown({'cells': cells, 'missing': [], 'recalibrate': RECALIBRATED})
    rows = [line for line in text.splitlines() if line.startswith('| trained in zeros')]
    assert rows[0].count('0.300 ± 0.010*') == len(MODES) - 1
    assert rows[0].count('0.300 ± 0.010 ') == 1


def test_a_set_without_the_scanned_photos_is_refused(drawn_lights, tmp_path):
    study = Study(ROOT / 'configs' / 'study', tmp_path, drawn_lights, tmp_path, tmp_path)
    with pytest.raises(UserError, match='must be in the val split'):
        study.backgrounds()


def test_the_tool_says_in_one_line_that_the_set_is_missing():
    tool = [sys.executable, '-m', 'studies.run_traffic_lights']
    run = subprocess.run(
        [*tool, '--photos', '.', '--lights', '.', '--data', 'absent'],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert run.stderr.strip().splitlines()[-1].startswith('error: absent')
