"""Files made of a finished scan: its tables as CSV, pictures, and its worst places for FiftyOne."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.files import save_json, written_whole
from mindpad_mm.core.images import write_png
from mindpad_mm.core.scenes import paste
from mindpad_mm.core.tables import write_csv
from mindpad_mm.scan.result import ScanResult

_DOTS_PER_INCH = 110
COLUMNS = ('background', 'object', 'size', 'metric', 'value', 'low', 'high', 'backgrounds')


def write_exports(result: ScanResult, worst: int = 0) -> None:
    """Write to a saved scan's folder what can be made of it.

    ``statistics.csv``; ``causes.png`` and ``bystanders.png`` if the scan has such results; ``worst/``.

    Args:
        result: The scan.
        worst: Number of worst places to export. Default: 0, which writes no ``worst/``.

    Raises:
        UserError: The scan is not saved, or the folder cannot be written to.
    """
    if result.folder is None:
        raise UserError('the scan has no folder: save it first')
    write_statistics(result, result.folder / 'statistics.csv')
    figures = {}
    if result.causes is not None:
        figures['causes.png'] = result.plot_causes()
    if result.bystanders is not None:
        figures['bystanders.png'] = result.plot_bystanders()
    for name, figure in figures.items():
        with written_whole(result.folder / name) as file:
            metadata = {'Software': None}  # equal scans give equal bytes
            figure.savefig(file, format='png', dpi=_DOTS_PER_INCH, metadata=metadata)
    if worst:
        export_worst(result, result.folder / 'worst', worst)


def statistics_rows(result: ScanResult) -> Iterator[tuple[Any, ...]]:
    """The rows of ``statistics.csv``: every number in the scan's statistics, by :data:`COLUMNS`.

    First the means over backgrounds with the ends of their intervals, then each map's own, which have
    no interval. A mean's metric names the size where there are several.
    """
    for name, mean in result.info.statistics['overall'].items():
        low, high = mean['interval'] or ('', '')
        yield '', '', '', name, mean['mean'], low, high, mean['backgrounds']
    for each in result.info.statistics['maps']:
        where = each['background'], each['object'], each['size']
        for name, value in _numbers(each):
            if name not in ('background', 'object', 'size'):
                yield *where, name, value, '', '', ''


def _numbers(node: Mapping[str, Any], before: str = '') -> Iterator[tuple[str, float]]:
    """(dotted name, number) of everything in nested mappings; lists are left out."""
    for name, value in node.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f'{before}{name}.')
        elif isinstance(value, (int, float)):
            yield before + name, value


def write_statistics(result: ScanResult, path: Path) -> None:
    """Write ``statistics.csv``.

    Raises:
        UserError: The file cannot be written.
    """
    write_csv(path, COLUMNS, statistics_rows(result))


def worst_places(result: ScanResult, count: int) -> list[tuple[int, ...]]:
    """The places of lowest scores, worst first: (background, object, size, row, col) in the arrays.

    Of places whose objects overlap, in the same map, only the worst is among them. Flagged positions
    are not.

    Args:
        result: The scan.
        count: Most places.
    """
    scores = np.where(result.flags, np.nan, result.scores)
    order = np.argsort(scores, axis=None, kind='stable')[: int((~np.isnan(scores)).sum())]
    chosen: list[tuple[int, ...]] = []
    for number in order.tolist():
        place = tuple(int(each) for each in np.unravel_index(number, scores.shape))
        if not any(_overlap(result, place, other) for other in chosen):
            chosen.append(place)
        if len(chosen) == count:
            break
    return chosen


def _overlap(result: ScanResult, one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    height, width = result.info.objects[one[1]].boxes[one[2]]
    down = abs(int(result.rows[one[3]] - result.rows[other[3]]))
    right = abs(int(result.cols[one[4]] - result.cols[other[4]]))
    return one[:3] == other[:3] and down < height and right < width


def export_worst(result: ScanResult, folder: Path, count: int = 20) -> None:
    """Write the worst places as a data set of FiftyOne: ``samples.json``, ``metadata.json``, ``data/``.

    ``fiftyone.Dataset.from_dir(folder, dataset_type=fiftyone.types.FiftyOneDataset)`` reads it, and so
    does anything that reads JSON. Boxes are ``[left, top, width, height]`` as shares of the image.
    Each sample has the pasted object (``ground_truth``), its best match (``predictions``, empty without
    one), the ``score``, ``row`` and ``col`` (pixels), and the ``cause`` if the scan looked for causes.

    Args:
        result: The scan.
        folder: Folder to write to.
        count: Most places. Default: 20.

    Raises:
        UserError: ``count`` is below 1, or the folder cannot be written to.
    """
    if count < 1:
        raise UserError(f'`count` {count} is not valid: give at least 1')
    samples = []
    for number, place in enumerate(worst_places(result, count)):
        background, obj, size, r, c = place
        row, col = int(result.rows[r]), int(result.cols[c])
        pixels = paste(result.scene_pixels(background), result.object_pixels(obj, size), row, col)
        name = f'data/{number:04d}.png'
        (folder / 'data').mkdir(parents=True, exist_ok=True)
        write_png(folder / name, pixels)
        height, width = result.info.objects[obj].boxes[size]
        shape = pixels.shape[0], pixels.shape[1]
        label, score = result.info.label, float(result.scores[place])
        found = result.boxes[place]
        predictions = []
        if not np.isnan(found).any():
            box = _relative(found.astype(float).tolist(), shape)
            predictions.append(_detection(label, box, confidence=score))
        pasted = _relative([col, row, col + width, row + height], shape)
        sample = {
            'filepath': name,
            'tags': ['worst'],
            'metadata': {'_cls': 'ImageMetadata', 'width': shape[1], 'height': shape[0]},
            'ground_truth': _detections([_detection(label, pasted)]),
            'predictions': _detections(predictions),
            'score': score,
            'iou': float(result.ious[place]),
            'row': row,
            'col': col,
            'scene': result.info.backgrounds[background].source,
        }
        if result.causes is not None:
            sample['cause'] = result.causes.name_at(place)
        samples.append(sample)
    save_json(folder / 'samples.json', {'samples': samples})
    save_json(folder / 'metadata.json', {'name': 'worst places', 'media_type': 'image'})


def _relative(box: list[float], shape: tuple[int, int]) -> list[float]:
    """``[left, top, width, height]`` as shares of the image, from ``x1, y1, x2, y2`` in pixels."""
    left, top, right, bottom = box
    height, width = shape
    return [left / width, top / height, (right - left) / width, (bottom - top) / height]


def _detection(label: str, box: list[float], **more: Any) -> dict[str, Any]:
    return {'_cls': 'Detection', 'label': label, 'bounding_box': box, **more}


def _detections(found: list[dict[str, Any]]) -> dict[str, Any]:
    return {'_cls': 'Detections', 'detections': found}
