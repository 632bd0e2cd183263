"""The page of scans: one file that explains itself, with nothing to load from elsewhere."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image
from plotly.offline import get_plotlyjs
from rich.console import Console
from rich.table import Table

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.images import PathLike
from mindpad_mm.report.data import page_data
from mindpad_mm.report.render import write_html
from mindpad_mm.scan.paired import check_paired
from mindpad_mm.scan.result import ScanResult
from mindpad_mm.scan.statistics import paired_over_backgrounds

# (key in the statistics, name, what it means), in the order of the page's table.
FIGURES = (
    ('mean', 'mean score', 'over all positions that are not flagged'),
    ('percentiles.50', 'median score', ''),
    ('min', 'lowest score', 'at the single worst position'),
    ('blind_fraction', 'blind', 'share of positions that score below half the median'),
    ('zero_fraction', 'nothing found', 'share of positions without any overlapping detection'),
    ('worst_row.mean', 'worst row', 'mean of the weakest row of positions'),
    ('worst_col.mean', 'worst column', 'mean of the weakest column of positions'),
    ('border_effect.top', 'border, top', 'change of score there that the grid does not explain'),
    ('border_effect.bottom', 'border, bottom', ''),
    ('border_effect.left', 'border, left', ''),
    ('border_effect.right', 'border, right', ''),
    ('border_effect.corners', 'corners', ''),
    ('grid_phase.share', 'grid phase', "share of the interior's variance that repeats with the"
     " detector's grid: not padding's fault"),
    ('grid_phase.amplitude', 'grid amplitude', 'best phase of the grid minus the worst'),
    ('flicker.max', 'flicker', 'largest change between neighbouring positions'),
    ('flagged_fraction', 'flagged', 'share left out: the clean scene scores there by itself'),
)  # fmt: skip

_FALLBACK_WIDTH = 900
_DOTS_PER_INCH = 110


def report_scan(result: ScanResult) -> None:
    """Write ``heatmap.png`` and ``report.html`` beside a scan, and print its main figures.

    Args:
        result: A scan in its folder.

    Raises:
        UserError: The folder cannot be written to.
    """
    write_heatmap(result, result.folder / 'heatmap.png')
    write_page([result], result.folder / 'report.html')
    _print_summary(result)


def write_heatmap(result: ScanResult, path: PathLike) -> None:
    """Draw all maps of a scan to a PNG file.

    Raises:
        UserError: The file cannot be written.
    """
    try:
        result.plot().savefig(path, dpi=_DOTS_PER_INCH, metadata={'Software': None})
    except OSError as error:
        raise UserError(f'cannot write {str(path)!r}: {error.strerror}') from error


def write_page(
    results: Sequence[ScanResult], path: PathLike, names: Sequence[str] | None = None
) -> None:
    """Write the page of one scan, or of several beside each other with what changed.

    Args:
        results: Scans in their folders, of the same objects in the same scenes; changes are
            against the first.
        path: The HTML file.
        names: Of the scans. Default: their configs' names, or their folders' where configs are
            alike.

    Raises:
        UserError: The scans cannot be compared, the names are not one a scan, or the file cannot
            be written.
    """
    for other in results[1:]:
        check_paired(results[0], other)
    names = list(names or _default_names(results))
    if len(set(names)) != len(results):
        raise UserError(f'{len(results)} scans need as many different names, not {names}')
    scans = [
        {
            'name': name,
            'info': result.info,
            'config': Path(result.info.config).name,
            'checkpoint': Path(result.info.checkpoint or 'random weights').name,
            'heatmap': _small_heatmap(result),
        }
        for name, result in zip(names, results)
    ]
    write_html(
        path,
        'scan.html',
        scans=scans,
        scenes=len(results[0].scores),
        figures=_figure_rows(results),
        number=_number,
        data=page_data(results, names),
        plotly=Markup(get_plotlyjs()),
    )


def _default_names(results: Sequence[ScanResult]) -> list[str]:
    configs = [Path(result.info.config).stem for result in results]
    return configs if len(set(configs)) == len(results) else [str(r.folder) for r in results]


def _small_heatmap(result: ScanResult) -> str:
    """``heatmap.png``, drawn first where it is missing, as JPEG: for where no script may run."""
    file = result.folder / 'heatmap.png'
    if not file.is_file():
        write_heatmap(result, file)
    small = io.BytesIO()
    with Image.open(file) as image:
        image.thumbnail((_FALLBACK_WIDTH, image.height))
        image.convert('RGB').save(small, 'JPEG', quality=75)
    return base64.b64encode(small.getvalue()).decode()


def _figure_rows(results: Sequence[ScanResult]) -> list[dict[str, Any]]:
    """The rows of the table of figures: name, meaning, and a cell a scan and a change."""
    statistics = [result.info.statistics for result in results]
    changes = [
        paired_over_backgrounds(statistics[0]['maps'], other['maps']) for other in statistics[1:]
    ]
    rows = []
    for key, name, meaning in FIGURES:
        cells = [_cell(one['overall'].get(key), _number) for one in statistics]
        cells += [_cell(change.get(key), _signed) for change in changes]
        if any(cell['mean'] for cell in cells):
            rows.append({'name': name, 'meaning': meaning, 'cells': cells})
    return rows


def _cell(figure: dict[str, Any] | None, written: Callable[[float], str]) -> dict[str, str]:
    """A mean and its interval in text; empty where the figure is undefined."""
    if figure is None:
        return {'mean': '', 'interval': ''}
    interval = ', '.join(map(written, figure['interval'] or []))
    return {'mean': written(figure['mean']), 'interval': interval}


def _number(value: float | None) -> str:
    return 'undefined' if value is None else f'{value:.3f}'


def _signed(value: float) -> str:
    return f'{value:+.3f}'


def _print_summary(result: ScanResult) -> None:
    info = result.info
    table = Table('figure', 'mean', '95% over backgrounds', title=f'score of {info.label!r}')
    for row in _figure_rows([result]):
        (cell,) = row['cells']
        table.add_row(row['name'], cell['mean'], cell['interval'])
    console = Console()
    console.print(table)
    console.print(
        f'{info.positions} positions, {info.positions_per_second:.1f} a second '
        f'({info.engine} engine). Pictures: {result.folder / "report.html"}',
        highlight=False,
        soft_wrap=True,
    )
