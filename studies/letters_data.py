"""Pictures of the 26 letters: EMNIST where there is a copy of it, else rendered from fonts."""

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
# Fonts that have pictures or signs where others have letters.
_NO_LETTERS = re.compile(r'symbol|dingbat|D050000L|Last Resort|cmex|cmsy|Keyboard|Math', re.I)
_OVERSAMPLING = 4
_GLYPH_PX = 64
_LARGEST = 22  # pixels; slant and turn must push no letter out of its picture


@dataclass(frozen=True)
class Letters:
    """Pictures of letters, light on black.

    Attributes:
        images: (N, 28, 28) uint8.
        labels: (N,) int64, 0 for a or A to 25 for z or Z.
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class LetterSet:
    """Three splits and where they are from, as JSON types."""

    train: Letters
    val: Letters
    test: Letters
    source: dict[str, Any]


def emnist_letters(root: Path) -> LetterSet:
    """EMNIST letters from a folder that torchvision downloaded it to; nothing is downloaded here.

    Its order is fixed; the last eighth of the training split is for validation.

    Args:
        root: As torchvision's ``EMNIST(root)``.

    Raises:
        UserError: It is not there.
    """
    from torchvision.datasets import EMNIST

    parts = []
    for train in (True, False):
        try:
            data = EMNIST(str(root), split='letters', train=train, download=False)
        except RuntimeError as error:
            raise UserError(
                f'--emnist {root}: no EMNIST there; torchvision.datasets.EMNIST({str(root)!r}, '
                "'letters', download=True) fetches it"
            ) from error
        # Stored on its side, its classes counted from 1.
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
    """Letters of many fonts, small and capital, turned, slanted, stretched, fattened and moved.

    No font is in two splits; fonts whose names begin with the same word count as one.

    Args:
        fonts: Folders to search. Default: the system's fonts, and those of matplotlib.
        cache: Where to keep the set; made anew where fonts or numbers differ.
        seed: Of everything drawn.
        counts: Pictures of train, val and test; letters in turn.

    Raises:
        UserError: Fewer than five kinds of fonts are found.
    """
    groups = find_fonts(fonts)
    if len(groups) < 5:
        raise UserError(
            f'{len(groups)} kinds of fonts found ({", ".join(groups)}): at least 5 are needed; '
            'install some, or name folders with --fonts'
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
    """Font files that can draw all 52 letters, by the first word of the family's name, sorted.

    Args:
        folders: To search. Default: the system's, and matplotlib's.

    Raises:
        UserError: A folder does not exist.
    """
    for folder in folders:
        if not Path(folder).is_dir():
            raise UserError(f'--fonts {folder}: no such folder')
    own = Path(matplotlib.get_data_path(), 'fonts', 'ttf')
    files = font_manager.findSystemFonts([str(f) for f in folders] or [str(own)])
    if not folders:
        files += font_manager.findSystemFonts()
    groups: dict[str, dict[str, Path]] = {}
    for file in sorted(set(files)):
        try:
            font = FT2Font(file)
        except RuntimeError:  # no font, whatever its name says
            continue
        letters = all(font.get_char_index(ord(letter)) for letter in string.ascii_letters)
        if not letters or _NO_LETTERS.search(font.family_name):
            continue
        # One file of a name: systems keep copies of the fonts that matplotlib brings.
        groups.setdefault(font.family_name.split()[0], {}).setdefault(Path(file).name, Path(file))
    return {group: [faces[n] for n in sorted(faces)] for group, faces in sorted(groups.items())}


def _split_fonts(groups: list[str], seed: int) -> dict[str, list[str]]:
    """Three fifths of the kinds of fonts to train on, a fifth each to validate and test on."""
    order = [groups[i] for i in np.random.default_rng(seed).permutation(len(groups))]
    part = len(order) // 5
    return {'train': order[2 * part :], 'val': order[:part], 'test': order[part : 2 * part]}


def _letter(groups: list[list[Path]], index: int, rng: np.random.Generator) -> np.ndarray:
    """One picture, (28, 28) uint8. Kinds of fonts are equally frequent, not faces."""
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
    """A letter cut to its ink, (h, w) uint8."""
    mask, _ = _face(file).getmask2(letter, mode='L')
    glyph = np.array(mask, np.uint8).reshape(mask.size[::-1])
    rows, columns = np.flatnonzero(glyph.any(1)), np.flatnonzero(glyph.any(0))
    if not len(rows):
        raise UserError(f'font {file} draws nothing for {letter}: remove it')
    return glyph[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


@lru_cache(maxsize=64)
def _face(file: Path) -> ImageFont.FreeTypeFont:
    # The basic layout is in every build of Pillow.
    return ImageFont.truetype(str(file), _GLYPH_PX, layout_engine=ImageFont.Layout.BASIC)
