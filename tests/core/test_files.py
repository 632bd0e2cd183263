"""Files are written completely or not at all."""

import json

import pytest

from mindpad_mm.core.files import save_json, written_whole


def half_written(path):
    with written_whole(path) as file:
        file.write_text('{"a": ')
        raise OSError('disk full')


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / 'folder' / 'statistics.json'
    save_json(path, {'a': 1})
    with pytest.raises(OSError, match='disk full'):
        half_written(path)
    assert json.loads(path.read_text()) == {'a': 1}


def test_json_with_a_nan_is_refused_and_not_written(tmp_path):
    path = tmp_path / 'statistics.json'
    with pytest.raises(ValueError, match='JSON compliant'):
        save_json(path, {'a': float('nan')})
    assert not path.exists()
