"""The page of a diagnosis shows every check and loads no other files."""

from __future__ import annotations

import base64
import re
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.tables import Table
from mindpad_mm.diagnose.result import Diagnosis
from mindpad_mm.report.diagnosis_page import write_diagnosis_page


class Evenness(Diagnosis):
    check = 'evenness'
    title = 'Uneven <padding>'

    def table(self):
        return Table(['layer', 'unused rows'], [['conv[1]', '1']], 'Layers')

    def plot(self):
        figure = Figure((3, 2))
        figure.subplots().plot([0, 1])
        return figure

    def to_json(self):
        return {}

    def advice(self):
        return 'Two layers waste a row. Resize to 257 x 257.'


class Filters(Evenness):
    check = 'filters'
    title = 'Filters'

    def table(self):
        return Table(['layer', 'x'], [[f'conv{k}', '0'] for k in range(60)])


@pytest.fixture
def page(tmp_path):
    info = {
        'config': 'ssd.py',
        'input size': [256, 320],
        'versions': {'torch': '2.1', 'mmdet': '3.3'},
    }
    write_diagnosis_page([Evenness(), Filters()], info, tmp_path / 'report.html')
    return (tmp_path / 'report.html').read_text(encoding='utf-8')


def test_contents_lead_to_every_check_with_its_advice(page):
    links = re.findall(r'href="#(\w+)"', page)
    assert {'evenness', 'filters'} <= set(links)
    for link in links:
        assert page.count(f'id="{link}"') == 1
    assert page.count('Two layers waste a row. Resize to 257 x 257.') == 2
    assert 'Uneven &lt;padding&gt;' in page


def test_pictures_are_in_the_page_at_their_size_and_have_a_text(page):
    pictures = re.findall(
        r'<img[^>]+base64,([^"]+)" width="(\d+)" height="(\d+)" alt="([^"]+)"', page
    )
    assert len(pictures) == 2
    for data, width, height, text in pictures:
        root = ElementTree.fromstring(base64.b64decode(data))
        assert root.tag.endswith('svg')
        shape = [float(root.get(name).removesuffix('pt')) for name in ('width', 'height')]
        assert shape[0] / shape[1] == pytest.approx(int(width) / int(height), abs=0.01)
        assert 'Picture of' in text


def test_tables_are_whole_and_long_ones_folded_away(page):
    assert page.count('<th scope="col">layer</th>') == 2
    assert page.count('<details>') == 1
    assert page.count('<td>conv') == 61


def test_what_was_run_is_written_out(page):
    for text in ('ssd.py', '256, 320', 'torch 2.1, mmdet 3.3'):
        assert text in page


def test_tables_have_captions_and_dark_pages_dark_pictures(page):
    assert page.count('<table') == page.count('<caption>') == 3
    pictures = re.findall(r'svg\+xml;base64,([^"]+)', page)
    assert len(pictures) == 2
    assert all(b'prefers-color-scheme: dark' in base64.b64decode(each) for each in pictures)


def test_page_names_no_folder_of_the_machine(tmp_path):
    info = {'config': f'{tmp_path}/ssd.py', 'photos': f'1 of 2: {tmp_path}/photos'}
    write_diagnosis_page([], info, tmp_path / 'report.html', refused={'x': f'no {tmp_path}/a.pth'})
    page = (tmp_path / 'report.html').read_text(encoding='utf-8')
    assert str(tmp_path.parent) not in page
    assert 'ssd.py' in page


def test_page_loads_nothing(page):
    sources = re.findall(r'(?:src|href|srcset)="([^"]{0,20})', page)
    assert all(source.startswith(('data:', '#')) for source in sources)


def test_page_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(UserError, match='cannot write'):
        write_diagnosis_page([], {}, tmp_path / ('n' * 300))
