"""Photos at the scale at which the network sees them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from mindpad_mm.border.inputs import window_size
from mindpad_mm.border.probes import Size, needed_size
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.images import check_pixels, list_images, read_image, scaled
from mindpad_mm.core.names import PathLike
from mindpad_mm.core.progress import track
from mindpad_mm.settings.border import AUTO, BorderSettings

Photos = PathLike | np.ndarray | Sequence[PathLike | np.ndarray]
"""Files, folders of files, or (H, W, 3) uint8 BGR arrays."""

_FAR, _LEAST_ROOM = 64, 3
# More could not be looked at in the time, and reading their sizes takes some, too.
_MOST_PHOTOS_A_MINUTE = 200


@dataclass(frozen=True)
class Photo:
    """A photo, scaled by ``zoom``.

    Attributes:
        source: Its file, or a description.
        file_name: Its name in annotation files.
        zoom: Pixels of the network's input per pixel of the photo, along both axes.
        size: (height, width) after scaling.
        window: (height, width) of the windows cut out of it: the part of the network's input that it
            fills.
        far: Pixels that the border is moved away by.
        given: Its pixels, if it was given as an array.
    """

    source: str
    file_name: str
    zoom: float
    size: Size
    window: Size
    far: int
    given: np.ndarray | None = field(default=None, repr=False, compare=False)

    def pixels(self) -> np.ndarray:
        """(H, W, 3) uint8 BGR, scaled."""
        image = self.given if self.given is not None else read_image(self.source, what='photo')
        return scaled(image, self.size)

    def sha256(self) -> str:
        """Digest of the photo's file, or of its pixels where it was given as an array."""
        content = Path(self.source).read_bytes() if self.given is None else self.given.tobytes()
        return hashlib.sha256(content).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """All but the pixels, as JSON types."""
        values = dataclasses.asdict(dataclasses.replace(self, given=None))
        del values['given']
        return {**values, 'size': list(self.size), 'window': list(self.window)}


def load_photos(
    given: Photos, model: nn.Module, settings: BorderSettings
) -> tuple[list[Photo], list[str]]:
    """Photos in which there is room for windows, in random order; of very many, a random selection.

    Args:
        given: Files, folders, or arrays.
        model: The detector; its test pipeline decides the windows' size.
        settings: ``zoom``, ``far``, ``window``, ``minutes`` and ``seed`` are used.

    Returns:
        The photos, and the names of those that are too small for windows at the given zoom.

    Raises:
        UserError: There is no photo, one cannot be read, or all are too small.
    """
    sources = listed(given)
    if not sources:
        raise UserError('`photos` is empty: give files, folders, or arrays')
    order = np.random.default_rng([settings.seed, 0]).permutation(len(sources))
    if settings.minutes:
        order = order[: max(1, int(settings.minutes * _MOST_PHOTOS_A_MINUTE))]
    photos, refused = [], []
    windows: dict[Size, Size] = {}
    for index in track(order.tolist(), 'reading photos', transient=True):
        source, image = _read(sources[index], int(index))
        size = image.shape[0], image.shape[1]
        if size not in windows:
            windows[size] = window_size(model, size, settings.window)
        window = windows[size]
        far = _far(settings, window)
        least = max(wanted / length for wanted, length in zip(needed_size(window, far), size))
        zoom = least if settings.zoom == AUTO else float(settings.zoom)
        new_size = (round(size[0] * zoom), round(size[1] * zoom))
        if any(length < wanted + far for length, wanted in zip(new_size, window)):
            refused.append((source, size, (window[0] + far, window[1] + far)))
            continue
        held = None if isinstance(sources[index], Path) else image
        photos.append(Photo(source, Path(source).name, zoom, new_size, window, far, held))
    if not photos:
        source, size, needed = refused[0]
        raise UserError(
            f'`photos`: all {len(refused)} are too small for windows at zoom {settings.zoom}: '
            f'{source} is {size[1]} x {size[0]} pixels and needs {needed[1]} x {needed[0]} after '
            f"scaling; give a larger `zoom`, `zoom='auto'`, or a smaller `window`"
        )
    return photos, [source for source, *_ in refused]


def listed(given: Photos) -> list[Path | np.ndarray]:
    """Files and arrays, one by one; folders are replaced by their images."""
    several = [given] if isinstance(given, (str, Path, np.ndarray)) else list(given)
    found: list[Path | np.ndarray] = []
    for each in several:
        found += [each] if isinstance(each, np.ndarray) else list_images([each])
    return found


def _read(each: Path | np.ndarray, number: int) -> tuple[str, np.ndarray]:
    if isinstance(each, Path):
        return str(each), read_image(each, what='photo')
    check_pixels('photos', each, channels=(3,))
    return f'array {number}', each


def _far(settings: BorderSettings, window: Size) -> int:
    if settings.far != AUTO:
        return int(settings.far)
    # The largest power of two, because strides are powers of two, that leaves room for an object.
    return int(min(_FAR, 2 ** np.floor(np.log2(min(window) / _LEAST_ROOM))))


def window_sizes(photos: Sequence[Photo]) -> Iterator[Size]:
    """The different window sizes of some photos."""
    yield from dict.fromkeys(photo.window for photo in photos)
