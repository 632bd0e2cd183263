"""The page of one or several scans, a single self-contained HTML file."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from rich.table import Table

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.files import written_whole
from mindpad_mm.core.names import PathLike
from mindpad_mm.report.data import page_data, period_text, strip_place
from mindpad_mm.report.extras import WINDOWS_NOTE, extra_tables
from mindpad_mm.report.paths import shown_path, without_folders
from mindpad_mm.report.render import write_html
from mindpad_mm.scan import (
    BackgroundMean,
    ScanResult,
    ScanStatistics,
    change_words,
    check_paired,
    paired_over_backgrounds,
    sized_name,
    sizes_of,
)

# (key in the statistics, name, meaning), in the order of the page's table.
METRICS = (
    ('mean', 'mean score', 'over all positions that are not flagged'),
    ('percentiles.50', 'median score', ''),
    ('min', 'lowest score', 'at the single worst position'),
    ('blind_fraction', 'blind', 'share of positions that score below half the mean of the best tenth'),
    ('zero_fraction', 'nothing found', 'share of positions without any overlapping detection'),
    ('worst_row.mean', 'worst row', 'mean score of the weakest row of positions'),
    ('worst_col.mean', 'worst column', 'mean score of the weakest column of positions'),
    ('loss.border', 'loss at the border', 'score with the border far minus score, within 16 px of a side:'
     ' free of the scene; above 0: the border costs score'),
    ('loss.interior', 'loss inside', 'the same, far from all sides: no border can matter there'),
    ('loss.top', 'loss, top', 'within 16 px of that side only'),
    ('loss.bottom', 'loss, bottom', ''),
    ('loss.left', 'loss, left', ''),
    ('loss.right', 'loss, right', ''),
    ('loss.corners', 'loss, corners', ''),
    ('edge_drop.top', 'edge drop, top', 'mean score of the lines next to the outermost line minus that'
     ' of the outermost line, without the grid pattern. Positive: the score falls towards the edge.'
     ' Scene and border are not told apart'),
    ('edge_drop.bottom', 'edge drop, bottom', ''),
    ('edge_drop.left', 'edge drop, left', ''),
    ('edge_drop.right', 'edge drop, right', ''),
    ('grid_phase.share', 'grid phase', "share of the variance around the local mean that repeats with the"
     " detector's grid, where the object is found; not caused by padding"),
    ('grid_phase.amplitude', 'grid amplitude', 'mean score at the best phase minus that at the worst'),
    ('flicker.max', 'flicker', 'largest change between neighbouring positions'),
    ('flagged_fraction', 'flagged', 'share of positions left out: the clean scene has a detection there'),
)  # fmt: skip

# Places of weakest strips in a cell of the table.
_MOST_PLACES = 4
_FALLBACK_WIDTH = 900
_DOTS_PER_INCH = 110


def report_scan(result: ScanResult, verbose: bool = False) -> None:
    """Write ``heatmap.png`` and ``report.html`` to a scan's folder, and print its summary.

    Args:
        result: A saved scan.
        verbose: Whether to print the table of all metrics as well.

    Raises:
        UserError: The folder cannot be written to.
    """
    write_heatmap(result, result.folder / 'heatmap.png')
    write_page([result], result.folder / 'report.html')
    _print_summary(result, verbose)


def write_heatmap(result: ScanResult, path: PathLike) -> None:
    """Draw all maps of a scan to a PNG file.

    Raises:
        UserError: The file cannot be written.
    """
    with written_whole(Path(path)) as file:
        result.plot().savefig(file, format='png', dpi=_DOTS_PER_INCH, metadata={'Software': None})


def write_page(
    results: Sequence[ScanResult], path: PathLike, names: Sequence[str] | None = None
) -> list[str]:
    """Write the page of one scan, or of several scans side by side with their differences.

    Args:
        results: Saved scans of the same objects in the same scenes; differences are to the first.
        path: HTML file to write.
        names: Names of the scans. Default: the names of their configs, or of their folders if two
            configs have the same name.

    Returns:
        What changed in each further scan, in a sentence for each size of the object.

    Raises:
        UserError: The scans cannot be compared, ``names`` does not give each scan a name of its own,
            or the file cannot be written.
    """
    for other in results[1:]:
        check_paired(results[0], other)
    names = list(names or _default_names(results))
    if len(set(names)) != len(results):
        raise UserError(f'`names`: {len(results)} scans need as many different names, not {names}')
    changes = _comparison_words(results, names)
    scans = [
        {
            'name': name,
            'info': result.info,
            'summary': _summary(result),
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
        changes=changes,
        scenes=len(results[0].scores),
        padded=any(
            (scene.height, scene.width) != tuple(scene.photo[2:])
            for scene in results[0].info.backgrounds
        ),
        metrics=_metric_rows(results),
        number=_number,
        period=period_text,
        strip_place=strip_place,
        data=page_data(results, names),
        causes=all(result.causes is not None for result in results),
        others=all(result.bystanders is not None for result in results),
        extra_tables=[
            (name, table) for name, result in zip(names, results) for table in extra_tables(result)
        ],
        windows_note=WINDOWS_NOTE,
        heads=[*names, *(f'change, {name}' for name in names[1:])],
        shown=without_folders,
    )
    return changes


def _comparison_words(results: Sequence[ScanResult], names: Sequence[str]) -> list[str]:
    """What is different in each further scan, in a sentence for each size of the object."""
    first = results[0].info.statistics['maps']
    return [
        sentence
        for name, other in zip(names[1:], results[1:])
        for sentence in change_words(
            first, other.info.statistics['maps'], f'{name} against {names[0]}'
        )
    ]


def _default_names(results: Sequence[ScanResult]) -> list[str]:
    configs = [Path(result.info.config).stem for result in results]
    if len(set(configs)) == len(results):
        return configs
    folders = [shown_path(str(result.folder)) for result in results]
    return (
        folders
        if len(set(folders)) == len(results)
        else [f'{k}: {n}' for k, n in enumerate(folders, 1)]
    )


def _summary(result: ScanResult) -> list[str]:
    """The sentences of the summary, with the names of files alone."""
    text = result.summary()
    for each in (*result.info.backgrounds, *result.info.objects):
        text = text.replace(each.source, Path(each.source).name)
    return text.splitlines()


def _small_heatmap(result: ScanResult) -> str:
    """``heatmap.png`` (drawn if missing) as a small JPEG, shown if scripts are disabled."""
    file = result.folder / 'heatmap.png'
    if not file.is_file() or file.is_symlink():
        write_heatmap(result, file)
    small = io.BytesIO()
    try:
        image = Image.open(file)
        image.thumbnail((_FALLBACK_WIDTH, image.height))
    except (OSError, SyntaxError, ValueError):  # torn
        write_heatmap(result, file)
        image = Image.open(file)
        image.thumbnail((_FALLBACK_WIDTH, image.height))
    with image:
        image.convert('RGB').save(small, 'JPEG', quality=75)
    return base64.b64encode(small.getvalue()).decode()


def _metric_rows(results: Sequence[ScanResult]) -> list[dict[str, Any]]:
    """Rows of the table of metrics: name, meaning, one cell per scan and one per difference."""
    statistics = [result.info.statistics for result in results]
    changes = [
        paired_over_backgrounds(statistics[0]['maps'], other['maps']) for other in statistics[1:]
    ]
    rows = []
    sizes = sizes_of(statistics[0]['maps'])
    for size in sizes:
        for key, name, meaning in METRICS:
            full = sized_name(key, size, sizes)
            cells = [
                {**_cell(one['overall'].get(full), _number), 'place': _place(one, key, size)}
                for one in statistics
            ]
            cells += [_cell(change.get(full), _signed) for change in changes]
            if any(cell['mean'] for cell in cells):
                shown = sized_name(name, size, sizes)
                rows.append({'name': shown, 'meaning': meaning, 'cells': cells})
    return rows


def _place(statistics: ScanStatistics, key: str, size: int) -> str:
    """Where the weakest strips of the maps of a size lie, each with its score; else empty."""
    group = key.removesuffix('.mean')
    if group not in ('worst_row', 'worst_col'):
        return ''
    maps = [each for each in statistics['maps'] if each['size'] == size and group in each]
    strips = [each[group] for each in maps]  # type: ignore[literal-required]
    places = [f'{strip_place(one)}: {one["mean"]:.3f}' for one in strips]
    shown = '; '.join(places[:_MOST_PLACES])
    return shown + (f'; {len(places) - _MOST_PLACES} more' if len(places) > _MOST_PLACES else '')


def _cell(metric: BackgroundMean | None, to_text: Callable[[float], str]) -> dict[str, str]:
    """A mean and its interval as text; empty if undefined."""
    if metric is None:
        return {'mean': '', 'interval': '', 'place': ''}
    interval = ', '.join(map(to_text, metric['interval'] or []))
    return {'mean': to_text(metric['mean']), 'interval': interval, 'place': ''}


def _number(value: float | None) -> str:
    return 'undefined' if value is None else f'{value:.3f}'


def _signed(value: float) -> str:
    return f'{value:+.3f}'


def _print_summary(result: ScanResult, verbose: bool) -> None:
    info = result.info
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(result.summary())
    if verbose:
        table = Table('metric', 'mean', '95% interval over backgrounds', 'where, by map')
        for row in _metric_rows([result]):
            (cell,) = row['cells']
            table.add_row(row['name'], cell['mean'], cell['interval'], cell['place'])
        console.print(table, soft_wrap=False)
    console.print(
        f'({info.positions} positions, {info.positions_per_second:.1f} a second, {info.engine} engine.)\n'
    )
    console.print(str(result.folder / 'report.html'))
