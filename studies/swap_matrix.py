"""Trained in one padding mode, tested in another."""

from __future__ import annotations

from typing import Any

from rich.progress import track

from studies.evaluation import Evaluation
from studies.paired_tests import paired_difference, summary
from studies.traffic_lights import MODES, SCAN_FIGURES, Study, setting_name

SIZE = 128
FIGURES = ('mAP', 'mAP_20', 'mAP_50', 'mAP_75', 'zone0_mAP', 'zone4_mAP', 'border_0_8_mAP')
# Blind spots cured without training are claimed of these.
SCANNED = ('zeros', 'reflect', 'circular')
RECALIBRATED = 400


def swap_matrix(study: Study, recalibrate: int = RECALIBRATED) -> dict[str, Any]:
    """Test every finished training of the study's uneven size in every mode.

    Args:
        study: With its trainings; none is trained here.
        recalibrate: Training images to estimate batch-norm statistics on after a swap, as a second
            matrix; 0 for none.

    Returns:
        ``cells``: ``trained``, ``tested``, ``recalibrated`` (images), ``seeds``, a summary and the
        difference to the same weights in their own mode of every figure of :data:`FIGURES`, and
        ``scan`` the same of the zeros-trained in the modes of :data:`SCANNED`; ``missing``.
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
        theirs = [evaluation.figures()[0] for evaluation in own]
        ours = [evaluation.figures()[0] for evaluation in swapped]
        cell.update(_paired(ours, theirs, FIGURES))
        if trained == 'zeros' and tested in SCANNED and not images:
            options = study.scan_options()
            scans = [[_scan_figures(e, options) for e in group] for group in (swapped, own)]
            cell['scan'] = _paired(*scans, SCAN_FIGURES)
        cells.append(cell)
    missing = [
        f'{setting_name(SIZE, mode)} seed {seed}'
        for mode in MODES
        for seed in study.seeds
        if not study.training(SIZE, mode, seed).checkpoint.is_file()
    ]
    return {'size': SIZE, 'cells': cells, 'missing': missing, 'recalibrate': recalibrate}


def _scan_figures(evaluation: Evaluation, options: dict[str, Any]) -> dict[str, float]:
    return {k: v['mean'] for k, v in evaluation.scan(options)['overall'].items()}


def _paired(
    ours: list[dict[str, Any]], theirs: list[dict[str, Any]], names: tuple[str, ...]
) -> dict[str, Any]:
    """Summaries and differences, of the figures that every run has."""
    result: dict[str, Any] = {'figures': {}, 'differences': {}}
    for name in names:
        one, other = ([figures.get(name) for figures in group] for group in (ours, theirs))
        if None not in one + other:
            result['figures'][name] = summary(one)
            result['differences'][name] = paired_difference(one, other)
    return result
