"""A file is read by one reader: what that cannot read is one line, whatever asks for the file."""

from __future__ import annotations

import json
import struct
import zlib
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from mindpad_mm.core.coco import read_coco
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.files import read_json
from mindpad_mm.core.images import read_image
from mindpad_mm.core.objects import ScanObject
from mindpad_mm.evaluation.ground_truth import read_annotations
from mindpad_mm.traffic_lights.annotated import photos_with_lights
from mindpad_mm.traffic_lights.sources import read_crop

GREY = np.random.default_rng(0).integers(0, 256, (12, 10), np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (12, 10, 3), np.uint8)


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack('>I', len(content))
        + kind
        + content
        + struct.pack('>I', zlib.crc32(kind + content))
    )


def with_chunk(picture: Image.Image, path: Path, kind: bytes, content: bytes) -> None:
    """A PNG file with one more chunk before its pixels."""
    picture.save(path)
    data = path.read_bytes()
    at = data.index(b'IDAT') - 4
    path.write_bytes(data[:at] + chunk(kind, content) + data[at:])


def palette(alpha: bytes | None) -> Image.Image:
    picture = Image.fromarray(COLOUR).quantize(4)
    picture.info['transparency'] = alpha
    return picture


TRANSPARENT = {
    'grey': lambda path: with_chunk(
        Image.fromarray(GREY), path, b'tRNS', struct.pack('>H', GREY[3, 4])
    ),
    'grey and alpha': lambda path: Image.merge('LA', [Image.fromarray(GREY)] * 2).save(path),
    'black and white': lambda path: with_chunk(
        Image.fromarray(GREY > 99), path, b'tRNS', struct.pack('>H', 0)
    ),
    'colour': lambda path: with_chunk(
        Image.fromarray(COLOUR), path, b'tRNS', struct.pack('>3H', *COLOUR[3, 4])
    ),
    'colour and alpha': lambda path: Image.fromarray(np.dstack([COLOUR, GREY])).save(path),
    'palette': lambda path: palette(bytes([0, 90, 255, 255])).save(path),
    'opaque': lambda path: Image.fromarray(COLOUR).save(path),
    'opaque grey': lambda path: Image.fromarray(GREY).save(path),
    'WebP': lambda path: Image.fromarray(np.dstack([COLOUR, GREY])).save(
        path, 'WEBP', lossless=True, exact=True
    ),
}


@pytest.mark.parametrize('kind', TRANSPARENT)
def test_objects_and_crops_have_the_transparency_that_pillow_sees(tmp_path, kind):
    path = tmp_path / 'object.png'
    TRANSPARENT[kind](path)
    with Image.open(path) as picture:
        wanted = np.asarray(picture.convert('RGBA'))[..., [2, 1, 0, 3]]
    crop = read_crop(path)
    opaque = wanted[..., 3].min() == 255
    assert opaque == ('opaque' in kind)
    np.testing.assert_array_equal(crop, wanted[..., :3] if opaque else wanted)
    visible = wanted[..., 3] > 0
    rows, cols = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
    box = np.s_[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    np.testing.assert_array_equal(ScanObject.from_file(path).pixels, wanted[box])


def long_text(path):
    text = PngImagePlugin.PngInfo()
    text.add_text('Comment', 'x' * 3_000_000, zip=True)
    Image.fromarray(COLOUR).save(path, pnginfo=text)


def much_text(path):
    text = PngImagePlugin.PngInfo()
    for number in range(80):
        text.add_text(f'Comment {number}', 'x' * 1_000_000, zip=True)
    Image.fromarray(COLOUR).save(path, pnginfo=text)


def profile(path):
    Image.fromarray(COLOUR).save(path, icc_profile=bytes(3_000_000))


@pytest.mark.parametrize('write', [long_text, much_text, profile])
@pytest.mark.parametrize('flags', [cv2.IMREAD_COLOR, cv2.IMREAD_UNCHANGED])
def test_what_opencv_and_mmcv_read_is_read(tmp_path, write, flags):
    write(tmp_path / 'photo.png')
    pixels = cv2.imread(str(tmp_path / 'photo.png'), flags)
    np.testing.assert_array_equal(read_image(tmp_path / 'photo.png', flags), pixels)


@pytest.mark.filterwarnings('error')
def test_images_above_pillows_limit_of_size_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 40)  # of 120: more than twice as many
    cv2.imwrite(str(tmp_path / 'photo.png'), COLOUR)
    np.testing.assert_array_equal(read_image(tmp_path / 'photo.png'), COLOUR)
    assert Image.MAX_IMAGE_PIXELS == 40


