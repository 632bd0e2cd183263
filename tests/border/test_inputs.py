"""Windows reach the network pixel for pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import nn

from mindpad_mm import CallableDetector
from mindpad_mm.border.inputs import WindowInputs, fill_value, window_size
from mindpad_mm.core.errors import UserError


class Recorder(nn.Module):
    """A detector that keeps its inputs and finds one box of fixed corners."""

    def __init__(self, *resize, mean=None):
        super().__init__()
        steps = [dict(type='mmdet.LoadImageFromFile'), *resize, dict(type='mmdet.PackDetInputs')]
        self.cfg = Config(dict(test_dataloader=dict(dataset=dict(pipeline=steps))))
        self.seen = []
        if mean is not None:
            from mmdet.models import DetDataPreprocessor

            self.data_preprocessor = DetDataPreprocessor(mean, [1, 1, 1], bgr_to_rgb=True)

    def test_step(self, data):
        self.seen += [image.permute(1, 2, 0).numpy() for image in data['inputs']]
        for sample in data['data_samples']:
            sample.pred_instances = InstanceData(
                bboxes=torch.tensor([[40.0, 50, 60, 70]]),
                scores=torch.ones(1),
                labels=torch.zeros(1),
            )
        return data['data_samples']


FIXED = (dict(type='mmdet.Resize', scale=(120, 100), keep_ratio=False),)
KEPT = (dict(type='mmdet.Resize', scale=(128, 128), keep_ratio=True),)
LETTERBOX = (
    *KEPT,
    dict(type='mmdet.Pad', pad_to_square=True, pad_val=dict(img=(114.0, 114.0, 114.0))),
)
DIVISOR = (*KEPT, dict(type='mmdet.Pad', size_divisor=32))


@pytest.mark.parametrize(
    ('pipeline', 'photo', 'window'),
    [
        (FIXED, (480, 640), (100, 120)),
        (KEPT, (480, 640), (96, 128)),
        (LETTERBOX, (427, 640), (85, 128)),  # the bars are no photo
        (LETTERBOX, (640, 427), (128, 85)),
        (DIVISOR, (100, 640), (20, 128)),
        ((), (48, 64), (48, 64)),
    ],
)
def test_windows_are_the_part_of_the_input_that_the_photo_fills(pipeline, photo, window):
    model = Recorder(*pipeline)
    assert window_size(model, photo) == window
    image = np.random.default_rng(0).integers(0, 256, (*window, 3), dtype=np.uint8)
    WindowInputs(model, window).detect(model, [image])
    height, width = window
    assert np.array_equal(model.seen[-1][:height, :width], image)


def test_a_window_that_the_pipeline_would_resize_is_refused_with_the_size_that_fits():
    with pytest.raises(UserError, match=r'50 x 60 pixels .* to 100 x 120: choose that'):
        window_size(Recorder(*FIXED), (480, 640), (50, 60))


def test_fill_is_the_pipelines_pad_value_else_the_mean_in_blue_green_red():
    assert fill_value(Recorder(*LETTERBOX), 'auto', (85, 128)) == (114, 114, 114)
    mean = Recorder(*FIXED, mean=[120, 110, 100])  # of red, green, blue
    assert fill_value(mean, 'auto', (100, 120)) == (100, 110, 120)
    assert fill_value(mean, '7', (100, 120)) == (7, 7, 7)
    with pytest.raises(UserError, match='`fill`'):
        fill_value(Recorder(*FIXED), 'mean', (100, 120))
    with pytest.raises(UserError, match='`fill`'):
        fill_value(mean, 'pad', (100, 120))


@pytest.mark.parametrize('how', ['reflect', 'replicate', 'constant'])
@pytest.mark.parametrize('pipeline', [FIXED, LETTERBOX])
def test_padded_inputs_are_numpys_and_boxes_come_back_in_the_windows_pixels(how, pipeline):
    model = Recorder(*pipeline)
    window = window_size(model, (427, 640))
    image = np.random.default_rng(0).integers(0, 256, (*window, 3), dtype=np.uint8)
    inputs = WindowInputs(model, window, how, 16, (1, 2, 3))
    (found,) = inputs.detect(model, [image])
    assert found.bboxes.tolist() == [[24, 34, 44, 54]]
    seen = model.seen[-1][: window[0] + 32, : window[1] + 32]
    widths = ((16, 16), (16, 16), (0, 0))
    if how == 'constant':
        expected = np.empty_like(seen)
        expected[:] = (1, 2, 3)
        expected[16:-16, 16:-16] = image
    else:
        expected = np.pad(image, widths, mode={'reflect': 'reflect', 'replicate': 'edge'}[how])
    assert np.array_equal(seen, expected)
    if pipeline is LETTERBOX:
        assert (model.seen[-1][window[0] + 32 :] == 114).all()  # the bars stay


def test_a_function_takes_windows_as_they_are():
    detector = CallableDetector(
        lambda images: [dict(boxes=[], scores=[], labels=[]) for _ in images], ['thing']
    )
    assert window_size(detector, (48, 64)) == (48, 64)
    assert window_size(detector, (48, 64), (32, 32)) == (32, 32)
