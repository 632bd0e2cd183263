"""A comparison for people: tables in a terminal and in Markdown, and a page with pictures."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Picture
from rich.console import Console

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.tables import Table
from mindpad_mm.evaluation.comparison import LEAST_IMAGES, Comparison, EntryResult, Figure
from mindpad_mm.report.comparison_figures import draw_differences, draw_places
from mindpad_mm.report.page import FIGURES as SCAN_FIGURES
from mindpad_mm.report.page import write_page
from mindpad_mm.report.render import write_html
from mindpad_mm.scan import ScanResult

_DOTS_PER_INCH = 110
_ZONES = ('zone 0, outermost', 'zone 1', 'zone 2', 'zone 3', 'zone 4, centre')
_WIDTH = 160  # where there is no terminal to ask
NOTE = (
    'Brackets: 95 % intervals; * leaves out 0. On the test set they are percentiles of {draws} '
    'resamplings of its images, the same for all runs; of a group, the runs are resampled as well; '
    'places with objects in fewer than {least} images get none. '
    'In the scan they are Student\'s t over backgrounds, each its own pair. Of many intervals about '
    'one in twenty leaves out 0 by chance.'
)  # fmt: skip
_MOST_SCANS = 6  # on one page: it carries all their maps


def report_comparison(comparison: Comparison) -> None:
    """Write ``comparison.md``, ``report.html`` and, where there are scans, ``scans.html`` beside
    ``comparison.json``, and print the tables.

    Raises:
        UserError: A file cannot be written.
    """
    folder = comparison.folder
    tables = comparison_tables(comparison)
    note = NOTE.format(draws=comparison.info['draws'], least=LEAST_IMAGES)
    _write(folder / 'comparison.md', '\n'.join([*(t.markdown() for t in tables), f'{note}\n']))
    _write_page(comparison, tables, note)
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    for table in tables:
        console.print(table.rich())
    console.print(f'{note}\n', highlight=False, markup=False)
    console.print(f'{folder / "report.html"}', highlight=False, soft_wrap=True, markup=False)


def comparison_tables(comparison: Comparison) -> list[Table]:
    """The figures, and if there is more than one entry their differences; with a scan, of it too."""
    test_set = comparison.info['test_set']
    reference = comparison.reference.name
    on = f'{test_set["images"]} images, {test_set["objects"]} objects'
    names = dict(figure_names(comparison))
    several = len(comparison.entries) > 1
    tables = [_table(comparison, f'On {on}', names, lambda e: e.figures, _value)]
    if several:
        title = f'Against {reference}, on {on}'
        tables.append(_table(comparison, title, names, lambda e: e.differences, _change))
    if comparison.reference.scan_figures:
        names = {key: name for key, name, _ in SCAN_FIGURES}
        positions = 'In the scan'
        tables.append(_table(comparison, positions, names, lambda e: e.scan_figures, _value))
        if several:
            title = f'Against {reference}, in the scan'
            tables.append(_table(comparison, title, names, lambda e: e.scan_differences, _change))
    return tables


def figure_names(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """(key, name) of the figures on the test set that the tables show."""
    yield 'mAP', 'mAP'
    for percent in (20, 50, 75):
        yield f'mAP_{percent}', f'AP.{percent}'
    for index, zone in enumerate(_ZONES):
        yield f'zone{index}_mAP', f'mAP {zone}'
    yield 'zone_SP', 'zones, by area (SP)'
    yield 'zone_var', 'zones, variance'
    ends = [0, *comparison.info['border_px'], None]
    for low, high in itertools.pairwise(ends):
        key = f'border_{low:g}_{"up" if high is None else f"{high:g}"}_mAP'
        span = f'{low:g} px or more' if high is None else f'{low:g} to {high:g} px'
        yield key, f'mAP border {span}'


def _table(
    comparison: Comparison,
    title: str,
    names: dict[str, str],
    figures: Callable[[EntryResult], dict[str, Figure]],
    show: Callable[[Figure, int], str],
) -> Table:
    entries = [entry for entry in comparison.entries if figures(entry)]
    rows = []
    for key, name in names.items():
        found = [figures(entry).get(key, Figure(None)) for entry in entries]
        if any(figure.value is not None for figure in found):
            digits = 4 if key == 'zone_var' else 3
            rows.append([name, *(show(figure, digits) for figure in found)])
    return Table(['', *(_heading(entry) for entry in entries)], rows, title)


def _heading(entry: EntryResult) -> str:
    return entry.name + (f' ({len(entry.runs)} runs)' if len(entry.runs) > 1 else '')


def _value(figure: Figure, digits: int) -> str:
    if figure.value is None:
        return '-'
    sd = '' if figure.sd is None else f' ± {figure.sd:.{digits}f}'
    return f'{figure.value:.{digits}f}{sd}'


def _change(figure: Figure, digits: int) -> str:
    if figure.value is None:
        return '-'
    text = f'{figure.value:+.{digits}f}'
    if figure.interval is None:
        return text
    low, high = (f'{end:+.{digits}f}' for end in figure.interval)
    return f'{text} [{low}, {high}]{"*" if figure.excludes_zero else ""}'


def _write_page(comparison: Comparison, tables: list[Table], note: str) -> None:
    folder = comparison.folder
    names = {
        key: name
        for key, name in figure_names(comparison)
        if any(entry.figures[key].value is not None for entry in comparison.entries)
    }
    pictures = [('AP by place', draw_places(comparison, names))]
    if len(comparison.entries) > 1:
        pictures.append(('Differences with their intervals', draw_differences(comparison, names)))
    info = comparison.info
    write_html(
        folder / 'report.html',
        'comparison.html',
        title=', '.join(entry.name for entry in comparison.entries),
        entries=comparison.entries,
        pictures=[(alt, _png(picture)) for alt, picture in pictures],
        tables=tables,
        note=note,
        scans=_write_scans(comparison),
        info={name: value for name, value in info.items() if value not in (None, {}, [])},
        sure=list(_sure(comparison, names)),
        asked=sum(
            entry.differences[key].interval is not None
            for entry in comparison.entries[1:]
            for key in names
        ),
    )


def _sure(comparison: Comparison, names: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """(entry, figure, change) of the differences whose interval leaves out 0."""
    for entry in comparison.entries[1:]:
        for key, name in names.items():
            figure = entry.differences[key]
            if figure.value is not None and figure.excludes_zero:
                digits = 4 if key == 'zone_var' else 3
                yield entry.name, name, _change(figure, digits).rstrip('*')


def _write_scans(comparison: Comparison) -> str | None:
    """Write the page of the first scan of each entry; its name, None without scans."""
    scans = {
        entry.name: ScanResult.load(entry.runs[0]['scan'])
        for entry in comparison.entries
        if entry.runs[0]['scan']
    }
    if not scans:
        return None
    shown = list(scans)[:_MOST_SCANS]
    write_page([scans[name] for name in shown], comparison.folder / 'scans.html', shown)
    return 'scans.html'


def _png(picture: Picture) -> str:
    file = io.BytesIO()
    FigureCanvasAgg(picture)
    picture.savefig(file, format='png', dpi=_DOTS_PER_INCH, metadata={'Software': None})
    return base64.b64encode(file.getvalue()).decode()


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding='utf-8')
    except OSError as error:
        raise UserError(f'cannot write {str(path)!r}: {error.strerror}') from error
