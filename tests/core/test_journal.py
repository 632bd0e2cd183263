from __future__ import annotations

import os

import numpy as np
import pytest

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.journal import FOLDER, Journal, alone_in, prepare_folder
from mindpad_mm.core.matching import Matches

BOXES = np.array([[np.nan] * 4, [1, 2, 3.5, 4], [0, 0, 8, 9]], np.float32)
FOUND = Matches(np.array([0, 0.5, 1], np.float32), np.array([0, 0.75, 0.5], np.float32), BOXES)


def test_chunk_comes_back_bit_by_bit(tmp_path):
    Journal(tmp_path, {'a': 1}).write('0-0', FOUND, 1.25)
    found, seconds = Journal(tmp_path, {'a': 1}).read('0-0', 3)
    for values, wanted in zip(found, FOUND):
        assert values.tobytes() == wanted.tobytes()
    assert seconds == 1.25


def test_damaged_chunk_counts_as_missing(tmp_path):
    journal = Journal(tmp_path, {})
    journal.write('0-0', FOUND, 1.0)
    path = tmp_path / FOLDER / '0-0'
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position])
        assert journal.read('0-0', 3) is None
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert journal.read('0-0', 3) is None
    path.rename(tmp_path / FOLDER / '0-64')
    path = tmp_path / FOLDER / '0-64'
    path.write_bytes(whole)
    assert journal.read('0-64', 3) is None  # another chunk's bytes
    assert journal.read('0-128', 3) is None


def test_chunks_of_another_scan_are_refused_naming_what_differs(tmp_path):
    Journal(tmp_path, {'checkpoint': 'a', 'stride': 2})
    with pytest.raises(UserError, match='differs in checkpoint:'):
        Journal(tmp_path, {'checkpoint': 'b', 'stride': 2})


def test_folder_that_is_not_empty_is_never_written_to(tmp_path):
    (tmp_path / 'mine.txt').touch()
    with pytest.raises(UserError, match='not empty'):
        prepare_folder(tmp_path, resume=False, result='scan.json')
    with pytest.raises(UserError, match='nothing to resume'):
        prepare_folder(tmp_path, resume=True, result='scan.json')
    assert os.listdir(tmp_path) == ['mine.txt']


def test_file_or_unwritable_place_is_refused(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match='is a file'):
        prepare_folder(tmp_path / 'file', resume=False, result='scan.json')
    with pytest.raises(UserError, match='cannot be written'):
        prepare_folder(tmp_path / 'file' / 'below', resume=False, result='scan.json')


def test_new_folder_is_made_with_its_parents(tmp_path):
    assert prepare_folder(tmp_path / 'a' / 'b', resume=True, result='scan.json').is_dir()


def test_work_that_ends_before_its_first_result_leaves_the_folder_free(tmp_path):
    def work(fails, *results):
        with alone_in(tmp_path):
            journal = Journal(tmp_path, {'stride': 2})
            for name in results:
                journal.write(name, FOUND, 1.0)
            raise fails

    with pytest.raises(UserError):
        work(UserError('a mistake'))
    prepare_folder(tmp_path, resume=False, result='scan.json')
    with pytest.raises(KeyboardInterrupt):
        work(KeyboardInterrupt, '0-0')
    assert Journal(tmp_path, {'stride': 2}).read('0-0', 3) is not None
