"""The shipped checkpoints, and a small drawn set to test and recalibrate them on."""

from __future__ import annotations

import pytest

from mindpad_mm import zoo
from mindpad_mm.evaluation.entries import Run
from mindpad_mm.traffic_lights.dataset import Recipe
from mindpad_mm.traffic_lights.write import make_traffic_lights


@pytest.fixture(scope='session')
def lights(tmp_path_factory):
    """A drawn set of 12 images to train on and 12 to test on."""
    folder = tmp_path_factory.mktemp('lights') / 'set'
    make_traffic_lights(folder, Recipe(num_train=12, num_val=12, seed=3))
    return folder


@pytest.fixture(scope='session')
def overrides(lights):
    """cfg-options that make the zoo's configs use the drawn set."""
    return {
        'train_dataloader.dataset.data_root': f'{lights}/',
        'test_dataloader.dataset.data_root': f'{lights}/',
        'test_evaluator.ann_file': f'{lights}/annotations/val.json',
    }


@pytest.fixture(scope='session')
def zoo_runs():
    """The shipped checkpoints by mode."""
    return {mode: Run(*zoo.model_files(mode), mode) for mode in zoo.modes()}
