"""Tables are written between the markers, and docs/RESULTS.md shows the stored results."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mindpad_mm.core.errors import UserError
from studies.document import put_section
from studies.letters_tables import letters_markdown
from studies.traffic_light_tables import swap_markdown, traffic_lights_markdown


def test_a_section_is_replaced_and_the_rest_stays(tmp_path):
    path = tmp_path / 'RESULTS.md'
    path.write_text('# Title\n<!-- a -->\nold\n<!-- /a -->\nend \\1\n<!-- b -->\n<!-- /b -->\n')
    put_section(path, 'a', '| new \\1 |')
    put_section(path, 'a', '| new \\1 |')
    assert path.read_text() == (
        '# Title\n<!-- a -->\n| new \\1 |\n<!-- /a -->\nend \\1\n<!-- b -->\n<!-- /b -->\n'
    )


@pytest.mark.parametrize('text', ['', '<!-- a -->', '<!-- /a -->\n<!-- a -->', '<!-- a -->' * 2])
def test_missing_markers_are_an_error(tmp_path, text):
    path = tmp_path / 'RESULTS.md'
    path.write_text(text)
    with pytest.raises(UserError, match='must hold the lines'):
        put_section(path, 'a', 'x')
    assert path.read_text() == text


def test_the_tables_of_the_results_are_those_of_the_stored_numbers(tmp_path):
    docs = Path(__file__).resolve().parents[2] / 'docs'
    path = tmp_path / 'RESULTS.md'
    shutil.copy(docs / 'RESULTS.md', path)
    for name, markdown in (('traffic_lights', traffic_lights_markdown), ('swap', swap_markdown)):
        put_section(path, name, markdown(json.loads((docs / f'results/{name}.json').read_text())))
    letters = letters_markdown(json.loads((docs / 'results/letters.json').read_text()))
    image = '![Error of shifted letters](results/letters_shift.png)'
    put_section(path, 'letters', f'{letters}\n{image}')
    assert path.read_text('utf-8') == (docs / 'RESULTS.md').read_text('utf-8')
