from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import load_config
from mindpad_mm.core.scenes import Background, load_backgrounds, make_scene, paste, photo_part


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), row=st.integers(0, 5), col=st.integers(0, 3))
def test_pasting_is_alpha_blending_rounded_to_the_nearest(seed, row, col):
    rng = np.random.default_rng(seed)
    scene = rng.integers(0, 256, (9, 10, 3), np.uint8)
    pixels = rng.integers(0, 256, (4, 7, 4), np.uint8)
    before = scene.copy()
    pasted = paste(scene, pixels, row, col)
    alpha = pixels[..., 3:] / 255
    expected = scene.astype(float)
    window = expected[row : row + 4, col : col + 7]
    window[...] = alpha * pixels[..., :3] + (1 - alpha) * window
    assert np.abs(pasted - expected).max() <= 0.5
    assert (scene == before).all()


def test_alpha_of_255_and_0_are_exact():
    scene = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    pixels = np.dstack([scene[::-1], np.full((16, 16), 255, np.uint8)])
    assert (paste(scene, pixels, 0, 0) == scene[::-1]).all()
    pixels[..., 3] = 0
    assert (paste(scene, pixels, 0, 0) == scene).all()


def test_hole_of_a_cut_out_object_is_filled(tmp_path):
    photo = np.full((40, 40, 3), 80, np.uint8)
    hole = np.zeros((40, 40), bool)
    hole[10:20, 10:20] = True
    photo[hole] = 255
    path = tmp_path / 'photo.png'
    cv2.imwrite(str(path), photo)
    (filled,) = load_backgrounds([path], {path.resolve(): hole})
    assert (filled.pixels == 80).all()
    (untouched,) = load_backgrounds([path], {})
    assert (untouched.pixels == photo).all()


def test_input_scene_is_what_the_configs_own_pipeline_gives(files):
    from mmcv.transforms import Compose
    from mmdet.utils import get_test_pipeline_cfg

    config = load_config(str(files / 'config.py'))
    (background,) = load_backgrounds([files / 'photo.png'])
    scene = make_scene(background, config)
    data = Compose(get_test_pipeline_cfg(config))(
        {'img_path': str(files / 'photo.png'), 'img_id': 0}
    )
    assert (scene.pixels == data['inputs'].permute(1, 2, 0).numpy()).all()
    assert scene.size == (96, 96)
    assert scene.metainfo['scale_factor'] == (1, 1)
    assert scene.metainfo['ori_shape'] == scene.metainfo['img_shape'] == (96, 96)


PAD = {'type': 'Pad', 'pad_val': {'img': (114, 114, 114)}}
BARS = {
    # (height, width) of the photo, further steps, part of the photo in the input
    'letterbox': ((60, 120), [{**PAD, 'pad_to_square': True}], (0, 0, 48, 96)),
    'letterbox of a tall photo': ((120, 60), [{**PAD, 'pad_to_square': True}], (0, 0, 96, 48)),
    'size divisor': ((60, 120), [{**PAD, 'size_divisor': 32}], (0, 0, 48, 96)),
    'black bars': ((60, 120), [{'type': 'Pad', 'pad_to_square': True}], (0, 0, 48, 96)),
    'none': ((120, 120), [], (0, 0, 96, 96)),
}


@pytest.mark.parametrize('case', BARS)
@pytest.mark.parametrize('level', [0, 114, 255])
def test_photo_is_told_from_what_the_pipeline_pads_even_in_the_same_colour(files, case, level):
    size, steps, part = BARS[case]
    config = load_config(str(files / 'config.py'))
    config.test_dataloader.dataset.pipeline = [
        {'type': 'LoadImageFromFile'},
        {'type': 'Resize', 'scale': (96, 96), 'keep_ratio': True},
        *steps,
        {'type': 'PackDetInputs', 'meta_keys': ()},
    ]
    background = Background(np.full((*size, 3), level, np.uint8), 'flat')
    assert make_scene(background, config).photo == part
    image = make_scene(background, config, 'image')
    assert image.photo == (0, 0, *size)
    assert image.scale == (part[2] / size[0], part[3] / size[1])  # of the photo, not of the canvas


def test_part_is_found_wherever_the_photo_lies():
    black = np.full((3, 20, 30), 7, np.uint8)
    white = black.copy()
    white[1, 4:9, 11:29] = 8
    assert photo_part(black, white) == (4, 11, 5, 18)
    with pytest.raises(UserError, match='same input of a black and of a white photo'):
        photo_part(black, black)


def test_image_scene_is_the_photo_and_has_the_scale_of_the_pipeline(files):
    (background,) = load_backgrounds([files / 'photo.png'])
    scene = make_scene(background, load_config(str(files / 'config.py')), 'image')
    assert scene.size == (64, 80)
    assert scene.scale == (96 / 64, 96 / 80)


@pytest.mark.parametrize(
    'steps',
    [
        [{'type': 'LoadImageFromFile', 'to_float32': True}],
        [{'type': 'LoadImageFromFile'}, {'type': 'Pad', 'size': (70, 90)}],
    ],
)
def test_pipeline_unsuitable_for_the_input_space_is_refused_with_advice(files, steps):
    config = load_config(str(files / 'config.py'))
    # A relative crop changes its own output. Float pixels are not pasted into.
    crop = (
        []
        if 'to_float32' in steps[0]
        else [{'type': 'RandomCrop', 'crop_size': (0.5, 0.5), 'crop_type': 'relative'}]
    )
    config.test_dataloader.dataset.pipeline = [
        *steps,
        *crop,
        {'type': 'PackDetInputs', 'meta_keys': ()},
    ]
    background = Background(np.zeros((64, 80, 3), np.uint8), 'black')
    with pytest.raises(UserError, match="use `space='image'`"):
        make_scene(background, config)


def test_drawn_street_is_the_same_for_the_same_seed():
    assert (Background.drawn(2).pixels == Background.drawn(2).pixels).all()
