"""Borders that learn: they begin as zero padding, touch nothing else, and can undo what padding does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mindpad_mm import zoo
from mindpad_mm.border import with_interval
from mindpad_mm.diagnose import Subject
from studies.learned_borders import Adaptation, LearnedConv2d, confidences, learn_borders
from studies.run_learned_borders import LEARNED, _with_room, learned_markdown

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def subject():
    return Subject.load(*map(str, zoo.model_files('zeros', 'ssd128')))


@pytest.mark.parametrize(
    'conv',
    [
        nn.Conv2d(3, 4, 3, padding=1),
        nn.Conv2d(3, 4, 3, 2, padding=1, bias=False),
        nn.Conv2d(4, 4, (5, 3), padding=(2, 0), groups=2),
        nn.Conv2d(3, 4, 3, padding=2, dilation=2),
    ],
)
@pytest.mark.parametrize('size', [(16, 16), (15, 18)])
@torch.no_grad()
def test_borders_begin_as_zeros_and_change_only_outputs_that_read_padding(conv, size):
    net, learned = learn_borders(nn.Sequential(conv))
    x = torch.rand(2, conv.in_channels, *size)
    before = conv(x)
    assert torch.equal(net(x), before)
    for values in learned:
        values.fill_(0.5)
    # An output reads padding where a map of zeros, padded with ones, does not give zero.
    widths = [pad for pads in conv.padding[::-1] for pad in (pads, pads)]
    ring = nn.functional.pad(torch.zeros_like(x), widths, value=1.0)
    ones, fields = torch.ones_like(conv.weight), (conv.stride, 0, conv.dilation, conv.groups)
    inner = nn.functional.conv2d(ring, ones, None, *fields)
    reads = (inner > 0).expand_as(before)
    changed = net(x) != before
    assert not (changed & ~reads).any()
    outermost = torch.zeros_like(reads)
    outermost[..., [0, -1], :] = outermost[..., [0, -1]] = True
    assert changed[reads & outermost].all()


def test_only_borders_learn_and_the_weights_stay_the_same_bits(subject):
    before = {name: value.clone() for name, value in subject.model.state_dict().items()}
    photos = [np.random.default_rng(0).integers(0, 256, (256, 260, 3), np.uint8)]
    told: list[float] = []
    model = Adaptation(steps=3, batch=1, offset=64).learn(
        subject, photos, told=lambda step, loss: told.append(loss)
    )
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    moved = [name for name in after if name not in before and after[name].abs().max() > 0]
    assert moved
    assert all('.borders.' in name for name in moved)
    assert len(told) == 3
    assert not any(isinstance(each, LearnedConv2d) for each in subject.model.modules())


def test_what_zero_padding_breaks_is_learned_from_the_larger_photo(subject):
    photos = [np.random.default_rng(2).integers(0, 256, (256, 256, 3), np.uint8)]
    losses: list[float] = []
    Adaptation(steps=12, batch=1, rate=0.03, offset=64).learn(
        subject, photos, told=lambda step, loss: losses.append(loss)
    )
    assert losses[0] > 0
    assert np.mean(losses[-3:]) < 0.7 * np.mean(losses[:2])


def test_photos_are_scaled_to_hold_a_window_and_its_surroundings():
    for height, width in ((100, 300), (300, 100), (256, 256), (900, 700)):
        found = _with_room(np.zeros((height, width, 3), np.uint8), [256, 200])
        assert min(found.shape[0] - 256, found.shape[1] - 200) >= 0
        assert found.shape[0] == 256 or found.shape[1] == 200
        # Within a pixel of the same aspect ratio.
        assert abs(found.shape[0] * width - found.shape[1] * height) <= max(height, width)


def test_the_table_has_a_row_for_every_variant_of_the_results():
    results = json.loads((ROOT / 'docs' / 'results' / 'learned_borders.json').read_text('utf-8'))
    table = learned_markdown(results)
    rows = sum(len(found['variants']) for found in results.values())
    assert table.count('\n|') == rows + 1
    change = results['ssd128-centre']['variants'][LEARNED]['change']
    assert f'| {with_interval(change)} |' in table
    assert table.strip() in (ROOT / 'docs' / 'RESULTS.md').read_text('utf-8')


def test_confidences_are_those_of_the_head(subject):
    image = subject.preprocess([np.random.default_rng(1).integers(0, 256, (128, 128, 3), np.uint8)])
    with torch.no_grad():
        outputs = subject.dense(image)
        found = confidences(subject.model, outputs)
        head = subject.model.bbox_head
        flat = [
            level.permute(0, 2, 3, 1).reshape(-1, head.num_classes + 1).softmax(1)
            for level in outputs[0]
        ]
    assert torch.allclose(found[0], torch.cat(flat)[:, :-1].amax(1))
