"""The data of a scan page: maps, images and statistics as JSON types, for the page's script."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mindpad_mm.report.colours import CHANGES, DARK_CHANGES, LINES, MARK, SCORES, ramp
from mindpad_mm.report.extras import cause_key, causes_data, others_data
from mindpad_mm.report.packing import fixed_point, packed
from mindpad_mm.scan import (
    SIDES,
    GridPhase,
    LossStatistics,
    ScanMapStatistics,
    ScanResult,
    Strip,
    map_phase,
    paired_difference,
    position_boxes,
)

# Detected boxes are stored as offsets from the pasted box in tenths of pixels.
_NO_BOX = -(2**31)
_DRAWN = ('worst', 'worst_row', 'worst_col', 'edge_drop', 'border_profiles')


def page_data(results: Sequence[ScanResult], names: Sequence[str]) -> dict[str, Any]:
    """The data that the page's script shows.

    Args:
        results: Scans of the same objects in the same scenes.
        names: Names of the scans to show.
    """
    first = results[0]
    return {
        'shape': first.scores.shape,
        'rows': first.rows.tolist(),
        'cols': first.cols.tolist(),
        'stride': first.info.stride,
        'scenes': [
            {
                'name': f'{k}: {Path(scene.source).name}',
                'picture': _jpeg(first.scene_pixels(k)),
                'height': scene.height,
                'width': scene.width,
                'photo': scene.photo,
                'file': scene.file,
            }
            for k, scene in enumerate(first.info.backgrounds)
        ],
        'objects': [
            {
                'name': f'{k}: {Path(obj.source).name}',
                'pictures': [_png(first.object_pixels(k, size)) for size in range(len(obj.files))],
                'files': obj.files,
                'boxes': obj.boxes,
            }
            for k, obj in enumerate(first.info.objects)
        ],
        'scans': [_scan(result, name) for result, name in zip(results, names)],
        'changes': [_change(first, other) for other in results[1:]],
        'colours': {
            'score': ramp(SCORES),
            'change': {'light': ramp(CHANGES), 'dark': ramp(DARK_CHANGES)},
        },
        'causes': cause_key(),
        'mark': MARK,
        'lines': LINES,
    }


def _scan(result: ScanResult, name: str) -> dict[str, Any]:
    return {
        'name': name,
        'scores': packed(fixed_point(result.scores)),
        'ious': packed(fixed_point(result.ious)),
        'boxes': packed(_offsets(result)),
        'flags': packed(result.flags.astype(np.uint8)),
        'losses': packed(result.losses().astype(np.float32)) if result.info.windows else None,
        'causes': causes_data(result),
        'others': others_data(result),
        'maps': [_map(result, index) for index in result.indices()],
    }


def _map(result: ScanResult, index: tuple[int, int, int]) -> dict[str, Any]:
    """The statistics of one map that the page draws; only text if every position is flagged."""
    known = result.statistics(*index)
    padding = _padding_words(result, index[0])
    if 'mean' not in known:
        flagged = 'Every position is flagged: the clean scene has a detection there.'
        return {'words': [flagged, *padding]}
    phase = map_phase(result.even_map(*index), result.info.periods)
    return {
        **{name: known[name] for name in _DRAWN},
        'words': _words(known) + padding,
        'phase': None if phase is None else _pattern(phase),
    }


def strip_place(strip: Strip) -> str:
    """Where a row or column lies, and how many others score the same."""
    others = f' (and {strip["equal"] - 1} others)' if strip['equal'] > 1 else ''
    return f'{strip["distance"]} px from the {strip["side"]}{others}'


def period_text(period: Sequence[float]) -> str:
    """A (vertical, horizontal) period with its unit, e.g. ``'15.8 px'`` or ``'30 x 32 px'``."""
    return ' x '.join(f'{each:.4g}' for each in dict.fromkeys(period)) + ' px'


def _pattern(phase: GridPhase) -> dict[str, Any]:
    values = np.where(np.isnan(phase.pattern), None, phase.pattern.round(4))
    return {
        **phase.summary(),
        'name': period_text(phase.period),
        'step': phase.step,
        'values': values.tolist(),
    }


def _words(known: ScanMapStatistics) -> list[str]:
    """A description of one map, in a list of sentences."""
    blind, row, col = known['blind_fraction'], known['worst_row'], known['worst_col']
    words = [
        f'Mean score {known["mean"]:.3f}, lowest score {known["min"]:.3f} '
        f'(row {known["worst"]["row"]}, column {known["worst"]["col"]}).',
        f'Blind at {100 * blind:.1f} % of the positions: score below {known["blind_below"]:.3f}, half '
        'the mean of the best tenth.'
        if known['blind_below']
        else 'The object is found nowhere.',
        f'Weakest column: mean {col["mean"]:.3f}, {strip_place(col)}. '
        f'Weakest row: mean {row["mean"]:.3f}, {strip_place(row)}.',
    ]
    if 'loss' in known:
        words.append(_loss_words(known['loss']))
    grid = known['grid_phase']
    if grid:
        words.append(
            f'The {period_text(grid["period"])} grid of the detector explains '
            f'{100 * grid["share"]:.1f} % of the variance around the local mean where the object is '
            f'found ({grid["positions"]} positions); best minus worst phase {grid["amplitude"]:.3f}.'
        )
    if known['flagged_fraction']:
        words.append(f'{100 * known["flagged_fraction"]:.1f} % of the positions are flagged.')
    return words


def _loss_words(loss: LossStatistics) -> str:
    """What the border costs, in a sentence."""
    if loss['border'] is None:
        return f'No position within {loss["near_px"]} px of a side has an open score.'
    sides = [f'{side} {loss[side]:+.3f}' for side in SIDES if loss[side] is not None]
    inside = '' if loss['interior'] is None else f'; inside {loss["interior"]:+.3f}'
    return (
        f'Loss within {loss["near_px"]} px of a side: {loss["border"]:+.3f} '
        f'({", ".join(sides)}){inside}.'
    )


def _padding_words(result: ScanResult, background: int) -> list[str]:
    """What the test pipeline pads around the photo, in at most one sentence."""
    scene = result.info.backgrounds[background]
    top, left, height, width = scene.photo
    share = 1 - height * width / (scene.height * scene.width)
    if not share:
        return []
    return [
        f'{100 * share:.0f} % of the scene is padded around the photo by the test pipeline and has '
        f'no positions; the photo is {height} x {width} px (height x width), from row {top}, '
        f'column {left}.'
    ]


def _change(first: ScanResult, other: ScanResult) -> dict[str, Any]:
    change = paired_difference(first, other)
    return {'mean': packed(change.mean), 'half': packed(change.half)}


def _offsets(result: ScanResult) -> np.ndarray:
    """(4, B, O, S, R, C) int32: offsets of the detected box from the pasted box, 0.1 px."""
    places = np.stack(np.meshgrid(result.rows, result.cols, indexing='ij'), -1)
    offsets = np.full(result.boxes.shape, np.nan)
    for _, obj, size in result.indices():
        pasted = position_boxes(places.reshape(-1, 2), result.info.objects[obj].boxes[size])
        found = result.boxes[:, obj, size]
        offsets[:, obj, size] = found - pasted.reshape(found.shape[1:])
    offsets = np.moveaxis(np.rint(10 * offsets), -1, 0)
    return np.nan_to_num(offsets, nan=_NO_BOX).astype(np.int32)


def _png(pixels: np.ndarray) -> str:
    # Encoded anew: a file that is no image, or holds more than one, does not get into the page.
    return _data_url('png', cv2.imencode('.png', pixels)[1])


def _jpeg(pixels: np.ndarray) -> str:
    """A scene as JPEG, which is smaller. The exact pixels are in the scan's folder."""
    return _data_url('jpeg', cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, 93])[1])


def _data_url(kind: str, content: bytes | np.ndarray) -> str:
    return f'data:image/{kind};base64,{base64.b64encode(content).decode()}'
