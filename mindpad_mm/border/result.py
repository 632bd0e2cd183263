"""The result of a border-loss measurement, and how it is kept on disk."""

from __future__ import annotations

import base64
import csv
import dataclasses
import hashlib
import html
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from mindpad_mm.border.losses import NEAR, VariantStatistics, variant_statistics
from mindpad_mm.border.objects import BorderObject
from mindpad_mm.border.photos import Photo
from mindpad_mm.border.plot import draw_losses
from mindpad_mm.border.probes import CONTROL, Probe, fill_beyond, take
from mindpad_mm.border.variants import VariantInfo
from mindpad_mm.border.verdict import verdict
from mindpad_mm.core.errors import UserError, one_line
from mindpad_mm.core.files import json_types, read_json, save_json, written_whole
from mindpad_mm.core.names import PathLike

if TYPE_CHECKING:
    import pandas

COLUMNS = (
    'variant', 'photo', 'object', 'label', 'size', 'side', 'distance', 'view', 'row', 'col',
    'score', 'iou', 'x1', 'y1', 'x2', 'y2',
)  # fmt: skip
_HTML_DPI = 80


@dataclass
class BorderInfo:
    """What was measured, as in ``border.json``.

    Attributes:
        config, checkpoint, cfg_options: The detector.
        device: As torch names it.
        settings: The fields of :class:`BorderSettings`, as JSON types.
        fills: The colour (B, G, R) of each fill, by its name in the settings.
        classes: Names of the labels.
        views: The windows of a probe, in the order of the scores.
        variants: What was compared, the detector as trained first.
        photos: As :meth:`Photo.to_json` gives them, all that were offered.
        objects: Their ``photo``, ``label``, ``box``, ``source`` and ``score``.
        possible_probes: How many probes there were to choose from.
        photos_searched: Photos in which objects were looked for; they come first.
        photos_too_small: Names of photos that have no room for windows.
        seconds: Spent on scoring.
        processes, threads: How many processes shared the work, with how many threads each.
        versions: Of the packages that take part.
        fingerprint: All that the scores depend on; resumed with the same only.
    """

    config: str
    checkpoint: str | None
    cfg_options: dict[str, Any]
    device: str
    settings: dict[str, Any]
    fills: dict[str, list[int]]
    classes: list[str]
    views: list[str]
    variants: list[VariantInfo]
    photos: list[dict[str, Any]]
    objects: list[dict[str, Any]]
    possible_probes: int
    photos_searched: int
    photos_too_small: list[str]
    seconds: float
    processes: int
    threads: int
    versions: dict[str, str]
    fingerprint: dict[str, Any]

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> BorderInfo:
        """Read what :meth:`BorderResult.save` wrote.

        Raises:
            KeyError: A field is missing.
        """
        values = {each.name: content[each.name] for each in dataclasses.fields(cls)}
        values['variants'] = [
            VariantInfo(**{**each, 'left_alone': tuple(each['left_alone'])})
            for each in content['variants']
        ]
        return cls(**values)


