"""Where border, context or padding loss must be 0, it is; beside it, where it must not be, it is not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from mindpad_mm import border_loss
from tests.border.toys import HeatDetector, SquareDetector, convolutions, noise_photo, street

OPTIONS = dict(
    window=(160, 160), far=32, minutes=0, found_thr=0.01, iou_thr=0.9, draws=100, zoom=1, placebo=True,
)  # fmt: skip
NOTHING = 1e-9
# Radius of the receptive field of `convolutions`: 3 x 3 at strides 1, 2, 4, 4.
RADIUS = 1 + 2 + 4 + 4


def losses(result, view, other):
    views = result.info.views
    scores = result.values[0, ..., 0].astype(np.float64)
    return scores[:, views.index(view)] - scores[:, views.index(other)]


@pytest.mark.parametrize('mode', ['circular', 'zeros'])
def test_circular_padding_on_periodic_photos_has_no_border_loss(mode):
    photo = np.tile(noise_photo(160, 160), (2, 2, 1))
    detector = HeatDetector(convolutions(mode)).wrapped()
    result = border_loss(detector, [photo], **OPTIONS)
    largest = np.abs(losses(result, 'open', 'cut')).max()
    assert len(result.probes) > 50
    assert largest < NOTHING if mode == 'circular' else largest > 0.01
    assert np.nanmax(np.abs(losses(result, 'open', 'placebo'))) < NOTHING


def test_a_network_without_padding_has_no_loss():
    detector = HeatDetector(convolutions('zeros', padding=0), first=RADIUS).wrapped()
    result = border_loss(detector, [noise_photo(300, 300)], **OPTIONS)
    assert len(result.probes) > 50
    for view in ('cut', 'control'):
        assert np.abs(losses(result, 'open', view)).max() < NOTHING


def test_beyond_the_receptive_field_there_is_no_loss_and_within_it_there_is():
    strides = (2, 2, 1, 1, 1, 1)
    radius = RADIUS + 8
    detector = HeatDetector(convolutions('zeros', strides)).wrapped()
    result = border_loss(detector, [noise_photo(300, 300)], **OPTIONS)
    distance = np.array([probe.distance for probe in result.probes])
    # Of a box's 12 pixels between its centre and its side, at most a cell's width is beside the cell
    # that matches it best.
    beyond = distance > radius - 12 + 4
    for view in ('cut', 'control'):
        loss = np.abs(losses(result, 'open', view))
        assert loss[beyond].max() < NOTHING
        assert loss[distance == 0].max() > 0.001


def test_zero_padding_of_the_input_is_a_fill_that_the_preprocessor_maps_to_zero():
    torch.manual_seed(0)
    # 33 x 33 at stride 4 on the input, wider than the object; then nothing that pads.
    first = nn.Conv2d(3, 4, 33, 4, padding=15)
    nn.init.kaiming_normal_(first.weight)
    detector = HeatDetector(nn.Sequential(first, nn.ReLU(), nn.Conv2d(4, 1, 1))).wrapped()
    photos = [noise_photo(300, 300)]
    few = dict(OPTIONS, sides=('left', 'right'), distances=0, max_objects=4, placebo=False)
    filled = border_loss(detector, photos, fill=128, **few)
    assert np.abs(losses(filled, 'control', 'cut')).max() < NOTHING
    assert np.abs(losses(filled, 'open', 'control')).max() > 0.01
    other = border_loss(detector, photos, fill=0, **few)
    assert np.abs(losses(other, 'control', 'cut')).max() > 0.01


@pytest.fixture
def square(tmp_path):
    cv2.imwrite(str(tmp_path / 'square.png'), np.full((24, 24, 3), (0, 0, 255), np.uint8))
    return tmp_path / 'square.png'


def near_left(image, box):
    """Blind within 20 px of the image's left side."""
    return 0.9 if box[0] >= 20 else 0.0


def scene_around(image, box):
    """As sure as the pixels to 16 px from the box are bright; black where there are none."""
    x1, y1, x2, y2 = box
    padded = np.pad(image, ((16, 16), (16, 16), (0, 0)))
    around = padded[y1 : y2 + 32, x1 : x2 + 32]
    return float(np.clip(around[..., 1].mean() / 120, 0, 1))


def measure(score, square, **options):
    photos = [street(number) for number in range(12)]
    return border_loss(
        SquareDetector(score).wrapped(), photos, object=square, window=(256, 256), zoom=1, minutes=0,
        max_objects=2, sizes=24, fill=0, draws=200, **options,
    )  # fmt: skip


def test_a_planted_blind_rim_is_found_on_its_side_and_to_its_width(square):
    result = measure(near_left, square)
    by_side = result.statistics['as trained']['by_side']
    for distance in (0, 4, 8, 12, 16):
        left = by_side['left'][str(distance)]
        assert left['padding_loss']['mean'] == pytest.approx(0.9, abs=1e-4)
        assert left['context_loss']['mean'] == 0
        assert left['lost_objects']['mean'] == 1
    for distance in (24, 32, 48):
        assert by_side['left'][str(distance)]['border_loss']['mean'] == 0
    for side in ('top', 'bottom', 'right'):
        assert by_side[side]['near']['border_loss']['mean'] == 0
    assert 'Padding is to blame' in result.summary()


def test_a_detector_that_needs_the_scene_beyond_the_cut_shows_context_loss_alone(square):
    result = measure(scene_around, square)
    near = result.statistics['as trained']['by_side']['all']['near']
    assert near['padding_loss']['mean'] == 0
    assert near['context_loss']['interval'][0] > 0.02
    assert 'Do not swap' in result.summary()
    far = result.statistics['as trained']['by_side']['all']
    assert far['16']['border_loss']['mean'] == far['48']['border_loss']['mean'] == 0
