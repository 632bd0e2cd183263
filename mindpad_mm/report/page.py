"""The page of a scan: one file that explains itself, with nothing to load from elsewhere."""

from __future__ import annotations

import base64
from pathlib import Path

from jinja2 import Environment, PackageLoader
from rich.console import Console
from rich.table import Table

from mindpad_mm.errors import UserError
from mindpad_mm.report.heatmap import write_heatmap
from mindpad_mm.scan.images import PathLike
from mindpad_mm.scan.result import ScanResult

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


def report_scan(result: ScanResult) -> None:
    """Write ``heatmap.png`` and ``report.html`` beside a scan, and print its main figures.

    Args:
        result: A scan in its folder.

    Raises:
        UserError: The folder cannot be written to.
    """
    write_heatmap(result, result.folder / 'heatmap.png')
    write_page(result, result.folder / 'report.html')
    _print_summary(result)


def write_page(result: ScanResult, path: PathLike) -> None:
    """Write the page of a scan whose folder holds ``heatmap.png``.

    Raises:
        UserError: The file cannot be written.
    """
    environment = Environment(
        loader=PackageLoader('mindpad_mm.report'), autoescape=True, trim_blocks=True
    )
    info = result.info
    html = environment.get_template('scan.html').render(
        info=info,
        config=Path(info['config']).name,
        checkpoint=Path(info['checkpoint'] or 'random weights').name,
        heatmap=base64.b64encode((result.folder / 'heatmap.png').read_bytes()).decode(),
        figures=_overall_rows(result),
        maps=info['statistics']['maps'],
        number=_number,
    )
    try:
        Path(path).write_text(html, encoding='utf-8')
    except OSError as error:
        raise UserError(f'cannot write {str(path)!r}: {error.strerror}') from error


def _overall_rows(result: ScanResult) -> list[dict[str, str]]:
    """The rows of the table of figures: name, value, interval and meaning; undefined ones left out."""
    overall = result.info['statistics']['overall']
    rows = []
    for key, name, meaning in FIGURES:
        if key in overall:
            low_high = overall[key]['interval'] or []
            rows.append(
                {
                    'name': name,
                    'value': _number(overall[key]['mean']),
                    'interval': ' to '.join(map(_number, low_high)),
                    'meaning': meaning,
                }
            )
    return rows


def _number(value: float | None) -> str:
    return 'undefined' if value is None else f'{value:.3f}'


def _print_summary(result: ScanResult) -> None:
    info = result.info
    table = Table('figure', 'mean', '95% over backgrounds', title=f'score of {info["label"]!r}')
    for row in _overall_rows(result):
        table.add_row(row['name'], row['value'], row['interval'])
    console = Console()
    console.print(table)
    console.print(
        f'{info["positions"]} positions, {info["positions_per_second"]:.1f} a second '
        f'({info["engine"]} engine). Pictures: {result.folder / "report.html"}',
        highlight=False,
        soft_wrap=True,
    )
