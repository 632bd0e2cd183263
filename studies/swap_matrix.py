"""Test trainings in other padding modes than they were trained in."""

from __future__ import annotations

from typing import Any

from rich.progress import track

from studies.evaluation import Evaluation
from studies.paired_tests import paired_difference, summary
from studies.traffic_lights import MODES, SCAN_STATISTICS, Study, setting_name

SIZE = 128
METRICS = ('mAP', 'mAP_20', 'mAP_50', 'mAP_75', 'zone0_mAP', 'zone4_mAP', 'border_0_8_mAP')
# Modes in which zeros-trained detectors are also scanned: the paper claims that a swap to them cures
# blind spots without training.
SCANNED = ('zeros', 'reflect', 'circular')
RECALIBRATED = 400


def swap_matrix(study: Study, recalibrate: int = RECALIBRATED) -> dict[str, Any]:
    """Test every finished training at the uneven size in every mode.

    Args:
        study: The study; nothing is trained.
        recalibrate: Number of training images for a second matrix, with batch-norm statistics
            estimated after the swap. 0: no second matrix.

    Returns:
        ``cells``: for each pair of modes, ``trained``, ``tested``, ``recalibrated`` (number of
        images), ``seeds``, and for each of :data:`METRICS` a summary (``figures``) and the
        difference from the same weights in their own mode (``differences``). For detectors trained
        in zeros and tested in :data:`SCANNED`, ``scan`` has the same for the scan's statistics.
        ``missing``: trainings that are not finished. ``size``; ``recalibrate``.
    """
    pairs = [(trained, tested) for trained in MODES for tested in MODES]
    plan = [(*pair, 0) for pair in pairs]
    if recalibrate:
        plan += [(*pair, recalibrate) for pair in pairs]
    cells = []
    for trained, tested, images in track(plan, 'swapping'):
        trainings = {seed: study.training(SIZE, trained, seed) for seed in study.seeds}
        done = {seed: t for seed, t in trainings.items() if t.checkpoint.is_file()}
        if not done:
            continue
        own = [Evaluation(t) for t in done.values()]
        stays = trained == tested and not images
        swapped = own if stays else [Evaluation(t, tested, images) for t in done.values()]
        cell = {'trained': trained, 'tested': tested, 'recalibrated': images, 'seeds': list(done)}
        theirs = [evaluation.metrics()[0] for evaluation in own]
        ours = [evaluation.metrics()[0] for evaluation in swapped]
        cell.update(_paired(ours, theirs, METRICS))
        if trained == 'zeros' and tested in SCANNED and not images:
            options = study.scan_options()
            scans = [[_scan_statistics(e, options) for e in group] for group in (swapped, own)]
            cell['scan'] = _paired(*scans, SCAN_STATISTICS)
        cells.append(cell)
    missing = [
        f'{setting_name(SIZE, mode)} seed {seed}'
        for mode in MODES
        for seed in study.seeds
        if not study.training(SIZE, mode, seed).checkpoint.is_file()
    ]
    return {'size': SIZE, 'cells': cells, 'missing': missing, 'recalibrate': recalibrate}


def _scan_statistics(evaluation: Evaluation, options: dict[str, Any]) -> dict[str, float]:
    return {k: v['mean'] for k, v in evaluation.scan(options)['overall'].items()}


def _paired(
    ours: list[dict[str, Any]], theirs: list[dict[str, Any]], names: tuple[str, ...]
) -> dict[str, Any]:
    """Summaries and differences of the metrics that all runs have."""
    result: dict[str, Any] = {'figures': {}, 'differences': {}}
    for name in names:
        one, other = ([metrics.get(name) for metrics in group] for group in (ours, theirs))
        if None not in one + other:
            result['figures'][name] = summary(one)
            result['differences'][name] = paired_difference(one, other)
    return result