def damaged():
    """Image files that were cut or overwritten at many places, and headers that promise too much."""
    for suffix in ('.png', '.jpg', '.bmp', '.tiff', '.webp'):
        whole = cv2.imencode(suffix, COLOUR)[1].tobytes()
        for share in range(1, 10):
            at = len(whole) * share // 10
            yield suffix, whole[:at]
            yield suffix, whole[:at] + b'\xff' * min(8, len(whole) - at) + whole[at + 8 :]
            yield suffix, whole[:at] + b'\0' * min(8, len(whole) - at) + whole[at + 8 :]
        yield suffix, b''
        yield suffix, b'\xef\xbb\xbf' + whole
    header = struct.pack('>2I5B', 1 << 30, 1 << 30, 8, 2, 0, 0, 0)
    yield (
        '.png',
        b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', b'') + chunk(b'IEND', b''),
    )


@pytest.mark.filterwarnings('ignore')
def test_a_damaged_image_is_read_or_one_line(tmp_path):
    outcomes = Counter()
    for suffix, content in damaged():
        path = tmp_path / f'photo{suffix}'
        path.write_bytes(content)
        for read in (read_image, ScanObject.from_file, read_crop):
            try:
                read(path)
            except UserError as error:
                outcomes['lines' if '\n' in str(error) else 'one line'] += 1
            else:
                outcomes['read'] += 1
    assert not outcomes['lines']
    assert min(outcomes['read'], outcomes['one line']) > 20


ANNOTATIONS = {
    'images': [{'id': 1, 'file_name': 'é.png', 'width': 10, 'height': 12}],
    'categories': [{'id': 1, 'name': 'traffic light'}],
    'annotations': [
        {'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [0, 0, 9, 9], 'area': 81, 'iscrowd': 0}
    ],
}
TEXT = json.dumps(ANNOTATIONS, ensure_ascii=False)
READERS = {
    'scan': lambda path: read_coco(path).dataset,
    'compare': lambda path: read_annotations(str(path)),
    'lights': lambda path: photos_with_lights(path, path.parent, ['é.png']),
}
ENCODED = {
    'UTF-8 with a byte order mark': TEXT.encode('utf-8-sig'),
    'UTF-16': TEXT.encode('utf-16'),
    'UTF-16 without a mark': TEXT.encode('utf-16-le'),
    'Latin 1': TEXT.encode('latin-1'),
    'truncated': TEXT.encode()[:-20],
    'empty': b'',
    'deep': b'[' * 100_000,
    'zeros': bytes(100),
    'a list': b'[]',
    'null': b'null',
    'two values': TEXT.encode() * 2,
}


@pytest.mark.parametrize('reader', READERS)
def test_annotations_are_read_in_utf8_whatever_the_locale(tmp_path, reader, monkeypatch):
    monkeypatch.setattr('locale.getpreferredencoding', lambda *_: 'ascii')
    (tmp_path / 'a.json').write_bytes(TEXT.encode())
    assert READERS[reader](tmp_path / 'a.json')


@pytest.mark.parametrize('encoding', ENCODED)
def test_all_tools_refuse_the_same_annotations_in_one_line(tmp_path, encoding):
    path = tmp_path / 'a.json'
    path.write_bytes(ENCODED[encoding])
    for read in READERS.values():
        with pytest.raises(UserError) as caught:
            read(path)
        assert '\n' not in str(caught.value)
        assert 'a.json' in str(caught.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r'annotations .*gone\.json: No such file'):
        read_json(tmp_path / 'gone.json', 'annotations')
    with pytest.raises(UserError, match='Is a directory'):
        read_json(tmp_path, 'annotations')
