"""What a scan's page carries for its script: maps, pictures and figures, as JSON types."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mindpad_mm.core.images import read_image
from mindpad_mm.report.figures import LINE_COLOURS, MARK, figures
from mindpad_mm.scan.paired import paired_difference
from mindpad_mm.scan.phase import GridPhase
from mindpad_mm.scan.positions import position_boxes
from mindpad_mm.scan.result import ScanResult
from mindpad_mm.scan.statistics import interior_phase

# Scores and IoUs to 4 decimals in 2 bytes; 65535 where the box does not fit the scene.
_STEPS = 10_000
_OUTSIDE = 65_535
# Edges of detected boxes to tenths of pixels, from those of the pasted box.
_NO_BOX = -(2**31)
_DRAWN = ('worst', 'worst_row', 'worst_col', 'border_effect', 'border_profiles')


def page_data(results: Sequence[ScanResult], names: Sequence[str]) -> dict[str, Any]:
    """Everything that the page's script shows.

    Args:
        results: Scans of the same objects in the same scenes.
        names: Of the scans, for a person to read.
    """
    first = results[0]
    return {
        'shape': first.scores.shape,
        'rows': first.rows.tolist(),
        'cols': first.cols.tolist(),
        'sizes': first.info.sizes,
        'stride': first.info.stride,
        'scenes': [
            {
                'name': f'{k}: {Path(scene.source).name}',
                'picture': _jpeg(first, scene.file),
                'height': scene.height,
                'width': scene.width,
                'file': scene.file,
            }
            for k, scene in enumerate(first.info.backgrounds)
        ],
        'objects': [
            {
                'name': f'{k}: {Path(obj.source).name}',
                'pictures': [_png(first, file) for file in obj.files],
                'files': obj.files,
                'boxes': obj.boxes,
            }
            for k, obj in enumerate(first.info.objects)
        ],
        'scans': [_scan(result, name) for result, name in zip(results, names)],
        'changes': [_change(first, other) for other in results[1:]],
        'figures': figures(),
        'mark': MARK,
        'lines': LINE_COLOURS,
    }


def _scan(result: ScanResult, name: str) -> dict[str, Any]:
    return {
        'name': name,
        'scores': _packed(_fixed_point(result.scores)),
        'ious': _packed(_fixed_point(result.ious)),
        'boxes': _packed(_offsets(result)),
        'flags': _packed(result.flags.astype(np.uint8)),
        'maps': [_map(result, index) for index in result.indices()],
    }


def _map(result: ScanResult, index: tuple[int, int, int]) -> dict[str, Any]:
    """The figures of one map that the page draws; none where every position is flagged."""
    known = result.statistics(*index)
    if 'mean' not in known:
        return {'words': ['Every position is flagged: the clean scene scores there by itself.']}
    phase = interior_phase(result.score_map(*index), result.info.periods)
    return {
        **{name: known[name] for name in _DRAWN},
        'words': _words(known),
        'phase': None if phase is None else _pattern(phase),
    }


def _pattern(phase: GridPhase) -> dict[str, Any]:
    values = np.where(np.isnan(phase.pattern), None, phase.pattern.round(4))
    return {**phase.summary(), 'step': phase.step, 'values': values.tolist()}


def _words(known: dict[str, Any]) -> list[str]:
    """One map in plain words."""
    blind, row, col = known['blind_fraction'], known['worst_row'], known['worst_col']
    words = [
        f'Scores {known["mean"]:.3f} on average, at worst {known["min"]:.3f} '
        f'(row {known["worst"]["row"]}, column {known["worst"]["col"]}).',
        'Misses the object at most positions.'
        if blind is None
        else f'Blind at {100 * blind:.1f} % of the positions: below half of the median.',
        f'Weakest column: {col["mean"]:.3f} on average, {col["distance"]} px from the '
        f'{col["side"]}. Weakest row: {row["mean"]:.3f}, {row["distance"]} px from the {row["side"]}.',
    ]
    grid = known['grid_phase']
    if grid:
        words.append(
            f'The {grid["period"]} px grid of the detector explains {100 * grid["share"]:.1f} % of '
            f'what varies in the interior; its best phase is {grid["amplitude"]:.3f} above its worst.'
        )
    if known['flagged_fraction']:
        words.append(f'{100 * known["flagged_fraction"]:.1f} % of the positions are flagged.')
    return words


def _change(first: ScanResult, other: ScanResult) -> dict[str, Any]:
    change = paired_difference(first, other)
    return {'mean': _packed(change.mean), 'half': _packed(change.half)}


def _fixed_point(values: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values), _OUTSIDE, np.rint(values.astype(np.float64) * _STEPS)).astype(
        np.uint16
    )


def _offsets(result: ScanResult) -> np.ndarray:
    """(4, B, O, S, R, C) int32: how far each edge of the detected box is from the pasted one's."""
    places = np.stack(np.meshgrid(result.rows, result.cols, indexing='ij'), -1)
    offsets = np.full(result.boxes.shape, np.nan)
    for _, obj, size in result.indices():
        pasted = position_boxes(places.reshape(-1, 2), result.info.objects[obj].boxes[size])
        found = result.boxes[:, obj, size]
        offsets[:, obj, size] = found - pasted.reshape(found.shape[1:])
    offsets = np.moveaxis(np.rint(10 * offsets), -1, 0)
    return np.nan_to_num(offsets, nan=_NO_BOX).astype(np.int32)


def _packed(values: np.ndarray) -> str:
    """Little-endian bytes, as typed arrays in a browser take them, deflated, in base64."""
    data = values.astype(values.dtype.newbyteorder('<')).tobytes()
    return base64.b64encode(zlib.compress(data, 9)).decode()


def _png(result: ScanResult, file: str) -> str:
    return _data_url('png', (result.folder / file).read_bytes())


def _jpeg(result: ScanResult, file: str) -> str:
    """A scene to look at: its exact pixels stay in the folder, and a photo's PNG is large."""
    pixels = read_image(result.folder / file)
    return _data_url('jpeg', cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, 93])[1])


def _data_url(kind: str, content: bytes | np.ndarray) -> str:
    return f'data:image/{kind};base64,{base64.b64encode(content).decode()}'
