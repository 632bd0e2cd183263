"""Padding read by strided layers, compared with windows placed one by one."""

from __future__ import annotations

import mindpad_mm  # noqa: F401  # isort: skip  # first, so that MMDetection imports on mmcv-lite

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import assume, given
from hypothesis import strategies as st
from mmcv.cnn import ConvModule
from mmcv.cnn.bricks.conv2d_adaptive_padding import Conv2dAdaptivePadding
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from torch import nn

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import load_config
from mindpad_mm.diagnose import Subject, check_evenness, has_uneven_padding
from mindpad_mm.diagnose.strides import search_sizes, strided_layers
from mindpad_mm.diagnose.tracing import ShapeRunner
from mindpad_mm.padding import swap_padding
from mindpad_mm.zoo import model_files


def layers_of(module, *size):
    return strided_layers(ShapeRunner(Subject(module, size)).run(size))


def touched(size, before, after, kernel, stride, dilation, results):
    """Cells by which windows reach beyond the map, (before, after)."""
    under = {
        window * stride + tap * dilation - before
        for window in range(results)
        for tap in range(kernel)
    }
    last = max(under)
    return -min(under), last - (size - 1)


CONFIGS = Path(__file__).parents[2] / 'configs' / 'ssd'
NAMES = 'kernel_size', 'stride', 'padding', 'dilation'
geometry = st.fixed_dictionaries(
    {
        'kernel_size': st.integers(1, 5),
        'stride': st.integers(2, 4),
        'padding': st.integers(0, 2),
        'dilation': st.integers(1, 2),
    }
)


@given(st.integers(6, 40), geometry)
def test_a_convolution_consumes_what_its_windows_touch(size, geometry):
    kernel, stride, padding, dilation = (geometry[name] for name in NAMES)
    assume(dilation * (kernel - 1) < size + 2 * padding)
    layer = nn.Conv2d(3, 1, **geometry)
    results = layer(torch.zeros(1, 3, size, size)).shape[-1]
    found = layers_of(layer, size, size)[0]
    expected = touched(size, padding, padding, kernel, stride, dilation, results)
    assert found.slide.results == (results, results)
    assert found.consumed[:2] == found.consumed[2:] == expected
    # The condition of the paper.
    consumed = stride * (results - 1) + dilation * (kernel - 1) + 1
    assert all(found.even) == (size + 2 * padding == consumed)
    assert found.unused == (0, size + 2 * padding - consumed) * 2


@given(st.integers(5, 40), geometry, st.booleans(), st.booleans())
def test_pooling_reaches_beyond_its_padding_in_ceil_mode(size, geometry, ceil_mode, average):
    kernel, stride, padding, dilation = (geometry[name] for name in NAMES)
    dilation = 1 if average else dilation
    assume(padding <= kernel // 2 and dilation * (kernel - 1) < size + 2 * padding)
    if average:
        layer = nn.AvgPool2d(kernel, stride, padding, ceil_mode=ceil_mode)
    else:
        layer = nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=ceil_mode)
    results = layer(torch.zeros(1, 3, size, size)).shape[-1]
    found = layers_of(layer, size, size)[0]
    expected = touched(size, padding, padding, kernel, stride, dilation, results)
    assert found.slide.results == (results, results)
    assert found.consumed[:2] == found.consumed[2:] == expected


class PadsByItself(nn.Module):
    def __init__(self, pads):
        super().__init__()
        self.pads, self.conv = pads, nn.Conv2d(3, 1, 3, 2)

    def forward(self, x):
        return self.conv(F.pad(x, self.pads))


def test_padding_in_a_forward_counts_as_the_layers_own():
    (layer,) = layers_of(PadsByItself((1, 0, 2, 1)), 20, 21)
    assert layer.slide.size == (20, 21)
    assert layer.slide.pads == (2, 1, 1, 0)
    assert layer.consumed == (2, 1, 1, -1)
    assert layer.even == (False, False)


