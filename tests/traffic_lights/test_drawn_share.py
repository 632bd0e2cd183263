"""With --drawn, a share of the images is drawn and the others do not change."""

import json

import cv2
import numpy as np

from mindpad_mm.traffic_lights.dataset import Recipe
from mindpad_mm.traffic_lights.write import make_traffic_lights


def test_a_share_of_images_is_drawn_and_the_rest_keeps_its_bytes(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / 'photos').mkdir()
    for index in range(4):
        photo = rng.integers(0, 256, (80, 80, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / 'photos' / f'{index}.png'), photo)
    sets = {}
    for drawn in (0.0, 0.5):
        out = tmp_path / f'set_{drawn}'
        recipe = Recipe(num_train=6, num_val=0, size=64, drawn=drawn)
        make_traffic_lights(out, recipe, photos=tmp_path / 'photos')
        images = json.loads((out / 'annotations' / 'train.json').read_text())['images']
        sets[drawn] = [
            (image['photo'], (out / 'train' / image['file_name']).read_bytes()) for image in images
        ]
    is_drawn = [photo == 'drawn' for photo, _ in sets[0.5]]
    assert is_drawn == [False, True] * 3
    for drawn, kept, mixed in zip(is_drawn, sets[0.0], sets[0.5]):
        assert (kept == mixed) != drawn
