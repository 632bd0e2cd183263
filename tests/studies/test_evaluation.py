"""The evaluation of a training agrees with MMDetection's metric, and its results are reused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mindpad_mm.evaluation import evaluate
from studies import evaluation as module
from studies.evaluation import Evaluation
from studies.training import Training

ROOT = Path(__file__).resolve().parents[2]
ZOO = ROOT / 'mindpad_mm' / 'zoo' / 'ssdlite256_zeros_traffic-light.pth'


@pytest.fixture(scope='module')
def trained(drawn_lights, tmp_path_factory):
    """A finished training whose checkpoint is the zoo's."""
    folder = tmp_path_factory.mktemp('trained')
    config = folder / 'zoo.py'
    config.write_text(
        f"_base_ = r'{ROOT}/configs/traffic_light/ssdlite256_zeros_traffic-light.py'\n"
        f"test_dataloader = dict(dataset=dict(data_root=r'{drawn_lights}/'))\n"
        f"test_evaluator = dict(ann_file=r'{drawn_lights}/annotations/val.json')\n"
    )
    training = Training(config, 0, folder / 'run')
    training.work_dir.mkdir()
    shutil.copy(ZOO, training.checkpoint)
    return training


@pytest.fixture(scope='module')
def measured(trained):
    return Evaluation(trained).metrics(draws=100)


def test_metrics_are_those_of_mmdetection(trained, measured, tmp_path):
    theirs = evaluate(trained.config, trained.checkpoint, tmp_path)
    metrics = measured[0]
    assert metrics['mAP'] > 0.1
    for name in ('mAP', 'mAP_50', 'mAP_75'):
        assert metrics[name] == pytest.approx(theirs[f'coco/bbox_{name}'], abs=5e-4)


def test_draws_vary_around_the_metric(measured):
    metrics, draws = measured
    assert draws.shape == (100, len(module.METRICS))
    drawn = draws[:, module.METRICS.index('mAP_50')]
    assert drawn.min() < metrics['mAP_50'] < drawn.max()


def test_metrics_and_draws_are_reused(trained, measured, monkeypatch):
    monkeypatch.setattr(module, 'detect', None)
    monkeypatch.setattr(module, 'SpatialEval', None)
    metrics, draws = Evaluation(trained).metrics(draws=100)
    assert metrics == measured[0]
    assert np.array_equal(draws, measured[1], equal_nan=True)


def test_a_swap_tests_the_same_weights_in_another_mode(trained, measured):
    swapped = Evaluation(trained, 'circular')
    assert swapped.checkpoint() == trained.checkpoint
    assert swapped.folder != Evaluation(trained).folder
    ours, own = swapped.metrics()[0]['mAP'], measured[0]['mAP']
    assert ours != own
    assert Evaluation(trained, 'zeros').metrics()[0]['mAP'] == own


def test_the_layers_of_zeros_show_more_of_the_border_than_those_of_reflect(trained):
    photos = []  # drawn streets
    zeros, reflect = (Evaluation(trained, mode).layers(photos) for mode in ('zeros', 'reflect'))
    assert zeros['border_bias'] > 2 * reflect['border_bias']
    # Filters depend only on the weights, not on the mode.
    assert zeros['strided_filter_x'] == reflect['strided_filter_x']
