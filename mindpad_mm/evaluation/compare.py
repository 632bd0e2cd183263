"""Two or more detectors on one test set and in one scan, side by side."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from pycocotools.coco import COCO
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from mindpad_mm.core.detector import DetectorFiles, versions
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.files import save_json, written_whole
from mindpad_mm.core.images import PathLike, list_images
from mindpad_mm.core.loading import check_model, load_config
from mindpad_mm.evaluation.bootstrap import Draws, Resampler
from mindpad_mm.evaluation.comparison import (
    LEAST_IMAGES,
    Comparison,
    EntryResult,
    difference,
    draw_runs,
    figure,
    scan_difference,
    scan_figure,
)
from mindpad_mm.evaluation.detections import TestSet, detect, detections_digest, file_digest
from mindpad_mm.evaluation.recalibrate import recalibrated_checkpoint, training_digest
from mindpad_mm.evaluation.regions import BORDER_PX, Zones
from mindpad_mm.evaluation.runs import Entry, Run, runs_of, told_apart
from mindpad_mm.evaluation.spatial import (
    SpatialEval,
    default_partitions,
    place,
    spatial_precisions,
)
from mindpad_mm.scan import ScanResult, blindspot_scan
from mindpad_mm.scan.statistics import over_backgrounds
from mindpad_mm.version import __version__


@dataclasses.dataclass
class _Evaluated:
    """One run with all that was found of it."""

    run: Run
    detections: Path
    figures: dict[str, float | None]
    draws: np.ndarray
    scan: ScanResult | None = None

    @property
    def by_background(self) -> dict[str, list[float]]:
        """The figures of the scan by background, NaN where undefined."""
        if self.scan is None:
            return {}
        maps = self.scan.info.statistics['maps']
        backgrounds = sorted({m['background'] for m in maps})
        parts = [over_backgrounds([m for m in maps if m['background'] == b]) for b in backgrounds]
        names = dict.fromkeys(name for part in parts for name in part)
        return {
            name: [part[name]['mean'] if name in part else float('nan') for part in parts]
            for name in names
        }

    def account(self) -> dict[str, Any]:
        """What was run, for the record."""
        overall = {} if self.scan is None else self.scan.info.statistics['overall']
        return {
            **dataclasses.asdict(self.run),
            'detections': str(self.detections),
            'scan': None if self.scan is None else str(self.scan.folder),
            'figures': self.figures,
            'scan_figures': {name: value['mean'] for name, value in overall.items()},
        }


def compare(
    entries: Sequence[Entry],
    out: PathLike,
    *,
    draws: int = 1000,
    seed: int = 0,
    border_px: Sequence[float] = BORDER_PX,
    scan: Mapping[str, Any] | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    device: str = 'cpu',
) -> Comparison:
    """Evaluate detectors on their common test set, and say how sure every difference is.

    Detections, figures, draws and scans are kept in ``out/cache`` by digests of all that they
    depend on: what is there is not computed again, and a killed comparison goes on.

    Args:
        entries: :class:`Run` and :class:`Group`; the first is the reference of every difference.
        out: Folder for ``comparison.json`` and the cache; see
            :func:`mindpad_mm.report.comparison_page.report_comparison` for tables and page.
        draws: Of the bootstrap over images, the same for all runs; below 40 there is no interval.
        seed: Of the draws.
        border_px: Edges of the bins of distance to the border, pixels of the original image.
        scan: Options of :func:`mindpad_mm.scan.blindspot_scan`, e.g.
            ``dict(scene=['street.jpg'], sizes=[32], stride=2)``; default: no scan.
        cfg_options: Overrides of every config, such as another test set; a run's own come after.
        device: For torch, e.g. ``cuda:0``.

    Returns:
        The comparison, saved.

    Raises:
        UserError: A file is missing or does not fit, runs have different test sets, two entries
            have one name, or a number makes no sense.
    """
    start = time.perf_counter()
    if draws < 1:
        raise UserError(f'draws {draws} is not possible: it must be at least 1')
    if seed < 0:
        raise UserError(f'seed {seed} is not possible: it must be at least 0')
    if not entries:
        raise UserError('nothing to compare: give at least one run')
    entries = told_apart(entries)
    partitions = default_partitions(tuple(border_px))
    try:
        cache = Path(out) / 'cache'
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'--out {str(out)!r} cannot be written to: {error.strerror}') from error

    runs = list({id(run): run for entry in entries for run in runs_of(entry)}.values())
    configs = [load_config(run.config, {**(cfg_options or {}), **run.cfg_options}) for run in runs]
    test_set = _common_test_set(runs, configs)
    evaluator = _Evaluator(test_set, cache, partitions, draws, seed, device)
    # What may fail comes before what takes long.
    digests: dict[str, str] = {}
    checkpoints = [_checkpoint(run, cfg, cache, device, digests) for run, cfg in zip(runs, configs)]
    for cfg, checkpoint in zip(configs, checkpoints):
        if not evaluator.detections_file(cfg, checkpoint).is_file():
            check_model(cfg, checkpoint)
    evaluated = {}
    for run, cfg, checkpoint in zip(runs, configs, checkpoints):
        one = evaluator.evaluate(run, cfg, checkpoint)
        if scan is not None:
            overrides = {**(cfg_options or {}), **run.cfg_options}
            one.scan = _scan(run, cfg, overrides, checkpoint, cache, scan, device)
        evaluated[id(run)] = one

    info = {
        'test_set': {
            'ann_file': test_set.ann_file,
            'classes': list(test_set.classes),
            'images': len(evaluator.gt.imgs),
            'objects': len(evaluator.gt.getAnnIds(catIds=evaluator.cat_ids, iscrowd=False)),
            'objects_by_region': evaluator.by_region()[0],
        },
        'draws': draws,
        'seed': seed,
        'border_px': list(border_px),
        'scan': None if scan is None else {k: _jsonable(v) for k, v in scan.items()},
        'cfg_options': dict(cfg_options or {}),
        'device': device,
        'versions': versions(),
    }
    rows = _rows(entries, evaluated, evaluator.names, evaluator.sure_names(), seed)
    info['seconds'] = round(time.perf_counter() - start, 3)
    comparison = Comparison(rows, info, Path(out))
    comparison.save()
    return comparison


class _Evaluator:
    """Figures and draws of one run after the other, on one test set."""

    def __init__(
        self,
        test_set: TestSet,
        cache: Path,
        partitions: Sequence[Any],
        draws: int,
        seed: int,
        device: str,
    ) -> None:
        self.test_set = test_set
        self.cache = cache
        self.partitions = partitions
        self.precisions = spatial_precisions(partitions)
        self.names = [p.name for p in self.precisions] + ['zone_var', 'zone_SP']
        self.draws = draws
        self.seed = seed
        self.device = device
        self.gt: COCO
        self.gt, self.cat_ids = test_set.load()

    def by_region(self) -> tuple[dict[str, int], dict[str, int]]:
        """By region, how many objects (crowds left out) there are to find, and in how many images."""
        anns = self.gt.loadAnns(self.gt.getAnnIds(catIds=self.cat_ids, iscrowd=False))
        image_ids = np.array([ann['image_id'] for ann in anns])
        objects, images = {}, {}
        for partition in self.partitions:
            regions = place(self.gt, anns, partition)
            for index, name in enumerate(partition.names):
                objects[name] = int((regions == index).sum())
                images[name] = len(np.unique(image_ids[regions == index]))
        return objects, images

    def sure_names(self) -> set[str]:
        """The figures of regions with enough images for an interval."""
        _, images = self.by_region()
        zones = [images[zone] for zone in Zones.names if images[zone]]
        enough = {p.name: images[p.region] for p in self.precisions}
        enough.update(zone_SP=images['all'], zone_var=min(zones, default=0))
        return {name for name, count in enough.items() if count >= LEAST_IMAGES}

    def detections_file(self, cfg: Config, checkpoint: str) -> Path:
        digest = detections_digest(cfg, checkpoint, self.test_set, self.device)
        return self.cache / f'{digest[:20]}.bbox.json'

    def evaluate(self, run: Run, cfg: Config, checkpoint: str) -> _Evaluated:
        detections = self.detections_file(cfg, checkpoint)
        if not detections.is_file():
            detect(cfg, checkpoint, detections, self.device, run.name)
        of = f'{detections.name} {self.names} {__version__}'
        key = hashlib.sha256(of.encode()).hexdigest()[:20]
        figures_file = self.cache / f'{key}.figures.json'
        draws = Draws(self.cache / f'{key}.draws-{self.seed}', self.names, self.seed)
        missing = draws.missing(self.draws)
        if missing or not figures_file.is_file():
            found = json.loads(detections.read_text(encoding='utf-8'))
            evaluation = SpatialEval(
                self.gt, found, self.partitions, self.precisions, cat_ids=self.cat_ids
            )
            save_json(figures_file, evaluation.figures())
            resampler = Resampler(evaluation)
            bar = track(missing, f'{escape(run.name)}: resampling', console=Console(stderr=True))
            for block in bar:
                draws.compute(resampler, block)
        values = json.loads(figures_file.read_text(encoding='utf-8'))
        figures = {name: None if values[name] < 0 else values[name] for name in self.names}
        return _Evaluated(run, detections, figures, draws.load(self.draws))


def _common_test_set(runs: Sequence[Run], configs: Sequence[Config]) -> TestSet:
    first = None
    for run, cfg in zip(runs, configs):
        test_set = TestSet.of(cfg)
        first = first or (run, test_set)
        if test_set.digest != first[1].digest:
            raise UserError(
                f'{first[0].name!r} and {run.name!r} have different test sets '
                f'({first[1].ann_file} and {test_set.ann_file}, or their classes differ): '
                'give both one with --cfg-options test_dataloader.dataset.ann_file=...'
            )
    return first[1]


def _checkpoint(run: Run, cfg: Config, cache: Path, device: str, digests: dict[str, str]) -> str:
    """The run's checkpoint, or the one recalibrated from it.

    Args:
        digests: Of the images to recalibrate on, by how they are chosen; extended, as reading a
            training set takes long.
    """
    weights = file_digest(run.checkpoint)
    if not run.recalibrate:
        return run.checkpoint
    if cfg.get('train_dataloader') is None:
        raise UserError(f'{run.config} has no train_dataloader to recalibrate on')
    chosen_by = repr([cfg.train_dataloader, cfg.test_dataloader, run.recalibrate])
    if chosen_by not in digests:
        digests[chosen_by] = training_digest(cfg, run.recalibrate)
    parts = [cfg.model.to_dict(), chosen_by, digests[chosen_by], weights, device, versions()]
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()[:20]
    path = cache / f'{digest}.pth'
    if not path.is_file():
        with written_whole(path) as file:
            recalibrated_checkpoint(cfg, run.checkpoint, run.recalibrate, file, device)
    return str(path)


def _scan(
    run: Run,
    cfg: Config,
    cfg_options: dict[str, Any],
    checkpoint: str,
    cache: Path,
    options: Mapping[str, Any],
    device: str,
) -> ScanResult:
    parts = [
        cfg.to_dict(),
        file_digest(checkpoint),
        sorted((key, _jsonable(value)) for key, value in options.items()),
        _contents(options),
        device,
        # A scan is continued with as many as it was begun with.
        torch.get_num_threads(),
        versions(),
    ]
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()[:20]
    folder = cache / f'{digest}.scan'
    resume = folder.is_dir() and any(folder.iterdir())
    console = Console(stderr=True)
    told = f'{run.name}: scan in {folder}'
    console.print(told, highlight=False, soft_wrap=True, markup=False)
    return blindspot_scan(
        DetectorFiles(run.config, checkpoint, cfg_options, device),
        out=folder,
        resume=resume,
        **options,
    )


def _contents(options: Mapping[str, Any]) -> list[str]:
    """Digests of the images a scan is asked to read. What is not there, the scan itself will tell."""
    folders = [Path(path) for key in ('scene', 'object') for path in options.get(key) or ()]
    files = list_images([path for path in folders if path.exists()])
    files += [Path(path) for path in [options.get('from_coco')] if path and Path(path).is_file()]
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]


def _rows(
    entries: Sequence[Entry],
    evaluated: Mapping[int, _Evaluated],
    names: Sequence[str],
    sure: set[str],
    seed: int,
) -> list[EntryResult]:
    members = [[evaluated[id(run)] for run in runs_of(entry)] for entry in entries]
    drawn = [
        draw_runs([one.draws for one in group], seed, stream)
        for stream, group in enumerate(members)
    ]
    rows = []
    for index, (entry, group) in enumerate(zip(entries, members)):
        figures, differences = {}, {}
        for column, name in enumerate(names):
            ours, theirs = ([one.figures[name] for one in g] for g in (group, members[0]))
            draws = drawn[index][:, column] if name in sure else None
            change = None if draws is None else draws - drawn[0][:, column]
            figures[name] = figure(ours, draws)
            if index:
                differences[name] = difference(ours, theirs, change)
        rows.append(
            EntryResult(
                entry.name,
                [one.account() for one in group],
                figures,
                differences,
                _scan_figures(scan_figure, group),
                _scan_figures(scan_difference, group, members[0]) if index else {},
            )
        )
    return rows


def _scan_figures(make: Callable, *groups: Sequence[_Evaluated]) -> dict[str, Any]:
    values = [[one.by_background for one in group] for group in groups]
    names = [name for name in values[0][0] if all(name in run for g in values for run in g)]
    return {name: make(*[[run[name] for run in group] for group in values]) for name in names}


def _jsonable(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_jsonable(one) for one in value]
    return str(value) if isinstance(value, Path) else value
