"""The result of a scan: score maps and details of the run, in memory and in files."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from matplotlib.figure import Figure

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.files import save_json, written_whole
from mindpad_mm.core.images import PathLike, read_image, write_png
from mindpad_mm.core.scenes import paste
from mindpad_mm.scan.plot import MapPanel, draw_maps
from mindpad_mm.scan.statistics import (
    BackgroundMean,
    ScanMapStatistics,
    ScanStatistics,
    ScoreMap,
)

if TYPE_CHECKING:
    import pandas

ARRAYS = ('scores', 'ious', 'boxes', 'flags', 'clean', 'rows', 'cols')
_HTML_DPI = 80


@dataclass
class BackgroundInfo:
    """A scene: its source, its file in the scan's folder, and its size in pixels."""

    source: str
    file: str
    height: int
    width: int


@dataclass
class ObjectInfo:
    """An object: its source, and for each size its file and its (height, width) in pixels."""

    source: str
    files: list[str]
    boxes: list[list[int]]


@dataclass
class ScanRun:
    """How a scan was run.

    Attributes:
        backgrounds, objects: The scenes and the objects.
        sizes: Lengths of the objects' longer side, pixels of the scene.
        engine: Name of the engine.
        engine_notes: Notes of the engine for each map and process, see :meth:`Engine.notes`, with the
            ``background``, ``object`` and ``size`` of the map.
        batch_size: Positions per forward pass.
        processes, threads: Number of processes, and of threads in each.
        positions: Number of positions of all maps.
        seconds: Time spent on positions, divided by the number of processes.
        positions_per_second: Speed of all processes together, without their start.
    """

    backgrounds: list[BackgroundInfo]
    objects: list[ObjectInfo]
    sizes: list[int]
    engine: str
    engine_notes: list[dict[str, Any]]
    batch_size: int
    processes: int
    threads: int
    positions: int
    seconds: float
    positions_per_second: float


