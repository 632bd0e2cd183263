"""Image files: modes, sizes and damage. The oracle is Pillow."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import mmcv
import numpy as np
from PIL import Image, ImageOps, PngImagePlugin

from fuzz.kinds.base import Kind
from fuzz.mutate import mutated_bytes
from fuzz.outcome import Outcome, outcome_of
from mindpad_mm.core.images import read_image

# Decoders of JPEG and WebP differ by rounding.
_LOSSY = 4.0
_MOST_TEXT = 2**30


class Images(Kind):
    """One image of any format and mode, as it is or damaged, read as a photo or as an object."""

    title = 'image files (PNG, JPEG, WebP, TIFF, BMP)'
    weight = 6

    def run(self, rng: random.Random) -> tuple[str, Outcome]:
        name, data, exact = _image(rng)
        damage = 'as it is'
        if rng.random() < 0.6:
            if data.startswith(b'\x89PNG') and rng.random() < 0.5:
                damage, data = _chunk_mutation(data, rng)
            else:
                damage, data = mutated_bytes(data, rng)
        suffix = rng.choice(('.png', '.jpg', '.webp', '.tif', '')) if rng.random() < 0.1 else '.png'
        path = Path(f'image{suffix}')
        path.write_bytes(data)
        flags = rng.choice((cv2.IMREAD_COLOR, cv2.IMREAD_UNCHANGED))
        return f'{name}, {damage}, flags {flags}', outcome_of(
            lambda: read_image(path, flags), lambda pixels: _fault(pixels, path, flags, exact)
        )


def _image(rng: random.Random) -> tuple[str, bytes, bool]:
    """Name and bytes of an image file, and whether its format keeps pixels exactly."""
    form, modes = rng.choice(
        (
            ('PNG', ('1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'I;16')),
            ('PNG', ('L', 'RGB', 'P')),
            ('JPEG', ('L', 'RGB')),
            ('WEBP', ('RGB', 'RGBA')),
            ('TIFF', ('L', 'RGB', 'RGBA', 'I;16')),
            ('BMP', ('L', 'P', 'RGB')),
        )
    )
    mode = rng.choice(modes)
    width, height = (rng.choice((1, 2, 7, 33, 64)) for _ in range(2))
    noise = np.random.default_rng(rng.randrange(2**32))
    pixels = noise.integers(0, 256, (height, width, 4), np.uint8)
    pixels = cv2.resize(pixels[: height // 4 + 1, : width // 4 + 1], (width, height))
    pixels = pixels.reshape(height, width, 4)
    if mode == 'I;16':
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(pixels).convert(mode)
    options: dict[str, object] = {}
    name = f'{form} {mode} {width}x{height}'
    if form == 'PNG' and mode in ('L', 'RGB', 'P') and rng.random() < 0.5:
        options['transparency'] = {'L': 77, 'RGB': (1, 2, 3), 'P': bytes(range(0, 256, 3))}[mode]
        name += ' tRNS'
    if form == 'PNG' and rng.random() < 0.15:
        info = PngImagePlugin.PngInfo()
        info.add_text('comment', 'x' * rng.choice((10, 2_000_000, 70_000_000)), zip=True)
        options['pnginfo'] = info
        name += ' text'
    if form in ('PNG', 'JPEG') and rng.random() < 0.25:
        exif = Image.Exif()
        exif[0x0112] = rng.choice((1, 2, 3, 4, 5, 6, 7, 8, 0, 99))
        options['exif'] = exif
        name += f' orientation {exif[0x0112]}'
    if form == 'JPEG':
        options |= {'progressive': rng.random() < 0.5, 'quality': 95}
    if form == 'WEBP':
        options['lossless'] = True
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return name, stream.getvalue(), form != 'JPEG'


def _chunk_mutation(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """A PNG with one chunk changed, and its checksum right again."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        length = struct.unpack('>I', data[at : at + 4])[0]
        chunks.append([data[at + 4 : at + 8], data[at + 8 : at + 8 + length]])
        at += 12 + length
    index = rng.randrange(len(chunks))
    kind, payload = chunks[index]
    how = rng.choice(('payload', 'drop', 'twice', 'swap', 'size'))
    if how == 'payload':
        chunks[index][1] = mutated_bytes(payload, rng)[1]
    elif how == 'drop':
        del chunks[index]
    elif how == 'twice':
        chunks.insert(index, [kind, payload])
    elif how == 'swap':
        rng.shuffle(chunks)
    else:
        big = rng.choice((0, 1, 2, 65_500, 30_000_000, 2**31 - 1))
        chunks[0][1] = struct.pack('>I', big) + chunks[0][1][4:]
    new = data[:8]
    for kind, payload in chunks:
        check = zlib.crc32(kind + payload)
        new += struct.pack('>I', len(payload)) + kind + payload + struct.pack('>I', check)
    return f'chunk {how} {kind!r}', new


def _fault(pixels: np.ndarray, path: Path, flags: int, exact: bool) -> str | None:
    # Pillow's limits of text protect its user, not the pixels.
    limits: dict[str, Any] = {'MAX_TEXT_CHUNK': _MOST_TEXT, 'MAX_TEXT_MEMORY': _MOST_TEXT}
    with mock.patch.multiple(PngImagePlugin, **limits), Image.open(path) as opened:
        opened.load()
        if flags == cv2.IMREAD_COLOR and opened.format == 'TIFF' and opened.has_transparency_data:
            # OpenCV, and so MMDetection, sees these colours before black.
            return None if np.array_equal(pixels, mmcv.imread(str(path))) else 'not what mmcv reads'
        image = ImageOps.exif_transpose(opened)
    if image.mode.startswith('I;16'):
        # Pillow clips 16 bits to 8; their upper half is meant.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    colour = _pillow(image, 'RGB')[..., ::-1]
    forms: dict[int, Callable[[], np.ndarray]] = {
        2: lambda: _pillow(image, 'L'),
        3: lambda: colour,
        4: lambda: np.dstack([colour, _pillow(image, 'RGBA')[..., 3]]),
    }
    channels = pixels.shape[2] if pixels.ndim == 3 else 2
    if flags == cv2.IMREAD_COLOR and channels != 3:
        return f'{channels} channels as a photo'
    if flags == cv2.IMREAD_UNCHANGED and image.has_transparency_data and channels != 4:
        return f'alpha is lost: {channels} channels of {image.mode}'
    if channels not in forms or pixels.dtype != np.uint8:
        return f'{pixels.dtype} {pixels.shape}'
    wanted = forms[channels]()
    if wanted.shape != pixels.shape:
        return f'shape {pixels.shape}, in Pillow {wanted.shape}'
    apart = np.abs(wanted.astype(int) - pixels)
    if (apart.max(initial=0) > 1) if exact else (apart.mean() > _LOSSY):
        return (
            f'pixels differ from Pillow by {apart.mean():.1f}, at most {apart.max()} ({image.mode})'
        )
    return None


def _pillow(image: Image.Image, mode: str) -> np.ndarray:
    return np.asarray(image.convert(mode))
