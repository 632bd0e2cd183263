"""Traced shapes of real networks, compared with those of torch."""

from __future__ import annotations

import mindpad_mm  # noqa: F401  # isort: skip  # first, so that MMDetection imports on mmcv-lite

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from mindpad_mm.diagnose import Subject
from mindpad_mm.diagnose.tracing import ShapeRunner, without_numbers
from mindpad_mm.padding import swap_padding
from mindpad_mm.zoo import model_files

SLIDING = nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d


def maps_of(model, run):
    """Name, input size and output size of each call of a layer, recorded by hooks."""
    seen = []

    def hook(name):
        return lambda _, args, result: seen.append(
            (name, tuple(args[0].shape[-2:]), tuple(result.shape[-2:]))
        )

    handles = [
        module.register_forward_hook(hook(name))
        for name, module in model.named_modules()
        if isinstance(module, SLIDING)
    ]
    run()
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize(
    'name',
    ['resnet18', 'mobilenet_v3_small', 'shufflenet_v2_x0_5', 'densenet121', 'squeezenet1_1',
     'efficientnet_b0', 'convnext_tiny', 'mnasnet0_5'],
)  # fmt: skip
@pytest.mark.parametrize('mode', [None, 'reflect'])
def test_every_map_has_the_size_that_torch_gives_it(name, mode):
    with torch.device('meta'):
        model = torchvision.models.get_model(name, weights=None).eval()
    if mode and name != 'convnext_tiny':
        swap_padding(model, mode)
    size = 97, 134
    expected = maps_of(model, lambda: model(torch.empty(1, 3, *size, device='meta')))
    trace = ShapeRunner(Subject(model, size)).run(size)
    assert [(s.layer, s.size, s.results) for s in trace.slides] == expected
    assert not trace.lost
    assert len(trace.outputs) == 1


@pytest.mark.parametrize('mode', ['zeros', 'reflect'])
def test_a_detectors_maps_have_the_sizes_that_torch_gives_them(mode):
    config, checkpoint = model_files(mode)
    subject = Subject.load(str(config), str(checkpoint), input_size=(90, 130))
    image = torch.zeros(1, 3, 90, 130)
    with torch.no_grad():
        expected = maps_of(subject.model, lambda: subject.dense(image))
        levels = [tuple(level.shape[-2:]) for branch in subject.dense(image) for level in branch]
    trace = ShapeRunner(subject).run(subject.input_size)
    assert [(s.layer, s.size, s.results) for s in trace.slides] == expected
    assert [field.size for field in trace.outputs] == levels


def test_the_network_is_left_alone():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    ShapeRunner(Subject(model, (8, 8))).run((8, 8))
    assert model.training
    assert not model[0]._forward_hooks
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(p.device.type == 'cpu' for p in model.parameters())
    assert {p.device.type for p in without_numbers(model).parameters()} == {'meta'}


def test_layers_that_run_twice_are_told_apart():
    layer = nn.Conv2d(3, 3, 3, 2)
    trace = ShapeRunner(Subject(nn.Sequential(layer, layer), (20, 20))).run((20, 20))
    assert [slide.layer for slide in trace.slides] == ['0', '0#2']


class Pooled(nn.Sequential):
    """Calls adaptive pooling functions with keyword arguments."""

    def forward(self, x):
        x = F.adaptive_max_pool2d(self[0](x), output_size=(5, 4), return_indices=False)
        return self[1](F.adaptive_avg_pool2d(x, output_size=(3, 2)))


def test_pooling_to_a_size_by_named_arguments_has_the_size_that_torch_gives_it():
    net = Pooled(nn.Conv2d(3, 2, 3), nn.Conv2d(2, 1, 1))
    trace = ShapeRunner(Subject(net, (12, 9))).run((12, 9))
    assert [field.size for field in trace.outputs] == [net(torch.zeros(1, 3, 12, 9)).shape[-2:]]


def test_a_map_whose_origin_is_lost_is_named():
    class Detour(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3)

        def forward(self, x):
            return self.conv(x.flatten(2).unflatten(2, (4, -1)))

    trace = ShapeRunner(Subject(Detour(), (8, 8))).run((8, 8))
    assert trace.lost == ['conv']


@pytest.mark.parametrize('size', [(64, 96), (57, 70)])
def test_strides_shrink_where_maps_are_enlarged(size):
    class Pyramid(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 3, 3, 4, 1), nn.Conv2d(3, 3, 3, 2, 1)
            self.down = nn.Conv2d(6, 3, 3, 2, 1)

        def forward(self, x):
            x = self.one(x)
            up = nn.functional.interpolate(self.two(x), size=x.shape[-2:])
            half = nn.functional.interpolate(x, scale_factor=0.5)
            return up, self.down(torch.cat([up, x], 1)), half

    trace = ShapeRunner(Subject(Pyramid(), size)).run(size)
    assert [field.stride for field in trace.outputs] == [(4, 4), (8, 8), (8, 8)]
