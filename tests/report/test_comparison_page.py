"""Tables and page of a comparison with given values."""

from __future__ import annotations

import dataclasses
import re

import pytest

from mindpad_mm.evaluation.comparison import (
    Comparison,
    EntryResult,
    RunResult,
    TestSetSummary,
)
from mindpad_mm.evaluation.metrics import Metric
from mindpad_mm.evaluation.regions import BorderBins, Zones
from mindpad_mm.evaluation.verdict import border_key, verdict
from mindpad_mm.report.comparison_page import (
    comparison_tables,
    metric_names,
    report_comparison,
)
from mindpad_mm.report.comparison_plots import draw_regions

REGIONS = ('all', *Zones.names, *BorderBins((8,)).names)


def entry(name, shift=0.0, sd=None):
    keys = ['mAP', 'mAP_20', 'mAP_50', 'mAP_75', 'zone_SP', 'zone_var']
    keys += [f'{region}_mAP' for region in REGIONS[1:]]
    metrics = {key: Metric(0.5 + shift, sd, (0.45 + shift, 0.55 + shift)) for key in keys}
    metrics['zone4_mAP'] = Metric(None)
    differences = {key: Metric(shift, None, (shift - 0.02, shift + 0.02)) for key in keys}
    differences['zone4_mAP'] = Metric(None)
    differences['zone3_mAP'] = Metric(shift)
    run = RunResult('a.py', 'b.pth', name, {}, 0, 'c.json', None, {})
    return EntryResult(
        name, [run] * (1 if sd is None else 3), metrics, differences if shift else {}
    )


@pytest.fixture
def comparison(tmp_path):
    test_set = TestSetSummary(
        'x.json',
        ['car'],
        40,
        90,
        dict.fromkeys(REGIONS, 15),
        {**dict.fromkeys(REGIONS, 31.6), 'zone4': None},
    )
    entries = [entry('zeros'), entry('<b>&|', 0.05), entry('seeds', 0.01, sd=0.007)]
    return Comparison(entries, tmp_path, test_set, draws=100, seed=0, border_px=[8])


def cells(table, name):
    return next(list(row[1:]) for row in table.rows if row[0] == name)


def test_values_come_with_their_deviation_and_differences_with_their_interval(comparison):
    values, changes, _ = comparison_tables(comparison)
    assert list(values.columns) == ['', 'zeros', '<b>&|', 'seeds (3 runs)']
    assert cells(values, 'AP.20') == ['0.500', '0.550', '0.510 ± 0.007']
    assert cells(changes, 'mAP') == ['+0.050 [+0.030, +0.070]*', '+0.010 [-0.010, +0.030]']
    assert cells(changes, 'mAP zone 3') == ['+0.050', '+0.010']  # too few images
    assert cells(changes, 'zones, variance')[1] == '+0.0100 [-0.0100, +0.0300]'


def test_metrics_that_are_undefined_everywhere_have_no_row(comparison):
    names = dict(metric_names(comparison))
    rows = [row[0] for row in comparison_tables(comparison)[0].rows]
    assert set(names.values()) - set(rows) == {'mAP zone 4, centre'}


def test_page_marks_decided_differences_and_escapes_names(comparison):
    report_comparison(comparison)
    page = (comparison.folder / 'report.html').read_text(encoding='utf-8')
    listed = re.findall('<li><b>(.*?)</b>: (.*)</li>', page)
    assert listed
    assert {name for name, _ in listed} == {'&lt;b&gt;&amp;|'}
    assert ('&lt;b&gt;&amp;|', 'mAP +0.050 [+0.030, +0.070]') in listed
    assert page.count('<img') == 2
    assert not (comparison.folder / 'scans.html').exists()
    assert '\\|' in (comparison.folder / 'comparison.md').read_text(encoding='utf-8')


def test_a_single_run_is_shown_without_differences(comparison):
    alone = dataclasses.replace(comparison, entries=comparison.entries[:1])
    report_comparison(alone)
    assert not any('Difference' in table.title for table in comparison_tables(alone))
    assert (comparison.folder / 'report.html').read_text().count('<img') == 1


def test_without_intervals_no_difference_is_judged(comparison):
    for name in comparison.entries[1].differences:
        for one in comparison.entries[1:]:
            one.differences[name] = Metric(0.01)
    report_comparison(comparison)
    page = (comparison.folder / 'report.html').read_text(encoding='utf-8')
    assert 'No difference to zeros has an interval' in page
    assert 'no significant difference' not in page


def test_names_are_neither_formulas_nor_markup(comparison, capsys):
    names = ['$^$', '_[/b]', 'a[red]$_$']
    entries = [entry(name, 0.1 * index) for index, name in enumerate(names)]
    report_comparison(dataclasses.replace(comparison, entries=entries), verbose=True)
    printed = capsys.readouterr().out
    assert all(name in printed for name in names)
    assert 'Difference to $^$' in printed
    assert '_[/b] against $^$ on' in printed
    figure = draw_regions(comparison, dict(metric_names(comparison)))
    assert len(figure.legends[0].get_texts()) == len(comparison.entries)


def test_more_entries_than_colours_are_drawn(comparison):
    many = [comparison.entries[0], *(entry(str(k), 0.01 * k) for k in range(1, 12))]
    report_comparison(dataclasses.replace(comparison, entries=many))


def test_regions_are_said_not_to_be_matched_by_size(comparison):
    """Their objects' sizes stand beside them: mAP "best at the border" can be large objects."""
    table = next(t for t in comparison_tables(comparison) if 'not matched by size' in t.title)
    assert [row[1:] for row in table.rows].count(['15', '-']) == 1
    assert all(row[1:] == ['15', '32 px'] for row in table.rows if row[2] != '-')
    report_comparison(comparison)
    for file in ('report.html', 'comparison.md'):
        assert 'not matched by object size' in (comparison.folder / file).read_text('utf-8')


def test_scan_statistics_of_several_sizes_stand_apart(comparison):
    scans = {'mean at 24 px': Metric(0.25), 'mean at 40 px': Metric(0.75)}
    entries = [dataclasses.replace(each, scan_metrics=scans) for each in comparison.entries]
    tables = comparison_tables(dataclasses.replace(comparison, entries=entries))
    scan = next(table for table in tables if table.title == 'Scan')
    assert [row[:2] for row in scan.rows] == [
        ['mean score at 24 px', '0.250'],
        ['mean score at 40 px', '0.750'],
    ]


@pytest.mark.parametrize(
    ('value', 'interval', 'word'),
    [
        (0.05, (0.01, 0.09), 'better'),
        (-0.05, (-0.09, -0.01), 'worse'),
        (0.05, (-0.01, 0.09), 'undecided'),
        (0.05, None, 'undecided: too few images or draws for an interval'),
        (0.0, (0, 0), 'no difference'),
    ],
)
def test_the_verdict_calls_a_difference_what_its_interval_says(comparison, value, interval, word):
    reference, other = comparison.entries[:2]
    for key in ('mAP', border_key(comparison)):
        other.differences[key] = Metric(value, None, interval)
    (sentence,) = verdict(dataclasses.replace(comparison, entries=[reference, other]))
    assert sentence.count(f', {word}') == 2
    measured = dataclasses.replace(comparison, entries=[reference, other]).measured()
    assert measured[f'mAP@{other.name}'] == (value, interval)
