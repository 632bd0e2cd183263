"""The output of every convolution is visited in order, even if the network overwrites it in place."""

from __future__ import annotations

import mindpad_mm  # noqa: F401  # isort: skip  # first, so that MMDetection imports on mmcv-lite

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from torch import nn

from mindpad_mm.core.errors import UserError
from mindpad_mm.diagnose import Subject
from mindpad_mm.diagnose.inputs import cover, random_images
from mindpad_mm.diagnose.maps import LAYERS, own_mode, visit_maps
from mindpad_mm.padding import swap_padding


def copies(subject, images, layers=('*',)):
    return visit_maps(subject, images, lambda _, maps: maps.clone(), layers)


def test_a_map_is_the_convolutions_own_output_before_an_in_place_activation():
    conv = nn.Conv2d(3, 4, 3, padding=1)
    x = torch.randn(2, 3, 8, 9)
    maps = copies(Subject(nn.Sequential(conv, nn.ReLU(inplace=True)), (8, 9)), x)
    expected = F.conv2d(x, conv.weight, conv.bias, padding=1)
    torch.testing.assert_close(maps['0'], expected, rtol=0, atol=0)
    assert (expected < 0).any()


def test_layers_come_in_order_of_execution_and_shared_ones_are_told_apart_by_call():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.first = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.last(F.avg_pool2d(self.last(self.first(x)), 2))

    maps = copies(Subject(Net(), (8, 8)), torch.randn(1, 3, 8, 8))
    assert list(maps) == ['first', 'last', 'last (call 2)']
    assert [m.shape[-1] for m in maps.values()] == [8, 8, 4]


def test_a_head_shared_over_levels_is_seen_at_every_level():
    init_default_scope('mmdet')
    head = dict(type='RetinaHead', num_classes=2, in_channels=8, feat_channels=8, stacked_convs=1)

    class Pyramid(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.bbox_head = nn.Conv2d(3, 8, 3, 2, 1), MODELS.build(head)

        def extract_feat(self, x):
            return [F.avg_pool2d(self.stem(x), 2**level) for level in range(5)]

    maps = copies(Subject(Pyramid().eval(), (64, 96)), torch.randn(1, 3, 64, 96))
    sizes = [
        tuple(m.shape[-2:]) for name, m in maps.items() if name.startswith('bbox_head.retina_cls')
    ]
    assert sizes == [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]


@pytest.mark.parametrize('name', ['resnet18', 'mobilenet_v2', 'squeezenet1_1'])
def test_every_layer_of_torchvisions_classifiers_is_seen_once(name):
    subject = Subject.load(f'torchvision:{name}', input_size=(33, 33))
    names = [n for n, m in subject.model.named_modules() if isinstance(m, LAYERS)]
    found = visit_maps(subject, torch.zeros(1, 3, 33, 33), lambda name, _: name)
    assert sorted(found) == sorted(names)
    assert list(found) == list(found.values())


def test_errors_are_one_line_and_leave_no_hooks():
    subject = Subject(
        nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(8, 1)), (4, 4), 'net'
    )
    with pytest.raises(UserError, match=r'net has no convolution .* named neck\.\*; it has 0'):
        copies(subject, torch.zeros(1, 3, 4, 4), ('neck.*',))
    with pytest.raises(UserError, match='net cannot run on an input of 6 x 5 pixels'):
        copies(subject, torch.zeros(1, 3, 6, 5))
    assert not subject.model[0]._forward_hooks


def test_a_network_that_asserts_its_size_is_told_as_one_that_cannot_run():
    class Asserts(nn.Conv2d):
        def forward(self, x):
            raise AssertionError

    with pytest.raises(UserError, match=r'net cannot run on .* 5 x 6 pixels .*: AssertionError'):
        copies(Subject(Asserts(3, 2, 3), (5, 6), 'net'), torch.zeros(1, 3, 5, 6))


def test_the_mode_a_network_has_is_that_of_most_of_its_padded_convolutions():
    def net():
        return nn.Sequential(
            nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1)
        )

    model = net()
    assert own_mode(model) == 'zeros'
    swap_padding(model, 'reflect')
    assert own_mode(model) == 'reflect'
    assert own_mode(nn.Sequential(nn.Conv2d(3, 3, 3), nn.MaxPool2d(3, 2, 1))) is None


@given(st.integers(4, 60), st.integers(4, 60), st.integers(3, 50), st.integers(3, 50))
def test_a_photo_covers_any_window_at_its_own_aspect(height, width, window_height, window_width):
    photo = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    window, scale = cover(photo, (window_height, window_width))
    assert window.shape == (window_height, window_width, 3)
    assert scale == pytest.approx(max(window_height / height, window_width / width))
    if scale == 1:
        top, left = (height - window_height) // 2, (width - window_width) // 2
        np.testing.assert_array_equal(
            window, photo[top : top + window_height, left : left + window_width]
        )


def test_random_images_have_no_border_and_the_spectrum_of_photos():
    images = np.stack(random_images((96, 96), 24, 0)).astype(float)
    assert np.array_equal(random_images((96, 96), 2, 0)[1], images[1])
    # If the noise were not periodic, the step from the last column to the first would be larger.
    steps = np.abs(np.diff(images, axis=2, append=images[:, :, :1])).mean((0, 1, 3))
    assert steps[-1] < steps.mean() + 4 * steps.std()
    power = np.square(np.abs(np.fft.rfft(images - images.mean((1, 2), keepdims=True), axis=2)))
    power = power.mean((0, 1, 3))
    # The power along a line of a two-dimensional 1 / f field falls as 1 / f.
    assert 1.5 < power[6:10].mean() / power[14:18].mean() < 3
