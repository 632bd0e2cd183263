"""Tables keep what they are given, in a terminal and in Markdown."""

from mindpad_mm.core.tables import Table

TABLE = Table(['layer', 'rows'], [['conv[b]', '3'], ['a|b', '-1']], 'Unused')


def test_a_terminal_shows_every_cell_as_it_is():
    lines = str(TABLE).splitlines()
    assert any('conv[b]' in line and '3' in line for line in lines)
    assert any('a|b' in line and '-1' in line for line in lines)
    assert 'Unused' in lines[0]


def test_a_title_is_never_read_as_markup():
    assert 'a[/b] and [red]' in str(Table(['a heading that is wide'], [], 'a[/b] and [red]'))


def test_markdown_has_one_line_a_row_and_no_stray_columns():
    assert TABLE.markdown() == (
        'Unused\n\n| layer | rows |\n| --- | --- |\n| conv[b] | 3 |\n| a\\|b | -1 |\n'
    )
