"""The result of a scan: score maps and details of the run, in memory and in files."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from matplotlib.figure import Figure

from mindpad_mm.core.errors import UserError, one_line
from mindpad_mm.core.files import json_types, read_json, save_json, written_whole
from mindpad_mm.core.images import read_image, write_png
from mindpad_mm.core.names import PathLike
from mindpad_mm.core.scenes import Part, paste
from mindpad_mm.scan.arrays import (
    ARRAYS,
    TWIN_ARRAYS,
    ScanArrays,
    arrays_sha256,
    loss_map_of,
    score_map_of,
)
from mindpad_mm.scan.cutouts import WindowInfo
from mindpad_mm.scan.loss import NEAR
from mindpad_mm.scan.plot import MapPanel, draw_maps
from mindpad_mm.scan.quick import even_map
from mindpad_mm.scan.score_map import ScoreMap
from mindpad_mm.scan.statistics import (
    BackgroundMean,
    ScanMapStatistics,
    ScanStatistics,
    sized_name,
    sizes_of,
)

if TYPE_CHECKING:
    import pandas

_HTML_DPI = 80
# Names of a scan's images.
_NAME = re.compile(r'[\w.-]+\.png', re.ASCII)
# What damaged or foreign JSON and npz files raise.
_UNREADABLE = (
    ValueError, TypeError, AttributeError, IndexError, EOFError, MemoryError, NotImplementedError,
    OverflowError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip


@dataclass
class BackgroundInfo:
    """A scene: its source, its file in the scan's folder, and its size in pixels.

    ``photo`` is the part that the photo fills, (top, left, height, width) in pixels. The rest is what
    the test pipeline pads; it has no positions.
    """

    source: str
    file: str
    height: int
    width: int
    photo: list[int]


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
        sizes: Lengths of the objects' longer side, pixels of the scene; None: each object's natural
            size, which its ``boxes`` give.
        inside_stride: Pixels between positions that are more than 32 px from every border.
        engine: Name of the engine.
        engine_notes: Notes of the engine for each map and process, see :meth:`Engine.notes`, with the
            ``background``, ``object`` and ``size`` of the map.
        batch_size: Positions per forward pass.
        processes, threads: Number of processes, and of threads in each.
        positions: Number of positions of all maps.
        seconds: Time spent on positions, divided by the number of processes.
        positions_per_second: Speed of all processes together, without their start; positions in
            shifted windows count.
        windows: Where each scene was cut out of a photo; empty if they are no windows.
    """

    backgrounds: list[BackgroundInfo]
    objects: list[ObjectInfo]
    sizes: list[int | None]
    inside_stride: int
    engine: str
    engine_notes: list[dict[str, Any]]
    batch_size: int
    processes: int
    threads: int
    positions: int
    seconds: float
    positions_per_second: float
    windows: list[WindowInfo]


