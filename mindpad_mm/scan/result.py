"""The result of a scan: score maps, an account of the run, and how both are kept on disk."""

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
from mindpad_mm.scan.statistics import ScoreMap

if TYPE_CHECKING:
    import pandas

ARRAYS = ('scores', 'ious', 'boxes', 'flags', 'clean', 'rows', 'cols')
_HTML_DPI = 80


@dataclass
class BackgroundInfo:
    """A scene: where it came from, its file in the scan's folder, and its size in pixels."""

    source: str
    file: str
    height: int
    width: int


@dataclass
class ObjectInfo:
    """An object: where it came from, and for each size its file and its box, (height, width) pixels."""

    source: str
    files: list[str]
    boxes: list[list[int]]


@dataclass
class ScanRun:
    """An account of the run.

    Attributes:
        backgrounds, objects: What was pasted into what.
        sizes: Longer sides of the objects, pixels.
        engine: Its name.
        engine_notes: One for each map and process that has any, see :meth:`Engine.notes`.
        batch_size: Positions a forward pass.
        processes, threads: How many processes shared the scan, with how many threads each.
        positions: Of all maps.
        seconds: Spent on positions, divided by the processes that worked at the same time.
        positions_per_second: Of all processes together, once warm.
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
    """What was run, as in ``scan.json``.

    Attributes:
        config, checkpoint: Names of the detector's files; of a built model, what is known of it.
        cfg_options: Overrides of the config, lowered score thresholds included.
        label, label_index: The class asked for.
        space, stride, iou_thr, clean_thr, tolerance, seed: See :class:`ScanSettings`.
        device: As torch names it.
        periods: Candidate periods of the grid, pixels of the scene.
        versions: Of the packages that take part.
        fingerprint: All that the scores depend on; a scan is resumed with the same only.
        statistics: ``maps``, one for each map, and ``overall``, their means over backgrounds; see
            :mod:`mindpad_mm.scan.statistics`.
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
    statistics: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """JSON types, as in ``scan.json``."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> ScanInfo:
        """Read what :meth:`to_json` gave.

        Raises:
            KeyError: A field is missing.
        """
        values = {field.name: content[field.name] for field in dataclasses.fields(cls)}
        values['backgrounds'] = [BackgroundInfo(**each) for each in content['backgrounds']]
        values['objects'] = [ObjectInfo(**each) for each in content['objects']]
        return cls(**values)


@dataclass
class ScanArrays:
    """Score maps, indexed [background, object, size, row, col].

    Scenes and objects of several sizes share one grid of rows and columns. Where a box does not fit its
    scene, all values are NaN and ``flags`` is False.

    Attributes:
        scores: float32 in 0..1, the best score of the label among the detections that overlap the
            pasted box enough; 0 if there is none.
        ious: float32 in 0..1, that detection's IoU with the pasted box; 0 if there is none.
        boxes: float32, [..., 4], that detection's box ``x1, y1, x2, y2`` in pixels of the scene; NaN if
            there is none.
        flags: bool, True where the clean background alone has such a detection of score ``clean_thr``
            or more. Flagged positions are left out of the statistics.
        clean: float32 in 0..1, the best score of such a detection in the clean background.
        rows: (R,) int64, the pixel row of the box's top edge.
        cols: (C,) int64, the pixel column of the box's left edge.
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
        info: What was run, and the statistics.
        folder: Where it is kept; None for a scan in memory.
        pixels: (scenes, objects by size) as pasted; read from ``folder`` where None.
    """

    info: ScanInfo
    folder: Path | None = None
    pixels: tuple[Sequence[np.ndarray], Sequence[Sequence[np.ndarray]]] | None = None

    def indices(self) -> Iterator[tuple[int, ...]]:
        """(background, object, size) of every map."""
        return np.ndindex(*self.scores.shape[:3])

    def score_map(self, background: int, obj: int, size: int) -> ScoreMap:
        """One map, cut to where its box fits, flagged positions NaN."""
        scene = self.info.backgrounds[background]
        box = self.info.objects[obj].boxes[size]
        scene_size = scene.height, scene.width
        return score_map_of(self, (background, obj, size), (box[0], box[1]), scene_size)

    def statistics(self, background: int, obj: int, size: int) -> dict[str, Any]:
        """The statistics of one map."""
        number = np.ravel_multi_index((background, obj, size), self.scores.shape[:3])
        return self.info.statistics['maps'][number]

    def scene_pixels(self, background: int) -> np.ndarray:
        """(H, W, 3) uint8 BGR, a scene without the object."""
        if self.pixels is not None:
            return self.pixels[0][background]
        return read_image(self._in_folder(self.info.backgrounds[background].file))

    def object_pixels(self, obj: int, size: int) -> np.ndarray:
        """(h, w, 4) uint8 BGRA, an object as it is pasted."""
        if self.pixels is not None:
            return self.pixels[1][obj][size]
        file = self._in_folder(self.info.objects[obj].files[size])
        return read_image(file, cv2.IMREAD_UNCHANGED, 'object')

    def _in_folder(self, name: str) -> Path:
        if self.folder is None:
            raise UserError('the scan has neither a folder nor its pixels: scenes cannot be shown')
        return self.folder / name

    def worst_scene(self, background: int, obj: int, size: int) -> np.ndarray:
        """(H, W, 3) uint8 BGR: the scene with the object pasted where it scored lowest.

        The scene alone where all positions are flagged.
        """
        scene = self.scene_pixels(background)
        worst = self.statistics(background, obj, size).get('worst')
        if worst is None:
            return scene
        return paste(scene, self.object_pixels(obj, size), worst['row'], worst['col'])

    def summary(self) -> str:
        """What the scan found, in a few sentences."""
        info, overall = self.info, self.info.statistics['overall']
        where = f'{info.positions} positions in {_count(len(info.backgrounds), "scene")}'
        if 'mean' not in overall:
            return (
                f'{info.label!r}: all of {where} are flagged, the clean scene scores there itself.'
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
            'These figures mix the scene with the border: see the map before you blame one.'
        )
        return '\n'.join(lines)

    def plot(self, maps: Sequence[tuple[int, int, int]] | None = None) -> Figure:
        """A matplotlib figure: for each map, the scene beside the scores at every position.

        Args:
            maps: (background, object, size) of the rows. Default: all.
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
        """One row for each position where the object fits.

        Columns: ``background``, ``object`` (numbers), ``size``, ``row``, ``col`` (pixels), ``score``,
        ``iou`` (0..1), ``x1``, ``y1``, ``x2``, ``y2`` (the detected box, NaN if none), ``flagged``,
        ``clean``.

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
        """The summary and the figure, for notebooks."""
        picture = io.BytesIO()
        self.plot().savefig(picture, dpi=_HTML_DPI)
        encoded = base64.b64encode(picture.getvalue()).decode()
        text = html.escape(self.summary()).replace('\n', '<br>')
        alt = 'scene and confidence map'
        return f'<p>{text}</p><img alt="{alt}" src="data:image/png;base64,{encoded}">'

    def save(self, folder: PathLike) -> None:
        """Write the scenes and objects as PNG, ``scan.npz`` and ``scan.json``, each whole or not at all.

        Equal arrays give equal bytes. ``scan.json`` comes last: where it is, the scan is complete.
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

        Raises:
            UserError: The folder holds no complete scan, or one of another version.
        """
        folder = Path(folder)
        try:
            content = json.loads((folder / 'scan.json').read_text(encoding='utf-8'))
            with np.load(folder / 'scan.npz') as stored:
                arrays = {name: stored[name] for name in ARRAYS}
            return cls(**arrays, info=ScanInfo.from_json(content), folder=folder)
        except KeyError as error:
            raise UserError(
                f'the scan in {str(folder)!r} was kept by another version of mindpad_mm '
                f'({error.args[0]}): scan again'
            ) from error
        except (OSError, ValueError) as error:
            raise UserError(f'{str(folder)!r} holds no complete scan: {error}') from error


def score_map_of(
    arrays: ScanArrays, index: tuple[int, int, int], box: tuple[int, int], scene: tuple[int, int]
) -> ScoreMap:
    """One map, cut to where its box fits, flagged positions NaN.

    Args:
        arrays: Of a scan.
        index: (background, object, size).
        box, scene: (height, width) in pixels.
    """
    scores = arrays.scores[index].astype(np.float64)
    fits = ~np.isnan(scores)
    rows, cols = fits.any(1), fits.any(0)
    scores[arrays.flags[index]] = np.nan
    return ScoreMap(scores[np.ix_(rows, cols)], arrays.rows[rows], arrays.cols[cols], box, scene)


def _count(number: int, what: str) -> str:
    return f'{number} {what}{"s" * (number != 1)}'


def _mean(entry: dict[str, Any], percent: bool = False) -> str:
    def written(value: float) -> str:
        return f'{100 * value:.1f} %' if percent else f'{value:.3f}'

    interval = entry['interval']
    between = f' [{written(interval[0])}, {written(interval[1])}]' if interval else ''
    return written(entry['mean']) + between
