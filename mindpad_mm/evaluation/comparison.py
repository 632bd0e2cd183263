"""The result of a comparison, and its file ``comparison.json``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mindpad_mm.core.errors import UserError, one_line
from mindpad_mm.core.files import json_types, read_json, save_json
from mindpad_mm.core.names import PathLike
from mindpad_mm.core.tables import write_csv
from mindpad_mm.evaluation.metrics import Metric

FILE = 'comparison.json'
COLUMNS = ('entry', 'of', 'kind', 'metric', 'value', 'sd', 'low', 'high')


@dataclass(frozen=True)
class RunResult:
    """One run of an entry.

    Attributes:
        config: Path of the config.
        checkpoint: Path or URL of the checkpoint.
        name: Name of the run.
        cfg_options: Overrides of the config.
        recalibrate: Number of training images that batch-norm statistics were estimated on; 0: they
            are those of the checkpoint.
        detections: COCO result file.
        scan: Folder of the scan; None without a scan.
        metrics: Metrics on the test set by name, APs in 0..1; None if undefined.
        scan_metrics: Means of the scan's statistics by name; empty without a scan.
    """

    config: str
    checkpoint: str
    name: str
    cfg_options: dict[str, Any]
    recalibrate: int
    detections: str
    scan: str | None
    metrics: dict[str, float | None]
    scan_metrics: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The attributes as JSON types."""
        return {
            'config': self.config,
            'checkpoint': self.checkpoint,
            'name': self.name,
            'cfg_options': json_types(self.cfg_options),
            'recalibrate': self.recalibrate,
            'detections': self.detections,
            'scan': self.scan,
            'figures': self.metrics,
            'scan_figures': self.scan_metrics,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> RunResult:
        """Read what :meth:`to_json` gives."""
        content = dict(content)
        metrics, scan_metrics = content.pop('figures'), content.pop('scan_figures')
        return cls(**content, metrics=metrics, scan_metrics=scan_metrics)


@dataclass(frozen=True)
class EntryResult:
    """One run or group of a comparison.

    Attributes:
        name: Name of the run or group.
        runs: Its runs.
        metrics: Metrics on the test set, by their names in :class:`SpatialCocoMetric` without
            ``bbox_``. Intervals: bootstrap over images, and over the runs of a group.
        differences: ``metrics`` minus those of the reference; empty for the reference.
        scan_metrics: Statistics of the scan by name, means over backgrounds. Intervals: Student's t
            over backgrounds. Empty without a scan.
        scan_differences: ``scan_metrics`` minus those of the reference, paired by background; empty
            for the reference.
    """

    name: str
    runs: list[RunResult]
    metrics: dict[str, Metric]
    differences: dict[str, Metric] = field(default_factory=dict)
    scan_metrics: dict[str, Metric] = field(default_factory=dict)
    scan_differences: dict[str, Metric] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The attributes as JSON types."""
        return {
            'name': self.name,
            'runs': [run.to_json() for run in self.runs],
            'figures': _metrics_to_json(self.metrics),
            'differences': _metrics_to_json(self.differences),
            'scan_figures': _metrics_to_json(self.scan_metrics),
            'scan_differences': _metrics_to_json(self.scan_differences),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> EntryResult:
        """Read what :meth:`to_json` gives."""
        return cls(
            content['name'],
            [RunResult.from_json(run) for run in content['runs']],
            *(
                {name: Metric.from_json(metric) for name, metric in content[key].items()}
                for key in ('figures', 'differences', 'scan_figures', 'scan_differences')
            ),
        )


@dataclass(frozen=True)
class TestSetSummary:
    """The test set of a comparison.

    Attributes:
        ann_file: Path of the annotations.
        classes: Class names, in the detector's order.
        images: Number of images.
        objects: Number of objects of these classes without crowds.
        objects_by_region: The same for each region, see :mod:`mindpad_mm.evaluation.regions`.
        sizes_by_region: Their median size, the square root of the box's area in pixels; None without
            objects. Regions are not matched by size.
    """

    __test__ = False  # for pytest

    ann_file: str
    classes: list[str]
    images: int
    objects: int
    objects_by_region: dict[str, int]
    sizes_by_region: dict[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """The attributes as JSON types."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TestSetSummary:
        """Read what :meth:`to_json` gives."""
        return cls(**content)


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        entries: Runs and groups, in the order given. Differences are to the first, the reference.
        folder: Folder of ``comparison.json``.
        test_set: The test set.
        draws: Number of bootstrap draws.
        seed: Seed of the draws.
        border_px: Bin edges of the distance to the border, pixels of the original image.
        scan: Options of the scan as JSON types; None without a scan.
        cfg_options: Overrides of every config.
        device: Torch device.
        versions: Version of each package.
        seconds: Duration of the comparison, which is shorter if results were in the cache.
    """

    entries: list[EntryResult]
    folder: Path
    test_set: TestSetSummary
    draws: int
    seed: int
    border_px: list[float]
    scan: dict[str, Any] | None = None
    cfg_options: dict[str, Any] = field(default_factory=dict)
    device: str = 'cpu'
    versions: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def __getitem__(self, name: str) -> EntryResult:
        return next(entry for entry in self.entries if entry.name == name)

    @property
    def reference(self) -> EntryResult:
        """The first entry."""
        return self.entries[0]

    def measured(self) -> dict[str, tuple[float | None, tuple[float, float] | None]]:
        """Differences to the reference with their intervals, by ``'METRIC@ENTRY'``."""
        return {
            f'{name}@{entry.name}': (metric.value, metric.interval)
            for entry in self.entries[1:]
            for name, metric in {**entry.differences, **entry.scan_differences}.items()
        }

    def settings_to_json(self) -> dict[str, Any]:
        """Test set and settings as JSON types."""
        return {
            'test_set': self.test_set.to_json(),
            'draws': self.draws,
            'seed': self.seed,
            'border_px': self.border_px,
            'scan': self.scan,
            'cfg_options': json_types(self.cfg_options),
            'device': self.device,
            'versions': self.versions,
            'seconds': self.seconds,
        }

    def to_json(self) -> dict[str, Any]:
        """The content of ``comparison.json``."""
        return {
            'reference': self.reference.name,
            'entries': [entry.to_json() for entry in self.entries],
            **self.settings_to_json(),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any], folder: PathLike) -> Comparison:
        """Read what :meth:`to_json` gives.

        Args:
            content: The content of ``comparison.json``.
            folder: The file's folder.
        """
        content = dict(content)
        del content['reference']  # the first entry's name
        entries = [EntryResult.from_json(entry) for entry in content.pop('entries')]
        test_set = TestSetSummary.from_json(content.pop('test_set'))
        return cls(entries, Path(folder), test_set, **content)

    def save(self) -> None:
        """Write ``comparison.json`` and ``comparison.csv``, each atomically."""
        write_csv(self.folder / 'comparison.csv', COLUMNS, self.rows())
        save_json(self.folder / FILE, self.to_json())

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """The rows of ``comparison.csv``: every metric and difference of every entry.

        Cells of what is undefined are empty. ``of`` is ``'test set'`` or ``'scan'``, and ``kind``
        ``'value'`` or ``'difference'``, which is to the reference.
        """
        for entry in self.entries:
            for of, kind, metrics in (
                ('test set', 'value', entry.metrics),
                ('test set', 'difference', entry.differences),
                ('scan', 'value', entry.scan_metrics),
                ('scan', 'difference', entry.scan_differences),
            ):
                for name, metric in metrics.items():
                    yield entry.name, of, kind, name, metric.value, metric.sd, *metric.ends()

    @classmethod
    def load(cls, folder: PathLike) -> Comparison:
        """Read ``comparison.json`` in a folder.

        Raises:
            UserError: The file is missing, or was not written by this version.
        """
        try:
            content = read_json(Path(folder) / FILE)
            return cls.from_json(content, folder)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise UserError(
                f'`folder`: {str(folder)!r} does not contain a comparison of this version: '
                f'{one_line(error)}'
            ) from error


def _metrics_to_json(metrics: Mapping[str, Metric]) -> dict[str, Any]:
    return {name: metric.to_json() for name, metric in metrics.items()}
