"""What is measured of a training, against MMDetection's own metric, and that it is measured once."""

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
    """A detector that finds something, as if it had just been trained for its ten epochs."""
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
    return Evaluation(trained).figures(draws=100)


def test_figures_are_those_of_mmdetections_metric(trained, measured, tmp_path):
    theirs = evaluate(trained.config, trained.checkpoint, tmp_path)
    figures = measured[0]
    assert figures['mAP'] > 0.1
    for name in ('mAP', 'mAP_50', 'mAP_75'):
        assert figures[name] == pytest.approx(theirs[f'coco/bbox_{name}'], abs=5e-4)


def test_draws_vary_around_the_figure(measured):
    figures, draws = measured
    assert draws.shape == (100, len(module.FIGURES))
    drawn = draws[:, module.FIGURES.index('mAP_50')]
    assert drawn.min() < figures['mAP_50'] < drawn.max()


def test_what_is_measured_is_not_measured_again(trained, measured, monkeypatch):
    monkeypatch.setattr(module, 'detect', None)
    monkeypatch.setattr(module, 'SpatialEval', None)
    figures, draws = Evaluation(trained).figures(draws=100)
    assert figures == measured[0]
    assert np.array_equal(draws, measured[1], equal_nan=True)


def test_a_swap_tests_the_same_weights_in_another_mode(trained, measured):
    swapped = Evaluation(trained, 'circular')
    assert swapped.checkpoint() == trained.checkpoint
    assert swapped.folder != Evaluation(trained).folder
    ours, own = swapped.figures()[0]['mAP'], measured[0]['mAP']
    assert ours != own
    assert Evaluation(trained, 'zeros').figures()[0]['mAP'] == own


def test_the_layers_of_zeros_show_more_of_the_border_than_those_of_reflect(trained):
    photos = []  # drawn streets
    zeros, reflect = (Evaluation(trained, mode).layers(photos) for mode in ('zeros', 'reflect'))
    assert zeros['border_bias'] > 2 * reflect['border_bias']
    # The filters are the weights': no mode changes them.
    assert zeros['strided_filter_x'] == reflect['strided_filter_x']
