"""Pages do not tell the folders of the machine that made them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mindpad_mm.report.paths import shown_path, without_folders


@pytest.mark.parametrize(
    ('path', 'shown'),
    [
        ('a/b.py', 'a/b.py'),
        ('../b.py', '../b.py'),
        ('/some/where/b.py', 'b.py'),
        ('~/b.py', 'b.py'),
        ('C:\\Users\\ann\\b.py', 'b.py'),
        ('random weights', 'random weights'),
        ('https://host/b.pth', 'https://host/b.pth'),
        ('torchvision:resnet18', 'torchvision:resnet18'),
        ('/', '/'),
    ],
)
def test_absolute_paths_lose_their_folders_and_nothing_else_changes(path, shown):
    assert shown_path(path) == shown
    assert without_folders(path) == shown


def test_files_below_the_working_directory_are_named_from_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shown_path(f'{tmp_path}/sub/b.py') == 'sub/b.py'


def test_paths_in_sentences_lists_and_mappings_are_found():
    value = {
        'of': ['2 of 3: /some/where/x.jpg /some/where/y', ('/a/b',)],
        'file': Path('/p/q'),
        'n': 3,
    }
    assert without_folders(value) == {'of': ['2 of 3: x.jpg y', ['b']], 'file': 'q', 'n': 3}
    for text in ('0.1 / 2', 'reflect/circular', '10 px/s', 'and/or', '3 x 3'):
        assert without_folders(text) == text
    assert without_folders('/some/where/a.jpg, window at row 1') == 'a.jpg, window at row 1'
