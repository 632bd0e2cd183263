"""A traffic-light detection set in COCO format, made of scenes, lights and distractors."""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from pycocotools import mask as mask_utils

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.settings import option
from mindpad_mm.traffic_lights import compose
from mindpad_mm.traffic_lights.distractors import distractor
from mindpad_mm.traffic_lights.positions import (
    Box,
    Positions,
    any_position,
    free_position,
    moved_position,
)
from mindpad_mm.traffic_lights.sources import Lights, Scenes

CATEGORY = 'traffic light'
SPLITS = ('train', 'val')
# Settings that older sets do not name: the same settings give the same bytes.
_NEWER = ('positions', 'margin_share', 'most_lights')


@dataclass
class Recipe:
    """The settings of a set. With the photos and crops, they determine every byte of it.

    Attributes:
        num_train: Number of training images.
        num_val: Number of validation images.
        size: Side of the square images, pixels, at least 32.
        min_size: Height of the smallest lights, pixels. The largest are a quarter of ``size`` high (or
            ``min_size``, if that is larger). The logarithm of the height is uniform.
        margin: Least distance of the lights from the image's borders, pixels. Distractors stand anywhere.
        positions: ``'uniform'``: lights stand anywhere that ``margin`` allows. ``'centre'`` and
            ``'upper'`` take the uniform set without a margin and move its lights alone, at least
            ``margin`` from every border, ``'upper'`` into the upper half: photos, crops, sizes, counts
            and distractors stay as they are.
        margin_share: Share of the lights of ``'centre'`` that stand within the margin, 0..1.
        most_lights: Most lights of an image, at least 1. With 1, any margin leaves room.
        negatives: Share of images without a light, 0..1.
        occluded: Share of lights that are partly hidden, 0..1.
        distractors: Mean number of distractors per image, 0..1000.
        drawn: Share of images that are drawn even if photos or crops are given, 0..1.
        val_fraction: Share of the photos and of the crops in the val split, between 0 and 1.
        seed: Seed of everything random, at least 0.

    Raises:
        UserError: A value is out of range.
    """

    num_train: int = option(600, 'training images', flag='--num-images')
    # The command line has an option of its own, with a quarter of `num_train` as default.
    num_val: int = option(150, 'validation images', flag=None)
    size: int = option(256, 'side of the images, pixels')
    min_size: int = option(8, 'height of the smallest lights, pixels')
    margin: int = option(0, 'least distance of lights from the borders, pixels', metavar='PX')
    positions: Positions = option(
        'uniform', 'where lights stand: anywhere, off all borders (--margin), or in the upper half'
    )
    margin_share: float = option(
        0.0, 'with --positions centre, share of lights within the margin', metavar='SHARE'
    )
    most_lights: int = option(3, 'most lights of an image', metavar='N')
    negatives: float = option(0.15, 'share of images without a light')
    occluded: float = option(0.3, 'share of lights to occlude partly')
    distractors: float = option(2.5, 'mean number of unlabelled look-alikes per image')
    drawn: float = option(0.0, 'share of images to draw even if photos or crops are given')
    val_fraction: float = option(
        0.25, 'share of the photos and of the crops used only for validation'
    )
    seed: int = option(0, 'same seed, same bytes')

    def __post_init__(self) -> None:
        half = self.size // 2
        rules = {
            'size': (self.size >= 32, 'at least 32 pixels'),
            'num_train': (self.num_train >= 1, 'at least 1'),
            'num_val': (self.num_val >= 0, 'at least 0'),
            'min_size': (4 <= self.min_size <= half, f'from 4 to half of `size` ({half})'),
            'margin': (
                0 <= self.margin <= (self.size - self._largest) // 2,
                f'from 0 to {(self.size - self._largest) // 2}, to leave room for the lights',
            ),
            'positions': (
                self.positions in get_args(Positions),
                f'choose from: {", ".join(get_args(Positions))}',
            ),
            'margin_share': (0 <= self.margin_share <= 1, 'a share from 0 to 1'),
            'most_lights': (self.most_lights >= 1, 'at least 1'),
            'negatives': (0 <= self.negatives <= 1, 'a share from 0 to 1'),
            'occluded': (0 <= self.occluded <= 1, 'a share from 0 to 1'),
            'distractors': (0 <= self.distractors <= 1000, 'from 0 to 1000'),
            'drawn': (0 <= self.drawn <= 1, 'a share from 0 to 1'),
            'val_fraction': (0 < self.val_fraction < 1, 'between 0 and 1, both excluded'),
            'seed': (self.seed >= 0, 'at least 0'),
        }
        for name, (possible, rule) in rules.items():
            if not possible:
                raise UserError(f'`{name}` {getattr(self, name)}: {rule}')
        if self.margin_share and (self.positions != 'centre' or not self.margin):
            raise UserError(
                f"`margin_share` {self.margin_share}: only with `positions` 'centre' and a `margin`"
            )

    def to_json(self) -> dict[str, Any]:
        """The settings as a set keeps them; newer ones only where they are not at their default."""
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in _NEWER or value != getattr(Recipe, name)
        }

    @property
    def _largest(self) -> int:
        return max(self.min_size, self.size // 4)


@dataclass
class Placed:
    """One labelled light.

    Attributes:
        top, left: Top-left pixel of its box.
        mask: ``[h, w]`` bool, its visible pixels within the box.
        occluded: Hidden share of these pixels, 0..0.5.
        crop: Name of its crop.
    """

    top: int
    left: int
    mask: np.ndarray
    occluded: float
    crop: str


def has_turn(index: int, share: float) -> bool:
    """Whether ``index`` belongs to a share (0..1) of all indices that is spread evenly."""
    return int((index + 1) * share + 1e-9) > int(index * share + 1e-9)


def compose_image(
    recipe: Recipe, split: str, index: int, scenes: Scenes, lights: Lights
) -> tuple[np.ndarray, list[Placed], str]:
    """Make image ``index`` of a split; it depends only on the arguments.

    Returns:
        The image (uint8 BGR ``[size, size, 3]``), its lights, and the name of the photo.
    """
    rng = np.random.default_rng([recipe.seed, SPLITS.index(split), index])
    scene, photo = scenes.draw(recipe.size, rng)
    number = (
        0 if has_turn(index, recipe.negatives) else int(rng.choice((1, 2, 3), p=(0.55, 0.3, 0.15)))
    )

    for _ in range(rng.poisson(recipe.distractors)):
        height = _height(recipe, rng)
        thing = distractor(scene, lights.draw(height, rng)[0], rng)
        thing = compose.resize(thing, height, recipe.size, rng)
        _lay(scene, thing, *any_position(thing.shape, recipe.size, rng), rng)

    placed: list[Placed] = []
    moves = recipe.positions != 'uniform'
    margin = 0 if moves else recipe.margin
    # With random numbers of its own, a move changes nothing else.
    move_rng = np.random.default_rng([recipe.seed, SPLITS.index(split), index, 1])
    drawn: list[Box] = []
    for _ in range(min(number, recipe.most_lights)):
        height = _height(recipe, rng)
        light, crop = lights.draw(height, rng)
        light = compose.resize(light, height, recipe.size - 2 * margin, rng)
        height, width = light.shape[:2]
        spot = free_position((height, width), recipe.size, drawn, rng, margin)
        if spot is None:
            continue
        drawn.append((*spot, height, width))
        if moves:
            spot = _moved(light.shape, recipe, placed, move_rng)
        _lay(scene, light, *spot, rng)
        hidden = 0.0
        if rng.random() < recipe.occluded:
            hidden = compose.occlude(scene, light, *spot, rng)
        placed.append(Placed(*spot, light[..., 3] >= compose.VISIBLE, hidden, crop))
    return compose.develop(scene, rng), placed, photo


def _height(recipe: Recipe, rng: np.random.Generator) -> int:
    largest = max(recipe.min_size, recipe.size / 4)
    return round(float(np.exp(rng.uniform(np.log(recipe.min_size), np.log(largest)))))


def _moved(
    shape: tuple[int, ...], recipe: Recipe, placed: list[Placed], rng: np.random.Generator
) -> tuple[int, int]:
    taken = [(light.top, light.left, *light.mask.shape) for light in placed]
    spot = moved_position(
        shape, recipe.size, taken, rng, recipe.positions, recipe.margin, recipe.margin_share
    )
    if spot is None:
        raise UserError(
            f"`positions` '{recipe.positions}': no room for a light of {shape[1]} x {shape[0]} pixels "
            f'beside {len(placed)} others; give a smaller `margin` or `most_lights` 1'
        )
    return spot


def _lay(
    scene: np.ndarray, thing: np.ndarray, top: int, left: int, rng: np.random.Generator
) -> None:
    around = compose.surroundings(scene, top, left, *thing.shape[:2])
    compose.blend(scene, compose.match(thing, around, rng), top, left)


def outline(mask: np.ndarray, top: int, left: int) -> list[float]:
    """COCO polygon ``[x, y, ...]`` along the pixel edges of a mask; gaps within a row are filled.

    Its extent is the box of the mask.
    """
    left_side, right_side = [], []
    for row in np.flatnonzero(mask.any(1)):
        columns = np.flatnonzero(mask[row])
        for y in (top + row, top + row + 1):
            left_side.append((left + columns[0], y))
            right_side.append((left + columns[-1] + 1, y))
    corners = left_side + right_side[::-1]
    return [float(value) for corner in corners for value in corner]


def annotation(light: Placed, size: int, image_id: int, annotation_id: int) -> dict:
    """COCO annotation of a light. Box and polygon include the part hidden by an occluder."""
    polygon = outline(light.mask, light.top, light.left)
    runs = mask_utils.frPyObjects([polygon], size, size)
    return {
        'id': annotation_id,
        'image_id': image_id,
        'category_id': 1,
        'bbox': [light.left, light.top, light.mask.shape[1], light.mask.shape[0]],
        'area': float(mask_utils.area(runs)[0]),
        'segmentation': [polygon],
        'iscrowd': 0,
        'occluded': round(light.occluded, 3),
        'crop': light.crop,
    }


def divide(names: list[str], val_fraction: float, keep_out: set[str], seed: int) -> dict:
    """Assign names to the splits at random, each subfolder in the same proportion.

    Args:
        names: Relative paths.
        val_fraction: Share of each subfolder that goes to ``val``.
        keep_out: File names that must not be trained on; they go to ``val``.
        seed: Seed of the random order.

    Returns:
        ``{'train': [...], 'val': [...]}``, sorted and disjoint.

    Raises:
        UserError: A split would be empty, or ``keep_out`` names a file that is not in ``names``.
    """
    missing = sorted(keep_out - {Path(name).name for name in names})
    if missing:
        close = difflib.get_close_matches(missing[0], {Path(name).name for name in names}, n=1)
        hint = f'; did you mean {close[0]}?' if close else ''
        raise UserError(f'`val_photos` {missing[0]}: no such photo to use{hint}')
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(Path(name).parent.as_posix(), []).append(name)
    rng = np.random.default_rng(seed)
    split: dict[str, list[str]] = {'train': [], 'val': []}
    for group in sorted(groups):
        kept = [name for name in groups[group] if Path(name).name in keep_out]
        free = [name for name in groups[group] if Path(name).name not in keep_out]
        free = [free[k] for k in rng.permutation(len(free))]
        number = max(0, round(val_fraction * len(groups[group])) - len(kept))
        split['val'] += kept + free[:number]
        split['train'] += free[number:]
    for part, members in split.items():
        if not members:
            raise UserError(
                f'{len(names)} images are too few to give some to the {part} split: add images'
            )
    return {part: sorted(members) for part, members in split.items()}
