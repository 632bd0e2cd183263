"""Page, picture and table of a border-loss measurement."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
from rich.console import Console

from mindpad_mm.border import SHARES, BorderResult, percent, with_interval
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.files import save_bytes
from mindpad_mm.core.tables import Table
from mindpad_mm.report.paths import without_folders
from mindpad_mm.report.pictures import picture
from mindpad_mm.report.render import write_html

# The statistics of the tables: key, heading.
COLUMNS = (
    ('open', 'open'),
    ('border_loss', 'border loss'),
    ('context_loss', 'context loss'),
    ('padding_loss', 'padding loss'),
    ('lost_objects', 'objects lost'),
    ('lost_in_control', 'lost in control'),
)
NOTE = (
    'Open: mean score with the border far away. Border loss = open - cut: what a near border costs. '
    'Context loss = open - control: what losing the scene beyond it costs. Padding loss = control - cut: '
    'what is left. Objects lost: found in the open window, missed in the cut one. Brackets: 95 % '
    'intervals by bootstrap over photos; * excludes 0.'
)
# BGR, of the worst objects: their box, and what was detected.
_OBJECT, _DETECTED = (90, 220, 90), (220, 80, 255)
_WORST = 6
_MOST_SIZES = 6


def report_border(result: BorderResult) -> None:
    """Write ``border.png`` and ``report.html`` to the folder of a result, and print its verdict.

    Raises:
        UserError: The result is not saved, or a file cannot be written.
    """
    folder = result.folder
    if folder is None:
        raise UserError('the result has no folder: save it first')
    drawn = picture(result.plot, stacked=True)
    save_bytes(folder / 'border.png', drawn.png)
    tables = border_tables(result)
    info = result.info
    write_html(
        folder / 'report.html',
        'border.html',
        verdict=result.verdict,
        facts=result.facts(),
        picture=drawn,
        tables=tables,
        note=' '.join([NOTE, *_notes(result)]),
        worst=_worst(result),
        info=without_folders(_what_was_run(result)),
        variants=[each.name for each in info.variants],
    )
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for sentence in result.verdict:
        console.print(sentence)
    console.print(f'({result.facts()}.)\n')
    console.print(_short_table(result).rich(), soft_wrap=False)
    console.print(str(folder / 'report.html'))


def _notes(result: BorderResult) -> list[str]:
    """Sentences on variants that nobody asked for."""
    notes: dict[str, list[str]] = {}
    for variant in result.info.variants:
        if variant.note:
            notes.setdefault(variant.note, []).append(variant.name)
        if variant.left_alone:
            left = f'left alone by the swap: {", ".join(variant.left_alone)}'
            notes.setdefault(left, []).append(variant.name)
    return [f'{", ".join(names)}: {note}.' for note, names in notes.items()]


def _short_table(result: BorderResult) -> Table:
    """For a terminal of 80 columns: near the border, all sides."""
    rows = []
    for variant in result.info.variants:
        found = result.statistics[variant.name]['by_side']['all']['near']
        losses = [with_interval(found[key]) for key in ('border_loss', 'padding_loss')]
        lost = percent(found['lost_objects']['mean'])
        rows.append([variant.name, *losses, lost, str(found['border_loss']['n'])])
    return Table(['', 'border loss', 'padding loss', 'lost', 'n'], rows)


def border_tables(result: BorderResult) -> list[Table]:
    """Near the border by variant; then of each variant by distance and by side, and by size."""
    info, statistics = result.info, result.statistics
    near = info.settings['near']
    headings = [heading for _, heading in COLUMNS]
    rows = []
    for variant in info.variants:
        found = statistics[variant.name]['by_side']['all']['near']
        change = statistics[variant.name]['differences'].get('near')
        rows.append(
            [
                variant.name,
                *(_shown(found[key], key) for key, _ in COLUMNS),
                _shown(change['cut'], 'cut') if change else '',
                str(found['border_loss']['n']),
            ]
        )
    tables = [
        Table(
            ['detector', *headings, 'cut score, against the first', 'n'],
            rows,
            f'Within {near} px of the border',
        )
    ]
    for variant in info.variants:
        each = statistics[variant.name]
        rows = [
            [side, f'{distance} px', *(_shown(found[key], key) for key, _ in COLUMNS)]
            for side, by_distance in each['by_side'].items()
            for distance, found in by_distance.items()
            if distance.isdigit() and found['border_loss']['n']
        ]
        rows += [
            [f'{size} objects', f'to {near} px', *(_shown(found[key], key) for key, _ in COLUMNS)]
            for size, found in each['by_size'].items()
            if found['border_loss']['n']
        ]
        tables.append(Table(['sides', 'distance', *headings], rows, f'{variant.name}: by distance'))
    return tables


def _shown(estimate: Any, key: str) -> str:
    if estimate['mean'] is None:
        return '-'
    if key in SHARES:
        interval = estimate['interval']
        between = f' [{100 * interval[0]:.0f}, {100 * interval[1]:.0f}]' if interval else ''
        return f'{100 * estimate["mean"]:.0f} %{between}'
    interval = estimate['interval']
    if interval is None:
        return f'{estimate["mean"]:.3f}'
    sure = '*' if key not in ('open', 'control') and not interval[0] <= 0 <= interval[1] else ''
    return f'{estimate["mean"]:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]{sure}'


def _worst(result: BorderResult) -> list[dict[str, Any]]:
    """The objects that lose most, in the windows *open* and *cut*."""
    if not result.photos:
        return []
    info = result.info
    shown = []
    for number in result.worst(_WORST):
        probe = result.probes[number]
        obj = info.objects[probe.obj]
        pictures = {}
        for view in ('open', 'cut'):
            corner = probe.corner(view)
            assert corner is not None
            image = result.window_pixels(number, view)
            score, _, *box = result.values[0, number, info.views.index(view)].tolist()
            shift = np.array([corner[1], corner[0]] * 2)
            _draw_box(image, np.subtract(obj['box'], shift), _OBJECT)
            if score > 0:
                _draw_box(image, np.subtract(box, shift), _DETECTED)
            encoded = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
            pictures[view] = (base64.b64encode(encoded.tobytes()).decode(), score)
        shown.append(
            {
                'label': info.classes[obj['label']],
                'photo': without_folders(info.photos[probe.photo]['file_name']),
                'side': probe.side,
                'distance': probe.distance,
                'pictures': pictures,
            }
        )
    return shown


def _draw_box(image: np.ndarray, box: np.ndarray, colour: tuple[int, int, int]) -> None:
    x1, y1, x2, y2 = (round(float(value)) for value in box)
    cv2.rectangle(image, (x1, y1), (x2 - 1, y2 - 1), colour, 2)


def _what_was_run(result: BorderResult) -> dict[str, Any]:
    info = result.info
    zooms = sorted({round(photo['zoom'], 3) for photo in info.photos})
    windows = sorted({tuple(photo['window']) for photo in info.photos})
    sizes = [f'{height} x {width}' for height, width in windows]
    return {
        'config': info.config,
        'checkpoint': info.checkpoint or 'random weights',
        'options': info.cfg_options,
        'windows (height x width)': sizes
        if len(sizes) <= _MOST_SIZES
        else f'{sizes[0]} to {sizes[-1]} ({len(sizes)} sizes)',
        'zoom': f'{zooms[0]} to {zooms[-1]}' if len(zooms) > 1 else zooms[0],
        'border moved away by (px)': sorted({photo['far'] for photo in info.photos}),
        'fill (blue, green, red)': {name: tuple(value) for name, value in info.fills.items()},
        'settings': {key: value for key, value in info.settings.items() if value not in ([], None)},
        'versions': info.versions,
    }