@dataclass
class ScanInfo(ScanRun):
    """The content of ``scan.json``.

    Attributes:
        config, checkpoint: Paths of the detector's files. For a built detector: its config or class,
            and ``'in memory'``.
        cfg_options: Overrides of the config, including lowered score thresholds.
        label, label_index: Name and index of the objects' class.
        space, stride, quick, far, iou_thr, clean_thr, tolerance, seed: See :class:`ScanSettings`.
        device: Torch device.
        periods: Candidate periods of the grid's pattern, (vertical, horizontal) pixels of the scene.
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
    quick: bool
    far: int
    iou_thr: float
    clean_thr: float
    tolerance: float
    device: str
    seed: int
    periods: list[list[float]]
    versions: dict[str, str]
    fingerprint: dict[str, Any]
    statistics: ScanStatistics

    def to_json(self) -> dict[str, Any]:
        """The attributes as JSON types."""
        return {**dataclasses.asdict(self), 'cfg_options': json_types(self.cfg_options)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> ScanInfo:
        """Read what :meth:`to_json` gives.

        Raises:
            KeyError: A field is missing.
        """

        def fields(kind: Any, given: dict[str, Any]) -> dict[str, Any]:
            return {field.name: given[field.name] for field in dataclasses.fields(kind)}

        values = fields(cls, content)
        for name, kind in (
            ('backgrounds', BackgroundInfo),
            ('objects', ObjectInfo),
            ('windows', WindowInfo),
        ):
            values[name] = [kind(**fields(kind, each)) for each in content[name]]
        return cls(**values)


@dataclass(repr=False)
class ScanResult(ScanArrays):
    """A finished scan.

    Attributes:
        info: Details of the run, and the statistics.
        folder: Folder of its files; None for a scan in memory.
        pixels: The scenes, and the objects by size as pasted. None: they are read from ``folder``.
        photos: The photos that windows were cut out of, scaled. None: they are read from ``folder``.
    """

    info: ScanInfo
    folder: Path | None = None
    pixels: tuple[Sequence[np.ndarray], Sequence[Sequence[np.ndarray]]] | None = None
    photos: Sequence[np.ndarray] | None = None

    def indices(self) -> Iterator[tuple[int, ...]]:
        """(background, object, size) of every map."""
        return np.ndindex(*self.scores.shape[:3])

    def score_map(self, background: int, obj: int, size: int) -> ScoreMap:
        """One map, see :func:`score_map_of`."""
        photo = Part(*self.info.backgrounds[background].photo)
        box = self.info.objects[obj].boxes[size]
        return score_map_of(self, (background, obj, size), (box[0], box[1]), photo)

    def even_map(self, background: int, obj: int, size: int) -> ScoreMap:
        """One map at evenly spaced positions; of a quick scan, the sparse ones."""
        return even_map(self.score_map(background, obj, size), self.info.inside_stride)

    def loss_map(self, background: int, obj: int, size: int) -> ScoreMap:
        """What the border costs at each position: a map of open score minus score.

        Raises:
            UserError: The scenes of the scan are no windows.
        """
        whole = self.score_map(background, obj, size)
        return loss_map_of(self, (background, obj, size), whole)

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

    def photo_pixels(self, background: int) -> np.ndarray:
        """The scaled photo that a window was cut out of, (H, W, 3) uint8 BGR."""
        if self.photos is not None:
            return self.photos[background]
        return read_image(self._in_folder(self.info.windows[background].file))

    def _in_folder(self, name: str) -> Path:
        if self.folder is None:
            raise UserError('the scan has neither a folder nor pixels: its scenes cannot be shown')
        # Somebody else may have made the folder, and the page of the scan holds its images.
        if not _NAME.fullmatch(name) or (self.folder / name).is_symlink():
            raise UserError(f'{name!r} in scan.json is not an image in its folder')
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
        if not any('mean' in each for each in info.statistics['maps']):
            return (
                f'{info.label!r}: all of {where} are flagged, the clean scene has detections there.'
            )
        lines = [f'{info.label!r} at {where}.']
        sizes = sizes_of(info.statistics['maps'])
        for size in sizes:
            mean, blind = (
                overall.get(sized_name(name, size, sizes)) for name in ('mean', 'blind_fraction')
            )
            if mean and blind:
                lines.append(
                    f'At {size} px: mean score {_mean(mean)}, blind (below half the mean of the best '
                    f'tenth) at {_mean(blind, percent=True)} of the positions.'
                )
        maps = [(index, self.statistics(*index)) for index in self.indices()]
        index, worst = min(
            ((index, each['worst']) for index, each in maps if 'worst' in each),
            key=lambda found: found[1]['score'],
        )
        lines.append(
            f'Lowest score {worst["score"]:.3f}: size {max(info.objects[index[1]].boxes[index[2]])} px, '
            f'{info.backgrounds[index[0]].source}, row {worst["row"]}, column {worst["col"]}.'
        )
        for size in sizes:
            border, inside = (
                overall.get(sized_name(f'loss.{name}', size, sizes))
                for name in ('border', 'interior')
            )
            if border:
                lines.append(
                    f'At {size} px, score with the border far minus score, within {NEAR} px of a side: '
                    + _mean(border)
                    + (f'; inside: {_mean(inside)}.' if inside else '.')
                )
        lines.append(
            'All but the last depend on the scene as well as on the border.'
            if info.windows
            else 'These numbers depend on the scene as well as on the border: the map shows which of '
            'them matters where.'
        )
        return '\n'.join(lines)

    def measured(self) -> dict[str, tuple[float, list[float] | None]]:
        """Means over scenes with their intervals by name, and by name and size: ``'mean@32'``."""
        found = {}
        sizes = sizes_of(self.info.statistics['maps'])
        for name, each in self.info.statistics['overall'].items():
            plain, _, size = name.partition(' at ')
            values = each['mean'], each['interval']
            if not size:
                found[plain] = values
            size = size.removesuffix(' px') or (str(sizes[0]) if len(sizes) == 1 else '')
            if size:
                found[f'{plain}@{size}'] = values
        return found

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
                self.loss_map(*index).scores if self.info.windows else None,
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
        longer = np.max([each.boxes for each in self.info.objects], -1)
        columns = {
            'background': background, 'object': obj, 'size': longer[obj, size],
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
            for number, window in enumerate(self.info.windows):
                write_png(folder / window.file, self.photo_pixels(number))
        names = ARRAYS if self.open_scores is None else ARRAYS + TWIN_ARRAYS
        arrays = {name: getattr(self, name) for name in names}
        with written_whole(folder / 'scan.npz') as temporary, open(temporary, 'wb') as stream:
            np.savez_compressed(stream, **arrays)
        digest = arrays_sha256(self)
        save_json(folder / 'scan.json', {**self.info.to_json(), 'arrays_sha256': digest})
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
            content = read_json(folder / 'scan.json')
            if not isinstance(content, dict):
                raise ValueError('scan.json is not that of a scan')
            with np.load(folder / 'scan.npz') as stored:
                twins = TWIN_ARRAYS if content.get('windows') else ()
                arrays = {name: stored[name] for name in (*ARRAYS, *twins)}
            result = cls(**arrays, info=ScanInfo.from_json(content), folder=folder)
            result._check(content.get('arrays_sha256'))
            return result
        except KeyError as error:
            raise UserError(
                f'the scan in {str(folder)!r} was saved by another version of mindpad_mm '
                f'({error.args[0]}): scan again'
            ) from error
        except UserError:
            raise
        except (*_UNREADABLE, OSError) as error:
            reason = one_line(error)
            raise UserError(
                f'{str(folder)!r} does not contain a complete scan: {reason}'
            ) from error

    def _check(self, digest: str | None) -> None:
        """Check that arrays, descriptions and files belong together.

        Raises:
            ValueError: They do not.
        """
        if digest is not None and digest != arrays_sha256(self):
            raise ValueError('scan.npz is damaged, or of another scan than scan.json')
        info = self.info
        maps = (len(info.backgrounds), len(info.objects), len(info.sizes))
        shape = (*maps, self.rows.size, self.cols.size)
        others = (self.ious, self.flags, self.clean, self.boxes[..., 0])
        if self.scores.shape != shape or any(each.shape != shape for each in others):
            raise ValueError('the arrays in scan.npz do not fit scan.json')
        if any(len(obj.files) != shape[2] or len(obj.boxes) != shape[2] for obj in info.objects):
            raise ValueError('the sizes of an object in scan.json do not fit its files')
        if len(info.statistics['maps']) != math.prod(maps):
            raise ValueError('scan.json does not have statistics of every map')
        files = [scene.file for scene in info.backgrounds]
        files += [window.file for window in info.windows]
        for name in (*files, *(file for obj in info.objects for file in obj.files)):
            if not _NAME.fullmatch(name):
                raise ValueError(f'{name!r} in scan.json is not the name of one of its images')


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
