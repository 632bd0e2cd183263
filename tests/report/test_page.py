from __future__ import annotations

import ast
import html
import re

import pytest

from mindpad_mm.core.errors import UserError
from mindpad_mm.report import report_scan, write_page
from mindpad_mm.report.data import page_data


@pytest.fixture
def page(scan):
    report_scan(scan)
    return (scan.folder / 'report.html').read_text(encoding='utf-8')


def without_scripts(page):
    return re.sub(r'<script.*?</script>', '', page, flags=re.S)


def test_page_loads_nothing_from_elsewhere(page):
    assert not re.search(r'<(script|link|iframe)[^>]+(src|href)=', page)
    sources = re.findall(r'(?:src|href)="([^"]{0,40})', without_scripts(page))
    assert sources
    assert all(source.startswith('data:') for source in sources)


def test_page_is_small(scan, page):
    """The demo's page had 5 MB, of which a chart library was 4.8."""
    pictures = sum(len(each) for each in re.findall(r'base64,[^"]+', page))
    assert len(page) - pictures < 120_000


def test_page_begins_with_the_summary(scan, page):
    text = html.unescape(without_scripts(page))
    places = [text.index(sentence) for sentence in scan.summary().splitlines()]
    assert places == sorted(places)
    assert places[-1] < text.index('<noscript>')


def test_page_names_no_folder_of_the_machine(make_scan, tmp_path):
    one, two = (make_scan(name) for name in ('one', 'two'))
    for scan in (one, two):
        scan.info.config = str(tmp_path / 'same.py')
        scan.info.checkpoint = str(tmp_path / 'my weights.pth')
        scan.info.cfg_options = {'data': {'root': [str(tmp_path / 'x, y')]}}
        scan.info.backgrounds[0].source = f'{tmp_path}/a.jpg, window at row 1, column 2'
        scan.info.objects[0].source = f'{tmp_path}/o.png'
    write_page([one, two], tmp_path / 'both.html')
    page = (tmp_path / 'both.html').read_text(encoding='utf-8')
    assert str(tmp_path.parent) not in page
    assert str(one.folder.parent) not in page
    for name in ('same.py', 'my weights.pth', 'a.jpg', 'o.png'):
        assert name in page


def test_page_shows_the_statistics_and_the_settings(scan, page):
    text = without_scripts(page)
    overall = scan.info.statistics['overall']
    assert f'{overall["mean"]["mean"]:.3f}' in text
    assert 'traffic light' in text
    assert 'weights.pth' in text
    assert '&lt;grey &amp; 1&gt;' in text  # a file's name is text, never markup


def test_a_name_cannot_end_the_script_that_holds_the_data(scan):
    scan.info.backgrounds[0].source = 'x</script><b>.png'
    write_page([scan], scan.folder / 'page.html')
    page = (scan.folder / 'page.html').read_text(encoding='utf-8')
    assert '</script><b>' not in page


def test_recipe_on_the_page_is_python_that_names_the_saved_files(page):
    recipe = re.search(r'<pre[^>]*>(.*?)</pre>', page, re.S).group(1)
    recipe = html.unescape(re.sub(r'<[^>]+>', '', recipe))
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
        write_page([scan], tmp_path / ('n' * 300))


def test_page_says_how_much_of_the_scene_is_padding(make_scan, tmp_path):
    scan = make_scan('one')
    write_page([scan], tmp_path / 'page.html')
    text = without_scripts((tmp_path / 'page.html').read_text(encoding='utf-8'))
    assert 'Shaded: what the test pipeline pads' in text
    assert '72 x 46 px (width x height), of these the photo 64 x 40 px' in text
    words = [each['words'] for each in page_data([scan], ['one'])['scans'][0]['maps']]
    assert not any('padded' in sentence for sentence in words[0])
    share = 1 - 40 * 64 / (46 * 72)
    assert any(f'{100 * share:.0f} % of the scene is padded' in each for each in words[-1])


def test_weakest_strips_are_told_with_their_place_and_score(scan):
    write_page([scan], scan.folder / 'page.html')
    text = without_scripts((scan.folder / 'page.html').read_text(encoding='utf-8'))
    row = re.search(r'<th scope="row">worst column</th>(.*?)</tr>', text, re.S).group(1)
    strips = [each['worst_col'] for each in scan.info.statistics['maps']]
    assert len(strips) == 2
    for strip in strips:
        assert strip['equal'] == 1
        assert f'{strip["distance"]} px from the {strip["side"]}: {strip["mean"]:.3f}' in row


def test_scans_side_by_side_show_each_figure_and_its_change(make_scan, tmp_path):
    one, two = make_scan('zeros', scores=1), make_scan('reflect', scores=2)
    write_page([one, two], tmp_path / 'both.html')
    text = without_scripts((tmp_path / 'both.html').read_text(encoding='utf-8'))
    means = [scan.info.statistics['overall']['mean at 16 px']['mean'] for scan in (one, two)]
    row = re.search(r'<th scope="row">mean score at 16 px</th>(.*?)</tr>', text, re.S).group(1)
    cells = re.findall(r'<td class="n"[^>]*>([-+0-9.]+)', row)
    assert cells == [f'{means[0]:.3f}', f'{means[1]:.3f}', f'{means[1] - means[0]:+.3f}']
    assert row.count('[') == 3
    assert 'reflect minus zeros' in text
    # The answer comes first, before the summaries of both.
    (answer, *_) = re.findall(r'<div class="verdict"><p>(.*?)</p>', text, re.S)
    assert answer.startswith('reflect against zeros, at ')
    assert f'mean score {means[1] - means[0]:+.3f}' in text[: text.index('<strong>zeros')]


def test_scans_of_different_things_are_not_compared(make_scan, tmp_path):
    one = make_scan('one')
    for other, what in (
        (make_scan('bus', label='bus'), 'label'),
        (make_scan('elsewhere', inputs=1), 'scenes'),
    ):
        with pytest.raises(UserError, match=what):
            write_page([one, other], tmp_path / 'both.html')


def test_names_must_tell_scans_apart(make_scan, tmp_path):
    scans = [make_scan('one'), make_scan('two')]
    for names in (['a'], ['a', 'a']):
        with pytest.raises(UserError, match='different names'):
            write_page(scans, tmp_path / 'both.html', names)
