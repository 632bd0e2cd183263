"""Compare detectors on a test set, and optionally in a scan."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from rich.console import Console

from mindpad_mm.core.detector import DetectorFiles, versions
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.files import is_sealed, seal, written_whole
from mindpad_mm.core.images import list_images
from mindpad_mm.core.journal import alone_in
from mindpad_mm.core.loading import check_device, check_model, load_config
from mindpad_mm.core.names import PathLike
from mindpad_mm.evaluation.comparison import Comparison, EntryResult, RunResult
from mindpad_mm.evaluation.digests import file_digest
from mindpad_mm.evaluation.entries import (
    Entry,
    Group,
    Run,
    runs_of,
    swapped_runs,
    with_unique_names,
)
from mindpad_mm.evaluation.evaluator import Evaluator, TestSetMetrics
from mindpad_mm.evaluation.ground_truth import TestSet
from mindpad_mm.evaluation.metrics import (
    Metric,
    group_draws,
    group_metric,
    group_scan_metric,
    metric_difference,
    scan_metric_difference,
)
from mindpad_mm.evaluation.recalibrate import recalibrated_checkpoint, training_digest
from mindpad_mm.evaluation.regions import BorderBins
from mindpad_mm.padding.modes import modes_to_swap_to
from mindpad_mm.scan import ScanResult, blindspot_scan, is_unit, over_backgrounds
from mindpad_mm.settings.compare import CompareSettings


@dataclass(frozen=True)
class _MeasuredRun:
    """A run with its metrics and its scan."""

    run: Run
    test: TestSetMetrics
    scan: ScanResult | None

    def scan_by_background(self) -> dict[str, list[float]]:
        """The scan's statistics by name: one value for each background, NaN if undefined."""
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

    def result(self) -> RunResult:
        """The run's entry in ``comparison.json``."""
        overall = {} if self.scan is None else self.scan.info.statistics['overall']
        return RunResult(
            **asdict(self.run),
            detections=str(self.test.detections),
            scan=None if self.scan is None else str(self.scan.folder),
            metrics=self.test.values,
            scan_metrics={name: value['mean'] for name, value in overall.items()},
        )


def compare(
    entries: Sequence[Entry],
    out: PathLike,
    settings: CompareSettings | None = None,
    *,
    scan: Mapping[str, Any] | None = None,
) -> Comparison:
    """Evaluate detectors on the same test set, with confidence intervals of their differences.

    Detections, metrics, draws and scans are saved in ``out/cache``, in files named by digests of
    everything they depend on. They are reused, so an interrupted comparison can be continued.

    Args:
        entries: Runs and groups. Differences are to the first.
        out: Folder for ``comparison.json`` and the cache. The tables and the page are written by
            :func:`mindpad_mm.report.comparison_page.report_comparison`.
        settings: Settings of the comparison. Default: those of :class:`CompareSettings`.
        scan: Arguments of :func:`mindpad_mm.scan.blindspot_scan`, e.g.
            ``dict(scene=['street.jpg'], sizes=[32], stride=2)``. Default: no scan.

    Returns:
        The comparison, as saved.

    Raises:
        UserError: A file is missing, a checkpoint does not fit its config, the test sets differ, two
            entries have the same name, or ``settings.modes`` is given together with a group.
    """
    start = time.perf_counter()
    settings = settings or CompareSettings()
    for mode in () if settings.modes == 'all' else settings.modes:
        modes_to_swap_to(mode)
    BorderBins(settings.border_px)
    check_device(settings.device)
    if not entries:
        raise UserError('nothing to compare: give at least one run')
    entries = with_unique_names(_with_swapped_runs(entries, settings))
    cache = Path(out) / 'cache'
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'`out`: cannot write to {str(out)!r}: {error.strerror}') from error

    with alone_in(Path(out)):
        return _compare(entries, Path(out), cache, settings, scan, start)


def _compare(
    entries: Sequence[Entry],
    out: Path,
    cache: Path,
    settings: CompareSettings,
    scan: Mapping[str, Any] | None,
    start: float,
) -> Comparison:
    runs = list({id(run): run for entry in entries for run in runs_of(entry)}.values())
    configs = [load_config(run.config, {**settings.cfg_options, **run.cfg_options}) for run in runs]
    evaluator = Evaluator(_common_test_set(runs, configs), cache, settings)
    # Checkpoints are checked before any long computation.
    device = settings.device
    digests: dict[str, str] = {}
    checkpoints = [_checkpoint(run, cfg, cache, device, digests) for run, cfg in zip(runs, configs)]
    for cfg, checkpoint in zip(configs, checkpoints):
        if not is_sealed(evaluator.detections_file(cfg, checkpoint)):
            check_model(cfg, checkpoint)
    measured = {}
    for run, cfg, checkpoint in zip(runs, configs, checkpoints):
        test = evaluator.evaluate(run.name, cfg, checkpoint)
        scanned = None
        if scan is not None:
            overrides = {**settings.cfg_options, **run.cfg_options}
            scanned = _scan(run, cfg, overrides, checkpoint, cache, scan, device)
        measured[id(run)] = _MeasuredRun(run, test, scanned)

    comparison = Comparison(
        entries=_entry_results(entries, measured, evaluator, settings.seed),
        folder=out,
        test_set=evaluator.test_set_summary(),
        draws=settings.draws,
        seed=settings.seed,
        border_px=list(settings.border_px),
        scan=None if scan is None else {name: _jsonable(value) for name, value in scan.items()},
        cfg_options=settings.cfg_options,
        device=device,
        versions=versions(),
        seconds=round(time.perf_counter() - start, 3),
    )
    comparison.save()
    return comparison


