"""Tables and page of a comparison."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterator

from rich.console import Console

from mindpad_mm.core.files import save_text
from mindpad_mm.core.tables import Table
from mindpad_mm.evaluation.comparison import Comparison, EntryResult
from mindpad_mm.evaluation.metrics import LEAST_IMAGES, Metric
from mindpad_mm.evaluation.verdict import border_key, verdict
from mindpad_mm.report.comparison_plots import draw_differences, draw_regions
from mindpad_mm.report.page import METRICS as SCAN_METRICS
from mindpad_mm.report.page import write_page
from mindpad_mm.report.paths import without_folders
from mindpad_mm.report.pictures import picture
from mindpad_mm.report.render import write_html
from mindpad_mm.scan import ScanResult

_ZONES = ('zone 0, outermost', 'zone 1', 'zone 2', 'zone 3', 'zone 4, centre')
_WIDTH = 160  # if the output is not a terminal
NOTE = (
    'Brackets: 95 % confidence intervals; * excludes 0. Test set: percentiles of {draws} bootstrap '
    'draws of the images, the same draws for all runs; in groups the runs are resampled as well; '
    'no interval for regions with objects in fewer than {least} images. '
    'Scan: over backgrounds; differences: Student\'s t, paired by background. '
    'Zones and border distances are not matched by object size: objects near a border may be larger '
    'or smaller than others, so compare runs within a region, not regions of a run. '
    'About one in twenty intervals excludes 0 by chance.'
)  # fmt: skip
_MOST_SCANS = 6  # on one page, which contains all their maps


def report_comparison(comparison: Comparison, verbose: bool = False) -> None:
    """Write ``comparison.md``, ``report.html`` and, with scans, ``scans.html``; print the verdict.

    The files are written to the folder of ``comparison.json``.

    Args:
        comparison: The comparison.
        verbose: Whether to print all tables. Default: the main metrics.

    Raises:
        UserError: A file cannot be written.
    """
    folder = comparison.folder
    tables = comparison_tables(comparison)
    note = NOTE.format(draws=comparison.draws, least=LEAST_IMAGES)
    sentences = verdict(comparison)
    parts = ['\n'.join(f'- {sentence}' for sentence in sentences) + '\n']
    parts += [*(table.markdown() for table in tables), f'{note}\n']
    save_text(folder / 'comparison.md', '\n'.join(parts))
    _write_page(comparison, tables, note)
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    for sentence in sentences:
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)
    console.print()
    for table in tables if verbose else [_main_table(comparison)]:
        console.print(table.rich())
    if verbose:
        console.print(f'{note}\n', highlight=False, markup=False)
    console.print(f'{folder / "report.html"}', highlight=False, soft_wrap=True, markup=False)


def _main_table(comparison: Comparison) -> Table:
    """mAP, AP.50 and the mAP of the objects next to the border."""
    keys = ('mAP', 'mAP_50', border_key(comparison))
    names = {key: name for key, name in metric_names(comparison) if key in keys}
    return _table(comparison, '', names, lambda e: e.metrics, _value)


def comparison_tables(comparison: Comparison) -> list[Table]:
    """Tables of the metrics and differences, on the test set and in the scan if there is one."""
    test_set = comparison.test_set
    reference = comparison.reference.name
    size = f'{test_set.images} images, {test_set.objects} objects'
    names = dict(metric_names(comparison))
    several = len(comparison.entries) > 1
    tables = [_table(comparison, f'Test set: {size}', names, lambda e: e.metrics, _value)]
    if several:
        title = f'Difference to {reference}, test set: {size}'
        tables.append(_table(comparison, title, names, lambda e: e.differences, _change))
    tables.append(_region_table(comparison))
    names = {
        f'{name}_precision': name
        for name in test_set.classes
        if f'{name}_precision' in comparison.reference.metrics
    }
    if names:  # the evaluator is classwise
        tables.append(_table(comparison, 'mAP by class', names, lambda e: e.metrics, _value))
        if several:
            title = f'Difference to {reference}, mAP by class'
            tables.append(_table(comparison, title, names, lambda e: e.differences, _change))
    if comparison.reference.scan_metrics:
        # With several sizes, names of statistics end with the size.
        ends = [re.search(r'( at \d+ px)?$', key) for key in comparison.reference.scan_metrics]
        sizes = dict.fromkeys(end.group() for end in ends if end)
        names = {key + size: name + size for size in sizes for key, name, _ in SCAN_METRICS}
        tables.append(_table(comparison, 'Scan', names, lambda e: e.scan_metrics, _value))
        if several:
            title = f'Difference to {reference}, scan'
            tables.append(_table(comparison, title, names, lambda e: e.scan_differences, _change))
    return tables


def _region_table(comparison: Comparison) -> Table:
    """Number and median size of the objects of every region."""
    test_set = comparison.test_set
    keys = {key: name for key, name in metric_names(comparison) if key.endswith('_mAP')}
    rows = []
    for key, name in keys.items():
        region = key.removesuffix('_mAP')
        size = test_set.sizes_by_region[region]
        shown = '-' if size is None else f'{size:.0f} px'
        rows.append([name.removeprefix('mAP '), str(test_set.objects_by_region[region]), shown])
    title = 'Objects by region, not matched by size'
    return Table(['', 'objects', 'median size'], rows, title)


def metric_names(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """(key, name to show) of the test-set metrics in the tables."""
    yield 'mAP', 'mAP'
    for percent in (20, 50, 75):
        yield f'mAP_{percent}', f'AP.{percent}'
    for index, zone in enumerate(_ZONES):
        yield f'zone{index}_mAP', f'mAP {zone}'
    yield 'zone_SP', 'zones, weighted by area (SP)'
    yield 'zone_var', 'zones, variance'
    ends = [0, *comparison.border_px, None]
    for low, high in itertools.pairwise(ends):
        key = f'border_{low:g}_{"up" if high is None else f"{high:g}"}_mAP'
        span = f'{low:g} px or more' if high is None else f'{low:g} to {high:g} px'
        yield key, f'mAP border {span}'


def _table(
    comparison: Comparison,
    title: str,
    names: dict[str, str],
    metrics: Callable[[EntryResult], dict[str, Metric]],
    show: Callable[[Metric, int], str],
) -> Table:
    entries = [entry for entry in comparison.entries if metrics(entry)]
    rows = []
    for key, name in names.items():
        found = [metrics(entry).get(key, Metric(None)) for entry in entries]
        if any(metric.value is not None for metric in found):
            digits = 4 if key == 'zone_var' else 3
            rows.append([name, *(show(metric, digits) for metric in found)])
    return Table(['', *(_heading(entry) for entry in entries)], rows, title)


def _heading(entry: EntryResult) -> str:
    return entry.name + (f' ({len(entry.runs)} runs)' if len(entry.runs) > 1 else '')


def _value(metric: Metric, digits: int) -> str:
    if metric.value is None:
        return '-'
    sd = '' if metric.sd is None else f' ± {metric.sd:.{digits}f}'
    return f'{metric.value:.{digits}f}{sd}'


def _change(metric: Metric, digits: int) -> str:
    if metric.value is None:
        return '-'
    text = f'{metric.value:+.{digits}f}'
    if metric.interval is None:
        return text
    low, high = (f'{end:+.{digits}f}' for end in metric.interval)
    return f'{text} [{low}, {high}]{"*" if metric.excludes_zero else ""}'


def _write_page(comparison: Comparison, tables: list[Table], note: str) -> None:
    folder = comparison.folder
    names = {
        key: name
        for key, name in metric_names(comparison)
        if any(entry.metrics[key].value is not None for entry in comparison.entries)
    }
    regions = functools.partial(draw_regions, comparison, names)
    plots = [('mAP by region', picture(regions, stacked=True))]
    if len(comparison.entries) > 1:
        differences = functools.partial(draw_differences, comparison, names)
        plots.append(('Differences with 95 % intervals', picture(differences)))
    write_html(
        folder / 'report.html',
        'comparison.html',
        title=', '.join(entry.name for entry in comparison.entries),
        verdict=verdict(comparison),
        entries=comparison.entries,
        plots=plots,
        tables=tables,
        note=note,
        scans=_write_scans(comparison),
        test_set=comparison.test_set,
        shown=without_folders,
        settings=without_folders(
            {
                name: value
                for name, value in comparison.settings_to_json().items()
                if value not in (None, {}, [])
            }
        ),
        significant=list(_significant(comparison, names)),
        tested=sum(
            entry.differences[key].interval is not None
            for entry in comparison.entries[1:]
            for key in names
        ),
    )


def _significant(comparison: Comparison, names: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """(entry, metric, change) of the differences whose interval excludes 0."""
    for entry in comparison.entries[1:]:
        for key, name in names.items():
            metric = entry.differences[key]
            if metric.excludes_zero:
                digits = 4 if key == 'zone_var' else 3
                yield entry.name, name, _change(metric, digits).rstrip('*')


def _write_scans(comparison: Comparison) -> str | None:
    """Write the page of the first scan of each entry.

    Returns:
        The name of the file, None without scans.
    """
    scans = {
        entry.name: ScanResult.load(entry.runs[0].scan)
        for entry in comparison.entries
        if entry.runs[0].scan
    }
    if not scans:
        return None
    shown = list(scans)[:_MOST_SCANS]
    write_page([scans[name] for name in shown], comparison.folder / 'scans.html', shown)
    return 'scans.html'
