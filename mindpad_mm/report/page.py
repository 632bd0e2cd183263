"""The page of one or several scans, a single self-contained HTML file."""

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
from mindpad_mm.scan import BackgroundMean, ScanResult, check_paired, paired_over_backgrounds

# (key in the statistics, name, meaning), in the order of the page's table.
METRICS = (
    ('mean', 'mean score', 'over all positions that are not flagged'),
    ('percentiles.50', 'median score', ''),
    ('min', 'lowest score', 'at the single worst position'),
    ('blind_fraction', 'blind', 'share of positions that score below half the median'),
    ('zero_fraction', 'nothing found', 'share of positions without any overlapping detection'),
    ('worst_row.mean', 'worst row', 'mean of the weakest row of positions'),
    ('worst_col.mean', 'worst column', 'mean of the weakest column of positions'),
    ('border_effect.top', 'border, top', 'change of score near that border, without the grid pattern'),
    ('border_effect.bottom', 'border, bottom', ''),
    ('border_effect.left', 'border, left', ''),
    ('border_effect.right', 'border, right', ''),
    ('border_effect.corners', 'corners', ''),
    ('grid_phase.share', 'grid phase', "share of the interior's variance that repeats with the"
     " detector's grid; not caused by padding"),
    ('grid_phase.amplitude', 'grid amplitude', 'mean score at the best phase minus that at the worst'),
    ('flicker.max', 'flicker', 'largest change between neighbouring positions'),
    ('flagged_fraction', 'flagged', 'share of positions left out: the clean scene has a detection there'),
)  # fmt: skip

_FALLBACK_WIDTH = 900
_DOTS_PER_INCH = 110


def report_scan(result: ScanResult) -> None:
    """Write ``heatmap.png`` and ``report.html`` to a scan's folder, and print its main metrics.

    Args:
        result: A saved scan.

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
    """Write the page of one scan, or of several scans side by side with their differences.

    Args:
        results: Saved scans of the same objects in the same scenes; differences are to the first.
        path: HTML file to write.
        names: Names of the scans. Default: the names of their configs, or of their folders if two
            configs have the same name.

    Raises:
        UserError: The scans cannot be compared, ``names`` does not give each scan a name of its own,
            or the file cannot be written.
    """
    for other in results[1:]:
        check_paired(results[0], other)
    names = list(names or _default_names(results))
    if len(set(names)) != len(results):
        raise UserError(f'`names`: {len(results)} scans need as many different names, not {names}')
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
        metrics=_metric_rows(results),
        number=_number,
        data=page_data(results, names),
        plotly=Markup(get_plotlyjs()),
    )


def _default_names(results: Sequence[ScanResult]) -> list[str]:
    configs = [Path(result.info.config).stem for result in results]
    return configs if len(set(configs)) == len(results) else [str(r.folder) for r in results]


def _small_heatmap(result: ScanResult) -> str:
    """``heatmap.png`` (drawn if missing) as a small JPEG, shown if scripts are disabled."""
    file = result.folder / 'heatmap.png'
    if not file.is_file():
        write_heatmap(result, file)
    small = io.BytesIO()
    with Image.open(file) as image:
        image.thumbnail((_FALLBACK_WIDTH, image.height))
        image.convert('RGB').save(small, 'JPEG', quality=75)
    return base64.b64encode(small.getvalue()).decode()


def _metric_rows(results: Sequence[ScanResult]) -> list[dict[str, Any]]:
    """Rows of the table of metrics: name, meaning, one cell per scan and one per difference."""
    statistics = [result.info.statistics for result in results]
    changes = [
        paired_over_backgrounds(statistics[0]['maps'], other['maps']) for other in statistics[1:]
    ]
    rows = []
    for key, name, meaning in METRICS:
        cells = [_cell(one['overall'].get(key), _number) for one in statistics]
        cells += [_cell(change.get(key), _signed) for change in changes]
        if any(cell['mean'] for cell in cells):
            rows.append({'name': name, 'meaning': meaning, 'cells': cells})
    return rows


def _cell(metric: BackgroundMean | None, to_text: Callable[[float], str]) -> dict[str, str]:
    """A mean and its interval as text; empty if undefined."""
    if metric is None:
        return {'mean': '', 'interval': ''}
    interval = ', '.join(map(to_text, metric['interval'] or []))
    return {'mean': to_text(metric['mean']), 'interval': interval}


def _number(value: float | None) -> str:
    return 'undefined' if value is None else f'{value:.3f}'


def _signed(value: float) -> str:
    return f'{value:+.3f}'


def _print_summary(result: ScanResult) -> None:
    info = result.info
    table = Table(
        'metric', 'mean', '95% interval over backgrounds', title=f'score of {info.label!r}'
    )
    for row in _metric_rows([result]):
        (cell,) = row['cells']
        table.add_row(row['name'], cell['mean'], cell['interval'])
    console = Console()
    console.print(table)
    console.print(
        f'{info.positions} positions, {info.positions_per_second:.1f} a second '
        f'({info.engine} engine). Page: {result.folder / "report.html"}',
        highlight=False,
        soft_wrap=True,
    )