@dataclass(repr=False)
class BorderResult:
    """Scores of all windows, and what follows from them.

    Attributes:
        info: What was measured.
        probes: Objects and the cuts beside them.
        values: (variants, probes, views, 6) float32: the score in 0..1 of the object's best detection,
            its IoU, and its box ``x1, y1, x2, y2`` in pixels of the scaled photo. A score of 0 means
            that none was found; NaN, that the window was not scored.
        photos, objects: With their pixels, where the result was just measured; else empty.
        folder: Where it is kept; None for a result in memory.
    """

    info: BorderInfo
    probes: Sequence[Probe]
    values: np.ndarray
    photos: Sequence[Photo] = ()
    objects: Sequence[BorderObject] = ()
    folder: Path | None = None
    statistics: dict[str, VariantStatistics] = field(init=False)
    verdict: list[str] = field(init=False)

    def __post_init__(self) -> None:
        info, settings = self.info, self.info.settings
        sizes = np.array([_size(each['box']) for each in info.objects] or [0.0])
        self.statistics = variant_statistics(
            [each.name for each in info.variants],
            info.views,
            self.values[..., 0].astype(np.float64),
            self.probes,
            sizes[[probe.obj for probe in self.probes]],
            settings,
        )
        self.verdict = verdict(self.statistics, info.variants, settings)

    def summary(self) -> str:
        """The verdict, and what it rests on."""
        return '\n'.join([*self.verdict, f'({self.facts()}.)'])

    def measured(self) -> dict[str, tuple[float | None, list[float] | None]]:
        """Means as trained, with their intervals, by name.

        ``'padding_loss'`` is that near the border, ``'padding_loss@16'`` at a distance of 16 pixels, and
        ``'padding_loss@left'`` near the border at the left.
        """
        by_side = self.statistics[self.info.variants[0].name]['by_side']
        found = {}
        for side, by_distance in by_side.items():
            for distance, measures in by_distance.items():
                if side != 'all' and distance != NEAR:
                    continue
                place = side if side != 'all' else '' if distance == NEAR else distance
                for name, each in measures.items():
                    key = f'{name}@{place}' if place else name
                    found[key] = each['mean'], each['interval']
        return found

    def facts(self) -> str:
        """How much was scored, and how long that took."""
        near = self.statistics[self.info.variants[0].name]['by_side']['all'][NEAR]
        used = len({probe.obj for probe in self.probes})
        zooms = [self.info.photos[probe.photo]['zoom'] for probe in self.probes]
        low, high = min(zooms), max(zooms)
        between = f'{low:.2f}' if f'{low:.2f}' == f'{high:.2f}' else f'{low:.2f} to {high:.2f}'
        scaled = f', scaled by {between}'
        small = len(self.info.photos_too_small)
        left_out = f'; {small} photos are too small and were left out' if small else ''
        return (
            f'{len(self.probes)} of {self.info.possible_probes} possible cuts beside {used} objects in '
            f'{near["open"]["photos"]} photos{scaled}, scored in {self.info.seconds / 60:.1f} '
            f'minutes{left_out}'
        )

    def plot(self) -> Figure:
        """A matplotlib figure: loss against distance, by variant, by cause and by side."""
        return draw_losses(self.statistics, self.info.settings)

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """One row for each scored window, see ``COLUMNS``; boxes in pixels of the scaled photo."""
        info = self.info
        for variant, probe_number, view in np.argwhere(np.isfinite(self.values[..., 0])):
            probe = self.probes[probe_number]
            obj = info.objects[probe.obj]
            name = info.views[view]
            corner = probe.corner(name)
            assert corner is not None
            values = [round(float(value), 6) for value in self.values[variant, probe_number, view]]
            yield (
                info.variants[variant].name,
                info.photos[probe.photo]['source'],
                probe.obj,
                info.classes[obj['label']],
                round(_size(obj['box']), 2),
                probe.side,
                probe.distance,
                name,
                *corner,
                *values,
            )

    def to_dataframe(self) -> pandas.DataFrame:
        """The rows of ``border.csv``: one for each scored window.

        Raises:
            UserError: pandas is not installed.
        """
        try:
            import pandas  # optional, and slow to import
        except ImportError as error:
            raise UserError('to_dataframe needs pandas: pip install pandas') from error
        return pandas.DataFrame(self.rows(), columns=list(COLUMNS))

    def worst(self, count: int = 6) -> list[int]:
        """Numbers of the probes near the border that lose most as trained, each of another object."""
        border_loss = (
            self.values[0, :, self.info.views.index('open'), 0]
            - self.values[0, :, self.info.views.index('cut'), 0]
        )
        near = [probe.distance <= self.info.settings['near'] for probe in self.probes]
        order = np.argsort(-np.where(near, np.nan_to_num(border_loss, nan=-1), -1), kind='stable')
        chosen: dict[int, int] = {}
        for number in order:
            if border_loss[number] > 0 and near[number]:
                chosen.setdefault(self.probes[number].obj, int(number))
        return list(chosen.values())[:count]

    def window_pixels(self, probe: int, view: str) -> np.ndarray:
        """(h, w, 3) uint8 BGR, a window as the detector saw it.

        Raises:
            UserError: The result was read from disk.
        """
        if not self.photos:
            raise UserError('windows are at hand only right after the measurement')
        chosen = self.probes[probe]
        photo = self.photos[chosen.photo]
        corner = chosen.corner(view)
        if corner is None:
            raise UserError(f'probe {probe} has no window {view!r}')
        image = take(self.objects[chosen.obj].drawn_on(photo.pixels()), corner, photo.window)
        if view.startswith(CONTROL):
            names = list(self.info.fills)
            fill = view.removeprefix(CONTROL).strip() or names[0]
            blue, green, red = self.info.fills[fill]
            fill_beyond(image, corner, chosen.line(photo.window), (blue, green, red))
        return image

    def __repr__(self) -> str:
        names = ', '.join(each.name for each in self.info.variants)
        return f'BorderResult({len(self.probes)} probes, variants: {names})'

    def _repr_html_(self) -> str:
        """The summary and the figure, for notebooks."""
        picture = io.BytesIO()
        self.plot().savefig(picture, dpi=_HTML_DPI)
        encoded = base64.b64encode(picture.getvalue()).decode()
        text = html.escape(self.summary()).replace('\n', '<br>')
        return f'<p>{text}</p><img alt="loss by distance" src="data:image/png;base64,{encoded}">'

    def to_json(self) -> dict[str, Any]:
        """The content of ``border.json``."""
        return {
            'verdict': self.verdict,
            'statistics': self.statistics,
            **dataclasses.asdict(self.info),
            'cfg_options': json_types(self.info.cfg_options),
            'probes': [dataclasses.asdict(probe) for probe in self.probes],
        }

    def save(self, folder: PathLike) -> None:
        """Write ``border.csv`` and ``border.json``, each whole or not at all.

        ``border.json`` comes last: where it is, the measurement is complete.
        """
        folder = Path(folder)
        with (
            written_whole(folder / 'border.csv') as temporary,
            open(temporary, 'w', encoding='utf-8', errors='backslashreplace', newline='') as stream,
        ):
            writer = csv.writer(stream)
            writer.writerow(COLUMNS)
            writer.writerows(self.rows())
        digest = _sha256(folder / 'border.csv')
        save_json(folder / 'border.json', {**self.to_json(), 'csv_sha256': digest})
        self.folder = folder

    @classmethod
    def load(cls, folder: PathLike) -> BorderResult:
        """Read what :meth:`save` wrote.

        Raises:
            UserError: The folder holds no complete measurement, or one of another version.
        """
        folder = Path(folder)
        try:
            content = read_json(folder / 'border.json')
            if content.get('csv_sha256', '') not in ('', _sha256(folder / 'border.csv')):
                raise ValueError(
                    'border.csv is damaged, or of another measurement than border.json'
                )
            info = BorderInfo.from_json(content)
            probes = [_probe(each) for each in content['probes']]
            values = _read_values(folder / 'border.csv', info, probes)
            return cls(info, probes, values, folder=folder)
        except KeyError as error:
            raise UserError(
                f'the measurement in {str(folder)!r} was kept by another version of mindpad_mm '
                f'({error.args[0]}): measure again'
            ) from error
        except UserError:
            raise
        except (OSError, ValueError, TypeError, AttributeError, IndexError, csv.Error) as error:
            reason = one_line(error)
            raise UserError(f'{str(folder)!r} holds no complete measurement: {reason}') from error


def _size(box: Sequence[float]) -> float:
    x1, y1, x2, y2 = box
    return float(np.sqrt((x2 - x1) * (y2 - y1)))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _probe(content: dict[str, Any]) -> Probe:
    corners = {
        key: None if content[key] is None else tuple(content[key])
        for key in ('cut', 'open', 'placebo')
    }
    return Probe(**{**content, **corners})


def _read_values(path: Path, info: BorderInfo, probes: Sequence[Probe]) -> np.ndarray:
    variants = {each.name: index for index, each in enumerate(info.variants)}
    views = {name: index for index, name in enumerate(info.views)}
    numbers = {(p.obj, p.side, p.distance): index for index, p in enumerate(probes)}
    values = np.full((len(variants), len(probes), len(views), 6), np.nan, np.float32)
    with open(path, encoding='utf-8', newline='') as stream:
        for row in csv.DictReader(stream):
            probe = numbers[int(row['object']), row['side'], int(row['distance'])]
            at = variants[row['variant']], probe, views[row['view']]
            values[at] = [float(row[name]) for name in ('score', 'iou', 'x1', 'y1', 'x2', 'y2')]
    return values
