"""Sources of scenes and lights: folders of images, or the drawing functions."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from mindpad_mm.core.drawing import draw_light, draw_street, random_lit
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.images import IMAGE_SUFFIXES, read_image
from mindpad_mm.traffic_lights.compose import VISIBLE, cut_out


def image_names(folder: Path, parameter: str) -> list[str]:
    """Relative paths of the images in a folder and its subfolders, sorted.

    Args:
        folder: The folder.
        parameter: Name of the parameter that gave the folder, for error messages.

    Raises:
        UserError: The folder does not exist or has no images.
    """
    if not folder.is_dir():
        raise UserError(f'`{parameter}` {folder}: no such folder')
    files = (file for file in folder.rglob('*') if file.suffix.lower() in IMAGE_SUFFIXES)
    names = sorted(file.relative_to(folder).as_posix() for file in files)
    if not names:
        raise UserError(f'`{parameter}` {folder}: no image ({", ".join(IMAGE_SUFFIXES)}) in it')
    return names


def read_crop(file: Path) -> np.ndarray:
    """Read a crop of a light: uint8 BGR, or BGRA if the file has an alpha channel.

    Raises:
        UserError: The file cannot be read, has not 8 bits per channel, is smaller than 6 x 6 pixels,
            or is fully transparent.
    """
    crop = read_image(file, cv2.IMREAD_UNCHANGED, 'crop')
    if crop.ndim == 2:
        crop = cv2.cvtColor(crop, cv2.COLOR_GRAY2BGR)
    if min(crop.shape[:2]) < 6:
        raise UserError(f'{file}: a crop needs at least 6 x 6 pixels')
    if crop.shape[2] == 4 and crop[..., 3].max() < VISIBLE:
        raise UserError(f'{file}: fully transparent; remove it')
    return crop


class Scenes:
    """Scenes of one split: random crops of photos, or drawn streets.

    Args:
        folder: Folder of the photos.
        names: Paths of the split's photos, relative to ``folder``. None: streets are drawn.
    """

    def __init__(self, folder: Path | None, names: list[str] | None) -> None:
        self.folder, self.names = folder, names

    def draw(self, size: int, rng: np.random.Generator) -> tuple[np.ndarray, str]:
        """One scene, float32 BGR ``[size, size, 3]``, and the name of its photo (or ``drawn``)."""
        if self.names is None:
            return draw_street(size, size, rng).astype(np.float32), 'drawn'
        name = self.names[rng.integers(len(self.names))]
        photo = read_image(self.folder / name, what='photo')
        short = min(photo.shape[:2])
        side = max(1, round(short * rng.uniform(0.5, 1.0)))
        y = rng.integers(0, photo.shape[0] - side + 1)
        x = rng.integers(0, photo.shape[1] - side + 1)
        method = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
        scene = cv2.resize(photo[y : y + side, x : x + side], (size, size), None, 0, 0, method)
        if rng.random() < 0.5:
            scene = scene[:, ::-1]
        return scene.astype(np.float32), name


class Lights:
    """Lights of one split: cut-outs of crops, or drawn lights.

    Args:
        folder: Folder of the crops. None: lights are drawn. Its subfolders (red, yellow, green) are
            used equally often.
        names: Paths of the split's crops, relative to ``folder``.
    """

    def __init__(self, folder: Path | None, names: list[str] | None) -> None:
        self.folder = folder
        self.groups: dict[str, list[str]] = {}
        for name in names or ():
            self.groups.setdefault(Path(name).parent.as_posix(), []).append(name)
        self._cut = lru_cache(maxsize=4096)(self._read)

    def _read(self, name: str) -> np.ndarray:
        return cut_out(read_crop(self.folder / name))

    def draw(self, height: int, rng: np.random.Generator) -> tuple[np.ndarray, str]:
        """One uint8 BGRA cut-out, and the name of its crop (or ``drawn/<lit>``).

        Drawn lights are ``height`` pixels high, at least 16; cut-outs have the size of their crop.
        """
        if self.folder is None:
            lit = random_lit(rng)
            return draw_light(max(16, height), lit, rng), f'drawn/{lit}'
        group = sorted(self.groups)[rng.integers(len(self.groups))]
        name = self.groups[group][rng.integers(len(self.groups[group]))]
        return self._cut(name), name
