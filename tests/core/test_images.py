from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.images import list_images, read_image


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_truncated_image_is_refused(tmp_path, suffix):
    path = tmp_path / f'photo{suffix}'
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    assert read_image(path).shape == (64, 64, 3)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match='readable'):
        read_image(path)


def test_missing_or_foreign_file_is_refused(tmp_path):
    (tmp_path / 'text.png').write_text('not an image')
    for name in ('text.png', 'missing.png', '.'):
        with pytest.raises(UserError):
            read_image(tmp_path / name)


def test_sixteen_bit_image_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / 'deep.png'), np.zeros((4, 4, 3), np.uint16))
    with pytest.raises(UserError, match='8 bits'):
        read_image(tmp_path / 'deep.png', cv2.IMREAD_UNCHANGED)


def test_folder_is_replaced_by_its_images_sorted_by_name(tmp_path):
    for name in ('b.png', 'a.JPG', 'notes.txt'):
        (tmp_path / name).touch()
    assert [path.name for path in list_images([tmp_path])] == ['a.JPG', 'b.png']
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match='no image'):
        list_images([tmp_path / 'empty'])


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('flags', [cv2.IMREAD_COLOR, cv2.IMREAD_UNCHANGED])
@pytest.mark.parametrize('shape', [(5, 9, 3), (5, 9, 4), (5, 9)], ids=['BGR', 'BGRA', 'grey'])
def test_exif_orientation_is_applied(tmp_path, orientation, flags, shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / 'photo.png', exif=exif)
    with Image.open(tmp_path / 'photo.png') as image:
        upright = ImageOps.exif_transpose(image)
    if flags == cv2.IMREAD_COLOR:
        upright = upright.convert('RGB')
    expected = np.asarray(upright)
    if expected.ndim == 3:  # RGB(A) to BGR(A)
        expected = expected[..., [2, 1, 0, 3][: expected.shape[2]]]
    np.testing.assert_array_equal(read_image(tmp_path / 'photo.png', flags), expected)