def _with_swapped_runs(entries: Sequence[Entry], settings: CompareSettings) -> list[Entry]:
    """The entries, each run followed by its swapped ones if ``settings.modes`` is given."""
    if not settings.modes:
        return list(entries)
    found: list[Entry] = []
    for entry in entries:
        if isinstance(entry, Group):
            raise UserError(f'`modes` cannot be used with groups: remove the group {entry.name!r}')
        found += swapped_runs(entry, settings.modes, settings.recalibrate, settings.cfg_options)
    return found


def _common_test_set(runs: Sequence[Run], configs: Sequence[Config]) -> TestSet:
    first = TestSet.of(configs[0])
    known = {_test_set_key(configs[0])}
    for run, cfg in zip(runs, configs):
        if _test_set_key(cfg) in known:
            continue
        known.add(_test_set_key(cfg))
        test_set = TestSet.of(cfg)
        if test_set.digest != first.digest:
            raise UserError(
                f'{runs[0].name!r} and {run.name!r} have different test sets '
                f'({first.ann_file} and {test_set.ann_file}, or their images, classes or evaluators '
                'differ): set test_dataloader.dataset.ann_file and test_evaluator.ann_file in '
                '`cfg_options` to evaluate both on the same'
            )
    return first


def _test_set_key(cfg: Config) -> str:
    """Everything in a config that its test set depends on."""
    parts = [cfg.get('test_dataloader'), cfg.get('test_evaluator'), cfg.get('default_scope')]
    return repr(parts)


def _checkpoint(run: Run, cfg: Config, cache: Path, device: str, digests: dict[str, str]) -> str:
    """The run's checkpoint, or if the run is to be recalibrated, the recalibrated one.

    Args:
        run: The run.
        cfg: Its config.
        cache: Folder for recalibrated checkpoints.
        device: Torch device.
        digests: Digests of training images by the settings that choose them. New ones are added, so
            that each training set is read only once.
    """
    weights = file_digest(run.checkpoint)
    if not run.recalibrate:
        return run.checkpoint
    choice = repr([cfg.get('train_dataloader'), cfg.test_dataloader, run.recalibrate])
    if choice not in digests:
        digests[choice] = training_digest(cfg, run.recalibrate)
    parts = [cfg.model.to_dict(), choice, digests[choice], weights, device, versions()]
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()[:20]
    path = cache / f'{digest}.pth'
    if not is_sealed(path):
        with written_whole(path) as file:
            recalibrated_checkpoint(cfg, run.checkpoint, run.recalibrate, file, device)
        seal(path)
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
        _image_digests(options),
        device,
        # A scan can only be resumed with the same number of threads.
        torch.get_num_threads(),
        versions(),
    ]
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()[:20]
    folder = cache / f'{digest}.scan'
    resume = folder.is_dir() and any(folder.iterdir())
    console = Console(stderr=True)
    message = f'{run.name}: scan in {folder}'
    console.print(message, highlight=False, soft_wrap=True, markup=False)
    return blindspot_scan(
        DetectorFiles(run.config, checkpoint, cfg_options, device),
        out=folder,
        resume=resume,
        **options,
    )


def _image_digests(options: Mapping[str, Any]) -> list[str]:
    """Digests of the files that a scan will read. The scan itself reports missing ones."""
    paths = [Path(path) for key in ('scene', 'object') for path in options.get(key) or ()]
    files = list_images([path for path in paths if path.exists()])
    files += [Path(path) for path in [options.get('from_coco')] if path and Path(path).is_file()]
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]


def _entry_results(
    entries: Sequence[Entry],
    measured: Mapping[int, _MeasuredRun],
    evaluator: Evaluator,
    seed: int,
) -> list[EntryResult]:
    groups = [[measured[id(run)] for run in runs_of(entry)] for entry in entries]
    reference = groups[0]
    draws = [
        group_draws([one.test.draws for one in group], seed, stream)
        for stream, group in enumerate(groups)
    ]
    with_interval = evaluator.names_with_interval()
    results = []
    for index, (entry, group) in enumerate(zip(entries, groups)):
        metrics: dict[str, Metric] = {}
        differences: dict[str, Metric] = {}
        for column, name in enumerate(evaluator.names):
            ours, theirs = ([one.test.values[name] for one in g] for g in (group, reference))
            own_draws: np.ndarray | None = None
            change: np.ndarray | None = None
            if name in with_interval:
                own_draws = draws[index][:, column]
                change = own_draws - draws[0][:, column]
            metrics[name] = group_metric(ours, own_draws)
            if index:
                differences[name] = metric_difference(ours, theirs, change)
        results.append(
            EntryResult(
                name=entry.name,
                runs=[one.result() for one in group],
                metrics=metrics,
                differences=differences,
                scan_metrics={
                    name: group_scan_metric(runs, is_unit(name))
                    for name, (runs,) in _scan_values(group).items()
                },
                scan_differences={
                    name: scan_metric_difference(ours, theirs)
                    for name, (ours, theirs) in _scan_values(group, reference).items()
                    if index
                },
            )
        )
    return results


def _scan_values(*groups: Sequence[_MeasuredRun]) -> dict[str, list[list[list[float]]]]:
    """By name of the scan's statistic: for each group and run, the values on each background."""
    values = [[one.scan_by_background() for one in group] for group in groups]
    names = [name for name in values[0][0] if all(name in run for g in values for run in g)]
    return {name: [[run[name] for run in group] for group in values] for name in names}


def _jsonable(value: Any) -> Any:
    """The value with paths as strings, and tuples as lists."""
    if isinstance(value, (list, tuple)):
        return [_jsonable(one) for one in value]
    return str(value) if isinstance(value, Path) else value