def test_an_explicit_padding_layer_counts_as_the_convolutions_own():
    plain = ConvModule(3, 1, 3, stride=2, padding=1)
    explicit = ConvModule(3, 1, 3, stride=2, padding=1, padding_mode='reflect')
    for size in ((20, 20), (21, 21)):
        (one,), (other,) = layers_of(plain, *size), layers_of(explicit, *size)
        assert (one.consumed, one.slide.pads) == (other.consumed, other.slide.pads)


@pytest.mark.parametrize(('size', 'consumed'), [(20, (0, 1)), (21, (1, 1))])
def test_padding_that_depends_on_the_size_counts(size, consumed):
    layer = Conv2dAdaptivePadding(3, 1, 3, stride=2)
    for _ in range(2):
        assert layers_of(layer, size, size)[0].consumed == consumed * 2
        swap_padding(layer, 'reflect')


@pytest.mark.parametrize('mode', ['reflect', 'partial'])
def test_no_mode_changes_what_is_consumed(mode):
    model = torchvision.models.resnet18()
    before = [layer.consumed for layer in layers_of(model, 100, 131)]
    swap_padding(model, mode, pool=True)
    assert [layer.consumed for layer in layers_of(model, 100, 131)] == before


@pytest.mark.parametrize(
    ('name', 'even', 'uneven'),
    [('resnet18', 225, 224), ('mobilenet_v2', 225, 224), ('vgg19', 224, 225)],
)
def test_published_sizes_of_classifiers(name, even, uneven):
    with torch.device('meta'):  # nothing but shapes is wanted
        model = getattr(torchvision.models, name)()
    assert not has_uneven_padding(model, (1, 3, even, even))
    assert has_uneven_padding(model, (uneven, uneven))
    assert has_uneven_padding(model, (even, uneven))


def detector(config, size):
    """A detector without weights."""
    cfg = load_config(str(config))
    init_default_scope('mmdet')
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    model.cfg = cfg
    return Subject(model.eval(), size, 'the detector')


def test_ssd300_reaches_over_in_ceil_mode_and_is_even_at_272_and_336():
    found = check_evenness(detector(CONFIGS / 'ssd300_zeros_coco.py', (300, 300)))
    assert {layer.slide.layer: (layer.consumed, layer.unused) for layer in found.uneven} == {
        'backbone.features.16': ((0, 1, 0, 1), (0, -1, 0, -1)),  # 75 -> 38
        'neck.extra_layers.1.1.conv': ((1, 0, 1, 0), (0, 1, 0, 1)),  # 10 -> 5
    }
    assert found.search.even_sizes(0) == [272, 336]
    assert found.search.rule(1) == 'a * 64 + 16'
    advice = found.advice()
    assert 'scale=(272, 272)' in advice
    assert 'now (300, 300)' in advice
    # 272 px over maps of 3 cells and of 1; the others are the network's own strides.
    assert 'strides=[8, 16, 32, 64, 91, 272]' in advice
    assert 'input_size=300' in advice


def test_sizes_found_are_those_that_running_each_alone_finds():
    model = nn.Sequential(
        nn.Conv2d(3, 2, 3, 2, 1), nn.MaxPool2d(2, 2, ceil_mode=True), nn.Conv2d(2, 2, (3, 5), 2, 1)
    )
    runner = ShapeRunner(Subject(model, (40, 60)))
    search = search_sizes(runner, runner.run((40, 60)), 16)
    assert search.sizes[0] == list(range(24, 57))
    heights = [h for h in range(24, 57) if all(e.even[0] for e in layers_of(model, h, 60))]
    widths = [w for w in range(44, 77) if all(e.even[1] for e in layers_of(model, 40, w))]
    assert heights
    assert (search.even_sizes(0), search.even_sizes(1)) == (heights, widths)


def test_sizes_of_a_usual_network_follow_the_papers_rule():
    found = check_evenness(Subject(torchvision.models.resnet18(), (200, 320)))
    assert found.search.rule(0) == found.search.rule(1) == 'a * 32 + 1'
    assert found.suggested == (193, 321)
    assert 'heights 193, 225' in found.advice()
    assert 'widths 289, 321' in found.advice()


