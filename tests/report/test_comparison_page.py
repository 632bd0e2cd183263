"""Tables and page of a comparison made up by hand."""

from __future__ import annotations

import re

import pytest

from mindpad_mm.evaluation.comparison import Comparison, EntryResult, Figure
from mindpad_mm.evaluation.regions import BorderBins, Zones
from mindpad_mm.report.comparison_figures import draw_places
from mindpad_mm.report.comparison_page import (
    comparison_tables,
    figure_names,
    report_comparison,
)

REGIONS = ('all', *Zones.names, *BorderBins((8,)).names)


def entry(name, shift=0.0, sd=None):
    keys = ['mAP', 'mAP_20', 'mAP_50', 'mAP_75', 'zone_SP', 'zone_var']
    keys += [f'{region}_mAP' for region in REGIONS[1:]]
    figures = {key: Figure(0.5 + shift, sd, (0.45 + shift, 0.55 + shift)) for key in keys}
    figures['zone4_mAP'] = Figure(None)
    differences = {key: Figure(shift, None, (shift - 0.02, shift + 0.02)) for key in keys}
    differences['zone4_mAP'] = Figure(None)
    differences['zone3_mAP'] = Figure(shift)
    run = {
        'name': name, 'config': 'a.py', 'checkpoint': 'b.pth', 'cfg_options': {}, 'recalibrate': 0,
        'detections': 'c.json', 'scan': None,
    }  # fmt: skip
    return EntryResult(
        name, [run] * (1 if sd is None else 3), figures, differences if shift else {}
    )


@pytest.fixture
def comparison(tmp_path):
    test_set = {'ann_file': 'x.json', 'classes': ['car'], 'images': 40, 'objects': 90}
    test_set['objects_by_region'] = dict.fromkeys(REGIONS, 15)
    info = {'test_set': test_set, 'draws': 100, 'seed': 0, 'border_px': [8], 'scan': None}
    entries = [entry('zeros'), entry('<b>&|', 0.05), entry('seeds', 0.01, sd=0.007)]
    return Comparison(entries, info, tmp_path)


def cells(table, name):
    return next(list(row[1:]) for row in table.rows if row[0] == name)


def test_values_come_with_their_deviation_and_differences_with_their_interval(comparison):
    values, changes = comparison_tables(comparison)
    assert list(values.columns) == ['', 'zeros', '<b>&|', 'seeds (3 runs)']
    assert cells(values, 'AP.20') == ['0.500', '0.550', '0.510 ± 0.007']
    assert cells(changes, 'mAP') == ['+0.050 [+0.030, +0.070]*', '+0.010 [-0.010, +0.030]']
    assert cells(changes, 'mAP zone 3') == ['+0.050', '+0.010']  # too few images
    assert cells(changes, 'zones, variance')[1] == '+0.0100 [-0.0100, +0.0300]'


def test_what_is_undefined_everywhere_has_no_row(comparison):
    names = dict(figure_names(comparison))
    rows = [row[0] for row in comparison_tables(comparison)[0].rows]
    assert set(names.values()) - set(rows) == {'mAP zone 4, centre'}


def test_page_tells_what_is_sure_and_takes_names_as_text(comparison):
    report_comparison(comparison)
    page = (comparison.folder / 'report.html').read_text(encoding='utf-8')
    listed = re.findall('<li><b>(.*?)</b>: (.*)</li>', page)
    assert listed
    assert {name for name, _ in listed} == {'&lt;b&gt;&amp;|'}
    assert ('&lt;b&gt;&amp;|', 'mAP +0.050 [+0.030, +0.070]') in listed
    assert page.count('data:image/png;base64,') == 2
    assert not (comparison.folder / 'scans.html').exists()
    assert '\\|' in (comparison.folder / 'comparison.md').read_text(encoding='utf-8')


def test_a_single_run_is_shown_without_differences(comparison):
    alone = Comparison(comparison.entries[:1], comparison.info, comparison.folder)
    report_comparison(alone)
    assert len(comparison_tables(alone)) == 1
    assert (comparison.folder / 'report.html').read_text().count('data:image/png') == 1


def test_without_any_interval_nothing_is_said_to_be_told_apart_or_not(comparison):
    for name in comparison.entries[1].differences:
        for one in comparison.entries[1:]:
            one.differences[name] = Figure(0.01)
    report_comparison(comparison)
    page = (comparison.folder / 'report.html').read_text(encoding='utf-8')
    assert 'No difference to zeros has an interval' in page
    assert 'does not tell them apart' not in page


def test_names_are_neither_formulas_nor_markup(comparison, capsys):
    names = ['$^$', '_[/b]', 'a[red]$_$']
    entries = [entry(name, 0.1 * index) for index, name in enumerate(names)]
    report_comparison(Comparison(entries, comparison.info, comparison.folder))
    printed = capsys.readouterr().out
    assert all(name in printed for name in names)
    assert 'Against $^$' in printed
    picture = draw_places(comparison, dict(figure_names(comparison)))
    assert len(picture.legends[0].get_texts()) == len(comparison.entries)


def test_more_entries_than_colours_are_drawn(comparison):
    many = [comparison.entries[0], *(entry(str(k), 0.01 * k) for k in range(1, 12))]
    report_comparison(Comparison(many, comparison.info, comparison.folder))
