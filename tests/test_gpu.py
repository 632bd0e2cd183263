"""What runs a detector finds the same on a GPU as on the CPU.

``--device cuda`` runs these tests on a GPU. Without it they run on a stand-in, see :mod:`tests.gpu`: it
shows that no step mixes devices, and says nothing of a GPU's kernels.
"""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from torch import nn

from mindpad_mm import border_loss
from mindpad_mm.core.detector import DetectorFiles
from mindpad_mm.diagnose import CHECKS, Subject, diagnose
from mindpad_mm.evaluation.compare import compare
from mindpad_mm.evaluation.entries import Run
from mindpad_mm.padding import swap_padding
from mindpad_mm.scan import blindspot_scan
from mindpad_mm.settings.compare import CompareSettings
from mindpad_mm.traffic_lights.dataset import Recipe
from mindpad_mm.traffic_lights.write import make_traffic_lights
from mindpad_mm.zoo import model_files
from tests.border.toys import noise_photo
from tests.gpu import stand_in_gpu
from tests.padding.every_mode import MODES


@pytest.fixture
def both(request):
    """Call a function with the device ``cpu`` and with ``cuda``, and return both results."""
    real = request.config.getoption('--device') == 'cuda'

    def call(measure):
        here = measure('cpu')
        with contextlib.nullcontext() if real else stand_in_gpu():
            return here, measure('cuda')

    return call


@pytest.mark.parametrize('engine', ['full', 'incremental', 'focused'])
def test_a_scan_finds_the_same_with_every_engine(both, engine):
    def scan(device):
        detector = DetectorFiles(*model_files('zeros', 'ssd128-everywhere'), device=device)
        return blindspot_scan(detector, sizes=[20], stride=64, engine=engine, batch_size=3)

    here, there = both(scan)
    assert here.scores.max() > 0
    np.testing.assert_allclose(here.scores, there.scores, atol=1e-4)
    # An engine that cannot follow the network says so in its notes.
    assert not any('full_engine_because' in notes for notes in there.info.engine_notes)


def test_border_loss_finds_the_same(files, both):
    photos = [noise_photo(150, 160, 0)]

    def measure(device):
        detector = DetectorFiles(files / 'config.py', files / 'weights.pth', device=device)
        return border_loss(
            detector, photos, padding=['reflect', 'partial'], input_padding=['constant'], placebo=True,
            minutes=0, found_thr=0.02, far=16, max_objects=1, distances=[0, 8], draws=100,
        )  # fmt: skip

    here, there = both(measure)
    assert here.values.size
    np.testing.assert_allclose(here.values, there.values, atol=1e-4)


def test_a_comparison_finds_the_same(tmp_path, both):
    lights = tmp_path / 'lights'
    make_traffic_lights(lights, Recipe(num_train=1, num_val=2, seed=3))
    options = {
        'test_dataloader.dataset.data_root': f'{lights}/',
        'test_evaluator.ann_file': f'{lights}/annotations/val.json',
    }
    runs = [Run(*model_files(mode), mode) for mode in ('zeros', 'reflect')]

    def measure(device):
        settings = CompareSettings(draws=40, cfg_options=options, device=device)
        return compare(runs, tmp_path / device, settings)

    here, there = both(measure)
    for mode in ('zeros', 'reflect'):
        found = [
            {name: each.value for name, each in one[mode].metrics.items()} for one in (here, there)
        ]
        assert found[0]['mAP'] > 0
        assert found[0] == pytest.approx(found[1], abs=1e-3, nan_ok=True)


def test_a_diagnosis_finds_the_same(both):
    photo = noise_photo(330, 340, 0)

    def measure(device):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU(),
            nn.Conv2d(8, 8, 3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
        )  # fmt: skip
        return diagnose(Subject(model.eval().to(device), (64, 80)), photos=[photo])

    here, there = both(measure)
    assert here.refused == there.refused
    assert len(here.diagnoses) == len(CHECKS)
    for check, found in here.diagnoses.items():
        assert_same(found.to_json(), there.diagnoses[check].to_json(), check)


def assert_same(one, other, path):
    """Two JSON values are equal, numbers within 1e-4."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key, value in one.items():
            assert_same(value, other[key], f'{path}, {key}')
    elif isinstance(one, list):
        assert len(one) == len(other), path
        for number, pair in enumerate(zip(one, other)):
            assert_same(*pair, f'{path}, {number}')
    elif isinstance(one, float):
        assert one == pytest.approx(other, abs=1e-4, nan_ok=True), path
    else:
        assert one == other, path


def layers(mode):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 5, padding=2, groups=8),
        nn.ConvTranspose2d(8, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, padding='same', dilation=2),
    )  # fmt: skip
    swap_padding(model, mode)
    return model, torch.randn(2, 3, 33, 48)


@pytest.mark.parametrize('mode', MODES, ids=str)
def test_layers_of_every_mode_give_the_same(both, mode):
    @torch.no_grad()
    def outputs(device):
        model, images = layers(mode)
        return model.to(device)(images.to(device)).cpu()

    here, there = both(outputs)
    torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('mode', MODES, ids=str)
def test_a_training_step_has_the_same_gradients(both, request, mode):
    if request.config.getoption('--device') != 'cuda':
        pytest.skip('the stand-in cannot train')

    def gradients(device):
        model, images = layers(mode)
        model.to(device)(images.to(device)).square().mean().backward()
        return [weight.grad.cpu() for weight in model.parameters()]

    for here, there in zip(*both(gradients)):
        torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-6)


def test_the_stand_in_refuses_to_mix_devices(request):
    if request.config.getoption('--device') == 'cuda':
        pytest.skip('there is a GPU')
    with stand_in_gpu():
        there = torch.ones(2, device='cuda')
        assert (there + 1).sum().item() == 4
        with pytest.raises(RuntimeError, match='same device'):
            there + torch.ones(2)
        with pytest.raises(TypeError, match='numpy'):
            there.numpy()
    assert torch.ones(2).device.type == 'cpu'
