"""The result of a scan: score maps and details of the run, in memory and in files."""

from __future__ import annotations

import base64
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
from mindpad_mm.core.files import read_json, save_arrays, save_json
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
from mindpad_mm.scan.bystanders import Bystanders
from mindpad_mm.scan.causes import Causes, blind_limit
from mindpad_mm.scan.info import ScanInfo
from mindpad_mm.scan.plot import MapPanel, draw_maps
from mindpad_mm.scan.plot_extras import draw_bystanders, draw_causes
from mindpad_mm.scan.positions import position_boxes
from mindpad_mm.scan.quick import even_map
from mindpad_mm.scan.score_map import ScoreMap
from mindpad_mm.scan.statistics import ScanMapStatistics, sizes_of
from mindpad_mm.scan.words import count_of, summary_of

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


@dataclass(repr=False)
class ScanResult(ScanArrays):
    """A finished scan.

    Attributes:
        info: Details of the run, and the statistics.
        folder: Folder of its files; None for a scan in memory.
        pixels: The scenes, and the objects by size as pasted. None: they are read from ``folder``.
        photos: The photos that windows were cut out of, scaled. None: they are read from ``folder``.
        causes: Why the object is not found at blind places; None if the scan did not look for it.
    """

    info: ScanInfo
    folder: Path | None = None
    pixels: tuple[Sequence[np.ndarray], Sequence[Sequence[np.ndarray]]] | None = None
    photos: Sequence[np.ndarray] | None = None
    causes: Causes | None = None

    def add_causes(self, causes: Causes) -> None:
        """Take causes in, and their counts into the statistics of the maps."""
        self.causes = causes
        for index in self.indices():
            known = self.statistics(*index)
            far = None
            if self.open_scores is not None and self.open_flags is not None:
                far = np.where(self.open_flags[index], np.nan, self.open_scores[index])
            known['causes'] = causes.counts(index, blind_limit(known), far)

    def count_bystanders(self, classes: Sequence[str]) -> None:
        """Add the counts of bystanders, if there are any, to the statistics of the maps.

        Args:
            classes: Names of the detector's classes.
        """
        if self.bystanders is None:
            return
        places = np.stack(np.meshgrid(self.rows, self.cols, indexing='ij'), -1)
        for index in self.indices():
            box = self.info.objects[index[1]].boxes[index[2]]
            targets = position_boxes(places.reshape(-1, 2), (box[0], box[1]))
            known = ~np.isnan(self.scores[index])
            self.statistics(*index)['bystanders'] = self.bystanders.statistics(
                index, known, targets.reshape(*known.shape, 4), classes
            )

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
        return summary_of(self.info)

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

    def plot_causes(self) -> Figure:
        """Plot the causes of blind places of all maps.

        Raises:
            UserError: The scan did not look for causes.
        """
        if self.causes is None:
            raise UserError('the scan did not look for causes: scan with `causes=True`')
        cells = [self.causes.causes[index] for index in self.indices()]
        return draw_causes(self._named_maps(), cells, self._scenes(), (self.rows, self.cols))

    def plot_bystanders(self) -> Figure:
        """Plot how many other boxes changed by the object's position, of all maps.

        Raises:
            UserError: The scan did not watch them.
        """
        if self.bystanders is None:
            raise UserError('the scan did not watch other boxes: scan with `bystanders=True`')
        events = [self.bystanders.events(index) for index in self.indices()]
        boxes = [self.bystanders.boxes[index[0]] for index in self.indices()]
        lines = self.rows, self.cols
        return draw_bystanders(self._named_maps(), events, boxes, self._scenes(), lines)

    def _named_maps(self) -> list[tuple[str, ScoreMap]]:
        maps = [(index, self.score_map(*index)) for index in self.indices()]
        return [
            (f'scene {index[0]}, object {index[1]}, {max(each.box_size)} px', each)
            for index, each in maps
        ]

    def _scenes(self) -> list[np.ndarray]:
        """The scene of each map."""
        return [self.scene_pixels(index[0]) for index in self.indices()]

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
            f'ScanResult({self.info.label!r}, {count_of(backgrounds, "scene")}, '
            f'{count_of(objects, "object")}, {count_of(sizes, "size")}, {rows} x {cols} positions)'
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
        save_arrays(folder / 'scan.npz', arrays)
        if self.causes is not None:
            self.causes.save(folder)
        if self.bystanders is not None:
            self.bystanders.save(folder)
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
            info = ScanInfo.from_json(content)
            has_causes = any('causes' in each for each in info.statistics['maps'])
            causes = Causes.load(folder) if has_causes else None
            watched = any('bystanders' in each for each in info.statistics['maps'])
            bystanders = Bystanders.load(folder) if watched else None
            result = cls(**arrays, info=info, folder=folder, causes=causes, bystanders=bystanders)
            result._check(content.get('arrays_sha256'))
            return result
        except KeyError as error:
            raise UserError(
                f'the scan in {str(folder)!r} was saved by another version of mindpad_mm '
                f'({error.args[0]}): scan again'
            ) from error
        except UserError as error:
            raise UserError(f'{str(folder)!r} does not contain a complete scan: {error}') from error
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
        extents: list[Any] = [(scene.height, scene.width) for scene in info.backgrounds]
        extents += [box for obj in info.objects for box in obj.boxes]
        if not all(_are_pixels(each, 2) for each in extents) or not all(
            _are_pixels(scene.photo, 4) for scene in info.backgrounds
        ):
            raise ValueError('a size in scan.json is not in whole pixels')
        if len(info.statistics['maps']) != math.prod(maps):
            raise ValueError('scan.json does not have statistics of every map')
        files = [scene.file for scene in info.backgrounds]
        files += [window.file for window in info.windows]
        for name in (*files, *(file for obj in info.objects for file in obj.files)):
            if not _NAME.fullmatch(name):
                raise ValueError(f'{name!r} in scan.json is not the name of one of its images')


def _are_pixels(values: Any, count: int) -> bool:
    """Whether these are so many numbers of pixels, as JSON has them."""
    is_list = isinstance(values, (list, tuple)) and len(values) == count
    return is_list and all(type(each) is int and each >= 0 for each in values)