def test_without_an_even_size_the_best_size_is_reported():
    # The first layer is even on odd maps, the second on even maps of the same size.
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.pool = nn.Conv2d(3, 3, 3, 2, 1), nn.AvgPool2d(2, ceil_mode=True)

        def forward(self, x):
            return self.conv(x) + self.pool(x)

    found = check_evenness(Subject(Both(), (40, 40)))
    assert found.suggested is None
    assert 'No height or width of 20 to 72 is even throughout' in found.advice()


def test_only_the_axis_without_an_even_size_is_reported():
    class Sideways(nn.Module):
        """Even heights are found; along the width, the two layers contradict each other."""

        def __init__(self):
            super().__init__()
            self.conv, self.pool = nn.Conv2d(3, 3, 3, 2, 1), nn.AvgPool2d((1, 2))

        def forward(self, x):
            return self.conv(x), self.pool(x)

    found = check_evenness(Subject(Sideways(), (41, 40)))
    assert found.search.even_sizes(0)
    assert found.suggested is None
    assert 'No width of 20 to 72 is even throughout; at 39 the first 1 of 2 ' in found.advice()
    assert 'height' not in found.advice()


class Fastidious(nn.Module):
    """A network that only accepts heights of 4 a + 2, as patches or branches can require."""

    def __init__(self):
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(3, 3, 2, 2), nn.Conv2d(3, 3, 2, 2), nn.Conv2d(3, 3, 3, 2, 1)
        )

    def forward(self, x):
        result = self.convs(x)
        if x.shape[-2] % 4 != 2:
            raise AssertionError
        return result


def test_sizes_at_which_the_network_cannot_run_are_not_suggested():
    found = check_evenness(Subject(Fastidious(), (42, 42)))
    # At multiples of 8 one more layer is even, and at 8 a + 4 all are; but both are refused.
    assert 'No height or width of 21 to 74 at which it runs is even throughout' in found.advice()
    assert 'at 42 the first 1 of 3 strided layers are' in found.advice()
    found.plot()


def test_an_input_that_the_network_refuses_is_one_clear_line():
    with pytest.raises(
        UserError, match=r'cannot run on an input of 40 x 42 pixels .*AssertionError'
    ):
        check_evenness(Subject(Fastidious(), (40, 42)))
    vit = torchvision.models.VisionTransformer(64, 16, 1, 1, 8, 8)
    with pytest.raises(UserError, match=r'cannot run on .* Wrong image height'):
        has_uneven_padding(vit, (48, 64))
    assert check_evenness(Subject(vit.eval(), (64, 64))).is_even


def test_advice_mentions_the_aspect_ratio_and_the_divisor(tmp_path):
    (tmp_path / 'config.py').write_text(
        "_base_ = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'\n"
        "custom_imports = dict(imports=['mindpad_mm'])\n"
    )
    found = check_evenness(detector(tmp_path / 'config.py', (128, 150)))
    for words in (
        'keep_ratio=False',
        "type='Pad'",
        'pad_size_divisor=1',
        'AnchorGenerator depends on',
    ):
        assert words in found.advice()


def test_table_figure_and_json_agree():
    config, checkpoint = model_files('zeros')
    found = check_evenness(Subject.load(str(config), str(checkpoint)), radius=2)
    written = json.loads(json.dumps(found.to_json()))
    assert [layer['layer'] for layer in written['layers']] == [row[0] for row in found.table().rows]
    assert written['layers'][0]['unused'] == {'top': 0, 'bottom': 1, 'left': 0, 'right': 1}
    assert written['even_heights'] == [257]
    texts = {text.get_text() for text in found.plot().axes[0].texts}
    assert texts == {'3 of 3', '2 of 3', '1 of 1', '0 of 1', '0 of 0', '-1 of 0'}


def test_an_image_too_small_is_one_clear_line():
    with pytest.raises(UserError, match='a map of 4 x 9 cells is too small for the network itself'):
        check_evenness(Subject(nn.Conv2d(3, 1, 5, 2), (4, 9)))


def test_a_network_that_asks_for_values_is_one_clear_line():
    class Asks(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 1, 3)

        def forward(self, x):
            return self.conv(x) if x.sum().item() else x

    with pytest.raises(UserError, match='cannot be run on shapes alone'):
        has_uneven_padding(Asks(), (8, 8))