@dataclass
class ScanInfo(ScanRun):
    """The content of ``scan.json``.

    Attributes:
        config, checkpoint: Paths of the detector's files. For a built detector: its config or class,
            and ``'in memory'``.
        cfg_options: Overrides of the config, including lowered score thresholds.
        label, label_index: Name and index of the objects' class.
        space, stride, iou_thr, clean_thr, tolerance, seed: See :class:`ScanSettings`.
        device: Torch device.
        periods: Candidate periods of the grid's pattern, pixels of the scene.
        versions: Version of each package.
        fingerprint: Everything that the scores depend on. A scan can only be resumed with the same.
        statistics: Statistics of the maps, and their means over backgrounds.
    """

    config: str
    checkpoint: str | None
    cfg_options: dict[str, Any]
    label: str
    label_index: int
    space: str
    stride: int
    iou_thr: float
    clean_thr: float
    tolerance: float
    device: str
    seed: int
    periods: list[int]
    versions: dict[str, str]
    fingerprint: dict[str, Any]
    statistics: ScanStatistics

    def to_json(self) -> dict[str, Any]:
        """The attributes as JSON types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> ScanInfo:
        """Read what :meth:`to_json` gives.

        Raises:
            KeyError: A field is missing.
        """
        values = {field.name: content[field.name] for field in dataclasses.fields(cls)}
        values['backgrounds'] = [BackgroundInfo(**each) for each in content['backgrounds']]
        values['objects'] = [ObjectInfo(**each) for each in content['objects']]
        return cls(**values)


@dataclass
class ScanArrays:
    """Score maps with the axes (background, object, size, row, col).

    Scenes and objects of different sizes share one grid of rows and columns. Where the object does not
    fit the scene, values are NaN and ``flags`` is False.

    A match is a detection of the object's class whose IoU with the pasted box is at least ``iou_thr``.

    Attributes:
        scores: float32, score of the best match in 0..1; 0 without a match.
        ious: float32, its IoU with the pasted box in 0..1; 0 without a match.
        boxes: (..., 4) float32, its box ``x1, y1, x2, y2`` in pixels of the scene; NaN without a match.
        flags: bool, whether the clean scene has a match with a score of at least ``clean_thr``. Flagged
            positions are left out of the statistics.
        clean: float32, score of the best match in the clean scene, in 0..1; 0 without a match.
        rows: (R,) int64, pixel rows of the pasted box's top edge.
        cols: (C,) int64, pixel columns of the pasted box's left edge.
    """

    scores: np.ndarray
    ious: np.ndarray
    boxes: np.ndarray
    flags: np.ndarray
    clean: np.ndarray
    rows: np.ndarray
    cols: np.ndarray


@dataclass(repr=False)
class ScanResult(ScanArrays):
    """A finished scan.

    Attributes:
        info: Details of the run, and the statistics.
        folder: Folder of its files; None for a scan in memory.
        pixels: The scenes, and the objects by size as pasted. None: they are read from ``folder``.
    """

    info: ScanInfo
    folder: Path | None = None
    pixels: tuple[Sequence[np.ndarray], Sequence[Sequence[np.ndarray]]] | None = None

    def indices(self) -> Iterator[tuple[int, ...]]:
        """(background, object, size) of every map."""
        return np.ndindex(*self.scores.shape[:3])

    def score_map(self, background: int, obj: int, size: int) -> ScoreMap:
        """One map, see :func:`score_map_of`."""
        scene = self.info.backgrounds[background]
        box = self.info.objects[obj].boxes[size]
        scene_size = scene.height, scene.width
        return score_map_of(self, (background, obj, size), (box[0], box[1]), scene_size)

    def statistics(self, background: int, obj: int, size: int) -> ScanMapStatistics:
        """The statistics of one map."""
        number = np.ravel_multi_index((background, obj, size), self.scores.shape[:3])
        return self.info.statistics['maps'][number]

    def scene_pixels(self, background: int) -> np.ndarray:
        """A scene without the object, (H, W, 3) uint8 BGR."""
        if self.pixels is not None:
            return self.pixels[0][background]
        return read_image(self._in_folder(self.info.backgrounds[background].file))

    def object_pixels(self, obj: int, size: int) -> np.ndarray:
        """An object as pasted, (h, w, 4) uint8 BGRA."""
        if self.pixels is not None:
            return self.pixels[1][obj][size]
        file = self._in_folder(self.info.objects[obj].files[size])
        return read_image(file, cv2.IMREAD_UNCHANGED, 'object')

    def _in_folder(self, name: str) -> Path:
        if self.folder is None:
            raise UserError('the scan has neither a folder nor pixels: its scenes cannot be shown')
        return self.folder / name

    def worst_scene(self, background: int, obj: int, size: int) -> np.ndarray:
        """A scene with the object at the position of the lowest score, (H, W, 3) uint8 BGR.

        Without the object if all positions are flagged.
        """
        scene = self.scene_pixels(background)
        worst = self.statistics(background, obj, size).get('worst')
        if worst is None:
            return scene
        return paste(scene, self.object_pixels(obj, size), worst['row'], worst['col'])

    def summary(self) -> str:
        """A description of the result in a few sentences."""
        info, overall = self.info, self.info.statistics['overall']
        where = f'{info.positions} positions in {_count(len(info.backgrounds), "scene")}'
        if 'mean' not in overall:
            return (
                f'{info.label!r}: all of {where} are flagged, the clean scene has detections there.'
            )
        lines = [f'{info.label!r} at {where}: mean score {_mean(overall["mean"])}.']
        if 'blind_fraction' in overall:
            blind = overall['blind_fraction']
            lines.append(
                f'Blind (below half the median) at {_mean(blind, percent=True)} of the positions.'
            )
        else:
            lines.append('The object is missed at most positions.')
        maps = [(index, self.statistics(*index)) for index in self.indices()]
        index, worst = min(
            ((index, each['worst']) for index, each in maps if 'worst' in each),
            key=lambda found: found[1]['score'],
        )
        lines.append(
            f'Lowest score {worst["score"]:.3f}: size {info.sizes[index[2]]} px, '
            f'{info.backgrounds[index[0]].source}, row {worst["row"]}, column {worst["col"]}.'
        )
        lines.append(
            'These numbers depend on the scene as well as on the border: the map shows which of them '
            'matters where.'
        )
        return '\n'.join(lines)

    def plot(self, maps: Sequence[tuple[int, int, int]] | None = None) -> Figure:
        """Plot maps: one row each, with the scene and the score at every position.

        Args:
            maps: Indices (background, object, size) of the maps. Default: all.
        """
        chosen: list[Any] = list(self.indices()) if maps is None else list(maps)
        panels = [
            MapPanel(
                f'scene {index[0]}, object {index[1]}',
                self.worst_scene(*index),
                self.score_map(*index),
                self.statistics(*index),
                self.info.stride,
            )
            for index in chosen
        ]
        return draw_maps(panels, self.info.label)

    def to_dataframe(self) -> pandas.DataFrame:
        """A table with one row for each position.

        Columns: ``background`` and ``object`` (indices), ``size``, ``row`` and ``col`` (pixels of the
        scene), and, as in :class:`ScanArrays`, ``score``, ``iou``, ``x1``, ``y1``, ``x2``, ``y2``,
        ``flagged`` and ``clean``.

        Raises:
            UserError: pandas is not installed.
        """
        try:
            import pandas  # optional, and slow to import
        except ImportError as error:
            raise UserError('to_dataframe needs pandas: pip install pandas') from error
        fits = np.argwhere(~np.isnan(self.scores))
        background, obj, size, row, col = fits.T
        at = tuple(fits.T)
        columns = {
            'background': background, 'object': obj, 'size': np.array(self.info.sizes)[size],
            'row': self.rows[row], 'col': self.cols[col], 'score': self.scores[at],
            'iou': self.ious[at],
        }  # fmt: skip
        columns |= dict(zip(('x1', 'y1', 'x2', 'y2'), self.boxes[at].T))
        return pandas.DataFrame({**columns, 'flagged': self.flags[at], 'clean': self.clean[at]})

    def __repr__(self) -> str:
        backgrounds, objects, sizes, rows, cols = self.scores.shape
        return (
            f'ScanResult({self.info.label!r}, {_count(backgrounds, "scene")}, '
            f'{_count(objects, "object")}, {_count(sizes, "size")}, {rows} x {cols} positions)'
        )

    def _repr_html_(self) -> str:
        """The summary and the plot, for notebooks."""
        picture = io.BytesIO()
        self.plot().savefig(picture, dpi=_HTML_DPI)
        encoded = base64.b64encode(picture.getvalue()).decode()
        text = html.escape(self.summary()).replace('\n', '<br>')
        alt = 'scene and confidence map'
        return f'<p>{text}</p><img alt="{alt}" src="data:image/png;base64,{encoded}">'

    def save(self, folder: PathLike) -> None:
        """Write the scenes and objects as PNG files, ``scan.npz`` and ``scan.json``.

        Equal arrays give equal bytes. ``scan.json`` is written last: a folder that contains it holds a
        complete scan.

        Args:
            folder: Folder for the files; it is created if it is missing.
        """
        folder = Path(folder)
        if folder != self.folder:
            folder.mkdir(parents=True, exist_ok=True)
            for number, background in enumerate(self.info.backgrounds):
                write_png(folder / background.file, self.scene_pixels(number))
            for number, obj in enumerate(self.info.objects):
                for size, file in enumerate(obj.files):
                    write_png(folder / file, self.object_pixels(number, size))
        arrays = {name: getattr(self, name) for name in ARRAYS}
        with written_whole(folder / 'scan.npz') as temporary, open(temporary, 'wb') as stream:
            np.savez_compressed(stream, **arrays)
        save_json(folder / 'scan.json', self.info.to_json())
        self.folder = folder

    @classmethod
    def load(cls, folder: PathLike) -> ScanResult:
        """Read what :meth:`save` wrote.

        Args:
            folder: Folder of the scan.

        Raises:
            UserError: The folder does not contain a complete scan of this version.
        """
        folder = Path(folder)
        try:
            content = json.loads((folder / 'scan.json').read_text(encoding='utf-8'))
            with np.load(folder / 'scan.npz') as stored:
                arrays = {name: stored[name] for name in ARRAYS}
            return cls(**arrays, info=ScanInfo.from_json(content), folder=folder)
        except KeyError as error:
            raise UserError(
                f'the scan in {str(folder)!r} was saved by another version of mindpad_mm '
                f'({error.args[0]}): scan again'
            ) from error
        except (OSError, ValueError) as error:
            raise UserError(f'{str(folder)!r} does not contain a complete scan: {error}') from error


def score_map_of(
    arrays: ScanArrays, index: tuple[int, int, int], box: tuple[int, int], scene: tuple[int, int]
) -> ScoreMap:
    """One map of a scan, cut to the positions where the object fits.

    Args:
        arrays: The scan's arrays.
        index: Indices (background, object, size) of the map.
        box, scene: (height, width) of the object and of the scene, pixels.
    """
    scores = arrays.scores[index].astype(np.float64)
    fits = ~np.isnan(scores)
    rows, cols = fits.any(1), fits.any(0)
    scores[arrays.flags[index]] = np.nan
    return ScoreMap(scores[np.ix_(rows, cols)], arrays.rows[rows], arrays.cols[cols], box, scene)


def _count(number: int, what: str) -> str:
    return f'{number} {what}{"s" * (number != 1)}'


def _mean(statistic: BackgroundMean, percent: bool = False) -> str:
    """A mean and its interval as text."""

    def to_text(value: float) -> str:
        return f'{100 * value:.1f} %' if percent else f'{value:.3f}'

    interval = ''
    if statistic['interval']:
        interval = f' [{", ".join(map(to_text, statistic["interval"]))}]'
    return to_text(statistic['mean']) + interval
