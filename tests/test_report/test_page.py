from __future__ import annotations

import ast
import base64
import html
import re

import pytest

from mindpad_mm.errors import UserError
from mindpad_mm.report import report_scan
from mindpad_mm.report.page import write_page


@pytest.fixture
def page(scan):
    report_scan(scan)
    return (scan.folder / 'report.html').read_text(encoding='utf-8')


def test_page_loads_nothing_from_elsewhere(scan, page):
    sources = re.findall(r'(?:src|href)="([^"]{0,40})', page)
    assert sources
    assert all(source.startswith('data:') for source in sources)
    assert 'http' not in page
    picture = re.search(r'base64,([^"]+)', page).group(1)
    assert base64.b64decode(picture) == (scan.folder / 'heatmap.png').read_bytes()


def test_page_gives_the_figures_and_what_was_run(scan, page):
    overall = scan.info['statistics']['overall']
    assert f'{overall["mean"]["mean"]:.3f}' in page
    assert 'traffic light' in page
    assert 'weights.pth' in page
    assert '&lt;grey &amp; 1&gt;' in page  # a file's name is text, never markup


def test_recipe_on_the_page_is_python_that_names_the_saved_files(scan, page):
    recipe = html.unescape(re.search(r'<pre>(.*?)</pre>', page, re.S).group(1))
    ast.parse(recipe)
    for word in ('scene_0.png', 'object_0_10.png', 'a/config.py', 'row, col = 4, 16'):
        assert word in recipe


def test_summary_names_the_folder_and_the_speed(scan, capsys):
    report_scan(scan)
    printed = capsys.readouterr().out
    assert 'report.html' in printed
    assert '12.5 a second' in printed


def test_page_that_cannot_be_written_is_one_line(scan, page, tmp_path):
    with pytest.raises(UserError, match='cannot write'):
        write_page(scan, tmp_path / 'nowhere' / 'report.html')
