"""Reading and writing images, with error messages for files that cannot be used."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps, PngImagePlugin

from mindpad_mm.core.errors import UserError, one_line
from mindpad_mm.core.files import save_bytes
from mindpad_mm.core.names import PathLike

IMAGE_SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')


def read_image(path: PathLike, flags: int = cv2.IMREAD_COLOR, what: str = 'image') -> np.ndarray:
    """Read an 8-bit image file and apply its EXIF orientation.

    Args:
        path: Image file.
        flags: Flags of ``cv2.imdecode``. Default: ``IMREAD_COLOR``, which gives (H, W, 3) BGR.
        what: Name of the file's role in error messages, such as ``'photo'``.

    Returns:
        (H, W) or (H, W, C) uint8 pixels.

    Raises:
        UserError: The file is missing, is not an image, is truncated or does not have 8 bits per
            channel.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f'{what} {str(path)!r} does not exist or is not a file')
    try:
        # OpenCV silently fills the missing part of a truncated file; Pillow raises an error. It reads
        # what OpenCV and mmcv read, without its own limits of size.
        with _without_limits(), Image.open(path) as image:
            image.load()
            orientation = image.getexif().get(ExifTags.Base.Orientation)
            rgba = None
            if flags == cv2.IMREAD_UNCHANGED and image.has_transparency_data:
                rgba = np.asarray(image.convert('RGBA'))
        pixels = cv2.imdecode(np.fromfile(path, np.uint8), flags)
    except Exception as error:  # damaged files raise errors of many kinds in Pillow's readers
        raise UserError(
            f'{what} {str(path)!r} is not a readable image ({one_line(error)}); is the file complete?'
        ) from error
    if pixels is None:
        raise UserError(f'{what} {str(path)!r} is in a format that OpenCV cannot decode')
    if pixels.dtype != np.uint8:
        raise UserError(f'{what} {str(path)!r} holds {pixels.dtype} pixels; convert it to 8 bits')
    if rgba is not None:
        # OpenCV leaves the transparency of some kinds of files out, such as that of grey PNG files, and
        # multiplies the colours of TIFF files by it.
        pixels = rgba[..., [2, 1, 0, 3]]
    # OpenCV applies the orientation itself, except with IMREAD_UNCHANGED.
    return _upright(pixels, orientation) if flags == cv2.IMREAD_UNCHANGED else pixels


@contextlib.contextmanager
def _without_limits() -> Iterator[None]:
    """While active, Pillow reads images of any size and with any amount of text."""
    limits = [
        (Image, 'MAX_IMAGE_PIXELS'),
        (PngImagePlugin, 'MAX_TEXT_CHUNK'),
        (PngImagePlugin, 'MAX_TEXT_MEMORY'),
    ]
    before = [getattr(module, name) for module, name in limits]
    try:
        for module, name in limits:
            setattr(module, name, None if name == 'MAX_IMAGE_PIXELS' else sys.maxsize)
        yield
    finally:
        for (module, name), value in zip(limits, before):
            setattr(module, name, value)


def _upright(pixels: np.ndarray, orientation: int | None) -> np.ndarray:
    """Transpose pixels, in any channel order, by the value of the EXIF orientation tag."""
    if orientation is None:
        return pixels
    image = Image.fromarray(pixels)
    image.getexif()[ExifTags.Base.Orientation] = orientation
    return np.array(ImageOps.exif_transpose(image))


def scaled(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A photo resized to (height, width): over areas if it shrinks, else linearly."""
    if pixels.shape[:2] == size:
        return pixels
    interpolation = cv2.INTER_AREA if size[0] < pixels.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(pixels, size[::-1], interpolation=interpolation)


def write_png(path: PathLike, pixels: np.ndarray) -> None:
    """Write uint8 pixels (grey, BGR or BGRA) as a PNG file.

    Raises:
        UserError: The file cannot be written.
    """
    save_bytes(Path(path), cv2.imencode('.png', pixels)[1].tobytes())


def list_images(paths: Sequence[PathLike]) -> list[Path]:
    """Replace each folder among the paths by its image files, sorted by name.

    Files are kept in the given order and are not checked.

    Raises:
        UserError: A folder contains no image.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.is_dir():
            files.append(path)
            continue
        images = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        if not images:
            raise UserError(f'folder {str(path)!r} holds no image ({", ".join(IMAGE_SUFFIXES)})')
        files.extend(images)
    return files


def check_pixels(name: str, pixels: np.ndarray, channels: tuple[int, ...]) -> None:
    """Check an array that was given as an image.

    Args:
        name: The parameter's, for the message.
        pixels: The array.
        channels: Numbers of channels that are possible; 1 is an array of two dimensions.

    Raises:
        UserError: It is not uint8, is empty, or has another number of channels.
    """
    found = pixels.shape[2] if pixels.ndim == 3 else 1 if pixels.ndim == 2 else 0
    if pixels.dtype != np.uint8 or found not in channels or not pixels.size:
        wanted = ' or '.join(map(str, channels))
        raise UserError(
            f'`{name}` is an array of {pixels.dtype} and shape {pixels.shape}: give uint8 pixels of '
            f'shape (height, width, {wanted}), with channels in the order blue, green, red'
        )
