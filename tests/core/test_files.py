"""Files are written completely or not at all."""

import json

import pytest

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.files import save_json, save_text, written_whole


def half_written(path):
    with written_whole(path) as file:
        file.write_text('{"a": ')
        raise OSError('disk full')


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / 'folder' / 'statistics.json'
    save_json(path, {'a': 1})
    with pytest.raises(UserError, match=r'cannot write .*disk full'):
        half_written(path)
    assert json.loads(path.read_text()) == {'a': 1}
    assert list(path.parent.iterdir()) == [path]  # nor is anything left of the new file


def test_a_folder_that_is_gone_or_a_name_too_long_is_one_line(tmp_path):
    (tmp_path / 'file').touch()
    for path in (tmp_path / 'file' / 'below', tmp_path / ('n' * 300)):
        with pytest.raises(UserError, match='cannot write'):
            save_text(path, 'x')


def test_names_that_are_not_text_do_not_keep_a_page_from_being_written(tmp_path):
    save_text(tmp_path / 'page.html', 'caf\u00e9 \udcff')
    assert (tmp_path / 'page.html').read_text('utf-8') == 'caf\u00e9 &#56575;'


def test_json_with_a_nan_is_refused_and_not_written(tmp_path):
    path = tmp_path / 'statistics.json'
    with pytest.raises(ValueError, match='JSON compliant'):
        save_json(path, {'a': float('nan')})
    assert not path.exists()
