"""Tools that have an input tell which lines of a detector's code pad."""

from __future__ import annotations

import copy

import pytest
import torch.nn.functional as F
from mmengine.logging import MMLogger

from mindpad_mm import blindspot_scan, border_loss, swap_padding
from mindpad_mm.core.loading import load_detector
from mindpad_mm.diagnose.subject import Subject
from mindpad_mm.diagnose.suite import diagnose
from mindpad_mm.settings.diagnose import DiagnoseSettings
from tests.border.toys import noise_photo

PHOTO = noise_photo(150, 160)


def pads_in_its_code(module, args, outputs):
    """A neck whose code pads."""
    return tuple(F.max_pool2d(output, 3, 1, 1) for output in outputs)


@pytest.fixture(scope='module')
def stock(files):
    return load_detector(str(files / 'config.py'), str(files / 'weights.pth'))


@pytest.fixture(params=[True, False], ids=['pads', 'does not'])
def detector(request, stock):
    model = copy.deepcopy(stock)
    if request.param:
        model.neck.register_forward_hook(pads_in_its_code)
    return model, request.param


def is_told(text):
    return 'neck' in text and 'its code pads' in text and 'test_hidden_tools.py:' in text


def test_a_scan_of_a_swapped_detector(detector, caplog, monkeypatch):
    monkeypatch.setattr(MMLogger.get_current_instance(), 'handlers', [caplog.handler])
    model, pads = detector
    swap_padding(model, 'circular')
    blindspot_scan(model, PHOTO, label='car', stride=48, sizes=(32,), engine='full')
    assert is_told(caplog.text) == pads


def test_a_border_loss_with_a_swap(detector):
    model, pads = detector
    options = dict(minutes=0, found_thr=0.02, draws=100, far=16, distances=(0,), max_objects=1)
    result = border_loss(model, PHOTO, padding='circular', **options)
    trained, swapped = result.info.variants
    assert not trained.left_alone
    assert is_told(' '.join(swapped.left_alone)) == pads


def test_a_diagnosis(detector):
    model, pads = detector
    settings = DiagnoseSettings(checks=('filters',))
    suite = diagnose(Subject(model, (96, 96)), settings)
    assert is_told(str(suite.info.get('padding that no swap changes', ''))) == pads
