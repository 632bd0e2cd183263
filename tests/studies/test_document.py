"""Results go where the markers are, and nowhere else."""

from __future__ import annotations

import pytest

from mindpad_mm.core.errors import UserError
from studies.document import put_section


def test_a_section_is_replaced_and_the_rest_stays(tmp_path):
    path = tmp_path / 'RESULTS.md'
    path.write_text('# Title\n<!-- a -->\nold\n<!-- /a -->\nend \\1\n<!-- b -->\n<!-- /b -->\n')
    put_section(path, 'a', '| new \\1 |')
    put_section(path, 'a', '| new \\1 |')
    assert path.read_text() == (
        '# Title\n<!-- a -->\n| new \\1 |\n<!-- /a -->\nend \\1\n<!-- b -->\n<!-- /b -->\n'
    )


@pytest.mark.parametrize('text', ['', '<!-- a -->', '<!-- /a -->\n<!-- a -->', '<!-- a -->' * 2])
def test_markers_that_are_not_there_are_asked_for(tmp_path, text):
    path = tmp_path / 'RESULTS.md'
    path.write_text(text)
    with pytest.raises(UserError, match='must hold the lines'):
        put_section(path, 'a', 'x')
    assert path.read_text() == text
