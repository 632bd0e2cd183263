"""Reading and writing images with errors a user can act on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mindpad_mm.core.errors import UserError

PathLike = str | Path
IMAGE_SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
_EXIF_ORIENTATION = 0x0112
# What it says of a picture that a camera stored lying or mirrored.
_TRANSPOSED, _UPSIDE_DOWN, _MIRRORED = (5, 6, 7, 8), (3, 4, 7, 8), (2, 3, 6, 7)


def read_image(path: PathLike, flags: int = cv2.IMREAD_COLOR, what: str = 'image') -> np.ndarray:
    """Read an image file as uint8, upright as its EXIF orientation says.

    Args:
        path: The file.
        flags: OpenCV's imread flags; ``IMREAD_COLOR`` (the default) gives H x W x 3 BGR.
        what: What the file is to the user, for the error's sentence.

    Raises:
        UserError: The file is missing, is no image, is truncated or is not 8 bits a channel.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f'{what} {str(path)!r} does not exist or is not a file')
    try:
        # OpenCV fills the missing part of a truncated file with grey; Pillow says so.
        with Image.open(path) as image:
            image.load()
            orientation = image.getexif().get(_EXIF_ORIENTATION)
    except (OSError, SyntaxError) as error:
        raise UserError(
            f'{what} {str(path)!r} is not a readable image ({error}); is the file complete?'
        ) from error
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), flags)
    if pixels is None:
        raise UserError(f'{what} {str(path)!r} is in a format that OpenCV cannot decode')
    if pixels.dtype != np.uint8:
        raise UserError(f'{what} {str(path)!r} holds {pixels.dtype} pixels; convert it to 8 bits')
    # OpenCV turns pictures by itself, but for IMREAD_UNCHANGED, which alone keeps alpha.
    return _upright(pixels, orientation) if flags == cv2.IMREAD_UNCHANGED else pixels


def _upright(pixels: np.ndarray, orientation: int | None) -> np.ndarray:
    if orientation in _TRANSPOSED:
        pixels = pixels.swapaxes(0, 1)
    if orientation in _UPSIDE_DOWN:
        pixels = pixels[::-1]
    if orientation in _MIRRORED:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def write_png(path: PathLike, pixels: np.ndarray) -> None:
    """Write uint8 pixels (grey, BGR or BGRA) losslessly.

    Raises:
        UserError: The file cannot be written.
    """
    encoded = cv2.imencode('.png', pixels)[1]
    try:
        Path(path).write_bytes(encoded.tobytes())
    except OSError as error:
        raise UserError(f'cannot write {str(path)!r}: {error.strerror}') from error


def list_images(paths: Sequence[PathLike]) -> list[Path]:
    """Image files in the order given, a folder standing for its images sorted by name.

    Raises:
        UserError: A path does not exist, or a folder holds no image.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.is_dir():
            files.append(path)
            continue
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        if not inside:
            raise UserError(f'folder {str(path)!r} holds no image ({", ".join(IMAGE_SUFFIXES)})')
        files.extend(inside)
    return files
