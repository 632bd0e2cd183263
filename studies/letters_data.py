"""Images of the 26 letters: EMNIST from a local copy, or rendered from fonts."""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from PIL import ImageFont
from rich.progress import track

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.files import written_whole

SIZE = 28
SPLITS = ('train', 'val', 'test')
COUNTS = (10400, 2600, 5200)
# Fonts that have symbols in place of letters.
_NO_LETTERS = re.compile(r'symbol|dingbat|D050000L|Last Resort|cmex|cmsy|Keyboard|Math', re.I)
_OVERSAMPLING = 4
_GLYPH_PX = 64
_LARGEST = 22  # pixels; a turned and slanted letter must stay inside its image


@dataclass(frozen=True)
class Letters:
    """Images of letters, bright on black.

    Attributes:
        images: (N, 28, 28) uint8.
        labels: (N,) int64, from 0 (a, A) to 25 (z, Z).
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class LetterSet:
    """Three splits.

    Attributes:
        train, val, test: The splits.
        source: Description of the data, as JSON types.
    """

    train: Letters
    val: Letters
    test: Letters
    source: dict[str, Any]


def emnist_letters(emnist: Path) -> LetterSet:
    """EMNIST's letters from a local copy; nothing is downloaded.

    A fixed random eighth of its training split is used for validation.

    Args:
        emnist: The ``root`` of torchvision's ``EMNIST``.

    Raises:
        UserError: The folder has no copy of EMNIST.
    """
    from torchvision.datasets import EMNIST

    parts = []
    for train in (True, False):
        try:
            data = EMNIST(str(emnist), split='letters', train=train, download=False)
        except RuntimeError as error:
            raise UserError(
                f'`emnist` {emnist}: no EMNIST there; download it with '
                f"torchvision.datasets.EMNIST({str(emnist)!r}, 'letters', download=True)"
            ) from error
        # EMNIST's images are transposed and its labels start at 1.
        parts.append(Letters(data.data.numpy().transpose(0, 2, 1).copy(), data.targets.numpy() - 1))
    whole, test = parts
    order = np.random.default_rng(0).permutation(len(whole))
    cut = len(whole) - len(whole) // 8
    train, val = (Letters(whole.images[i], whole.labels[i]) for i in (order[:cut], order[cut:]))
    return LetterSet(train, val, test, {'name': 'EMNIST letters'})


def font_letters(
    fonts: Sequence[Path] = (),
    cache: Path | None = None,
    seed: int = 0,
    counts: Sequence[int] = COUNTS,
) -> LetterSet:
    """Lower- and upper-case letters of many fonts, randomly turned, slanted, scaled and moved.

    No font is in two splits; fonts whose names begin with the same word are one kind.

    Args:
        fonts: Folders to search. Default: those of the system and of matplotlib.
        cache: Folder to save the set in. A saved set of the same fonts, seed and counts is loaded.
            Default: the set is not saved.
        seed: Seed of everything random.
        counts: Number of images in train, val and test; the letters are equally frequent.

    Raises:
        UserError: A folder does not exist, or there are fewer than five kinds of fonts.
    """
    groups = find_fonts(fonts)
    if len(groups) < 5:
        raise UserError(
            f'{len(groups)} kinds of fonts found ({", ".join(groups)}): at least 5 are needed; '
            'install some, or name their folders with `fonts`'
        )
    names = {group: [face.name for face in faces] for group, faces in groups.items()}
    key = hashlib.sha256(repr((names, seed, tuple(counts))).encode()).hexdigest()[:16]
    file = None if cache is None else cache / f'letters-{key}.npz'
    split = _split_fonts(list(groups), seed)
    source = {
        'name': 'letters rendered from fonts',
        'fonts': {part: sorted(members) for part, members in split.items()},
        'faces': sum(map(len, groups.values())),
        'seed': seed,
    }
    if file is not None and file.is_file():
        with np.load(file) as kept:
            sets = [Letters(kept[f'{part}_images'], kept[f'{part}_labels']) for part in SPLITS]
        return LetterSet(*sets, source)
    sets = []
    for index, part in enumerate(SPLITS):
        faces = [groups[group] for group in split[part]]
        numbers = track(range(counts[index]), f'letters, {part}')
        images = [_letter(faces, i, np.random.default_rng([seed, index, i])) for i in numbers]
        sets.append(Letters(np.stack(images), np.arange(counts[index]) % 26))
    if file is not None:
        arrays = {f'{p}_{what}': getattr(s, what) for p, s in zip(SPLITS, sets) for what in vars(s)}
        with written_whole(file) as temporary, open(temporary, 'wb') as stream:
            np.savez_compressed(stream, **arrays)
    return LetterSet(*sets, source)


def find_fonts(folders: Sequence[Path] = ()) -> dict[str, list[Path]]:
    """Font files with all 52 letters, by the first word of the family's name.

    Args:
        folders: Folders to search. Default: those of the system and of matplotlib.

    Raises:
        UserError: A folder does not exist.
    """
    for folder in folders:
        if not Path(folder).is_dir():
            raise UserError(f'`fonts` {folder}: no such folder')
    own = Path(matplotlib.get_data_path(), 'fonts', 'ttf')
    files = font_manager.findSystemFonts([str(f) for f in folders] or [str(own)])
    if not folders:
        files += font_manager.findSystemFonts()
    groups: dict[str, dict[str, Path]] = {}
    for file in sorted(set(files)):
        try:
            font = FT2Font(file)
        except RuntimeError:  # not a font file
            continue
        letters = all(font.get_char_index(ord(letter)) for letter in string.ascii_letters)
        if not letters or _NO_LETTERS.search(font.family_name):
            continue
        # One file per name: the system may have copies of matplotlib's fonts.
        groups.setdefault(font.family_name.split()[0], {}).setdefault(Path(file).name, Path(file))
    return {group: [faces[n] for n in sorted(faces)] for group, faces in sorted(groups.items())}


def _split_fonts(groups: list[str], seed: int) -> dict[str, list[str]]:
    """Three fifths of the kinds of fonts for train, one fifth each for val and test."""
    order = [groups[i] for i in np.random.default_rng(seed).permutation(len(groups))]
    part = len(order) // 5
    return {'train': order[2 * part :], 'val': order[:part], 'test': order[part : 2 * part]}


def _letter(groups: list[list[Path]], index: int, rng: np.random.Generator) -> np.ndarray:
    """One image, (28, 28) uint8. Each group is equally likely, whatever its number of files."""
    letter = string.ascii_lowercase[index % 26]
    if rng.random() < 0.5:
        letter = letter.upper()
    faces = groups[rng.integers(len(groups))]
    glyph = _glyph(faces[rng.integers(len(faces))], letter)
    height, width = glyph.shape
    side = SIZE * _OVERSAMPLING
    scale = rng.uniform(15, 21) * _OVERSAMPLING / max(height, width)
    angle = np.deg2rad(rng.normal(0, 7))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    slant = np.array([[1, rng.normal(0, 0.12)], [0, 1]])
    stretch = np.diag(np.exp(rng.normal(0, 0.08, 2)))
    linear = scale * turn @ slant @ stretch
    reach = np.abs(linear) @ (width, height)
    linear *= min(1, _LARGEST * _OVERSAMPLING / reach.max())
    move = side / 2 + rng.uniform(-1.5, 1.5, 2) * _OVERSAMPLING
    matrix = np.column_stack([linear, move - linear @ (width / 2, height / 2)])
    big = cv2.warpAffine(glyph, matrix, (side, side), flags=cv2.INTER_LINEAR)
    fatter = rng.integers(-1, 5)
    if fatter > 0:
        big = cv2.dilate(big, np.ones((fatter, fatter), np.uint8))
    small = cv2.resize(big, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(small, (0, 0), rng.uniform(0.3, 0.7))


@lru_cache(maxsize=20000)
def _glyph(file: Path, letter: str) -> np.ndarray:
    """A letter, cropped to its ink, (h, w) uint8."""
    mask, _ = _face(file).getmask2(letter, mode='L')
    glyph = np.array(mask, np.uint8).reshape(mask.size[::-1])
    rows, columns = np.flatnonzero(glyph.any(1)), np.flatnonzero(glyph.any(0))
    if not len(rows):
        raise UserError(f'font {file} has no ink for {letter}: remove it')
    return glyph[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


@lru_cache(maxsize=64)
def _face(file: Path) -> ImageFont.FreeTypeFont:
    # Every build of Pillow has the basic layout.
    return ImageFont.truetype(str(file), _GLYPH_PX, layout_engine=ImageFont.Layout.BASIC)
