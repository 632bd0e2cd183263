"""A traffic-light detection set in COCO format, made of scenes, lights and distractors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pycocotools import mask as mask_utils

from mindpad_mm.core.errors import UserError
from mindpad_mm.traffic_lights import compose
from mindpad_mm.traffic_lights.distractors import distractor
from mindpad_mm.traffic_lights.sources import Lights, Scenes

CATEGORY = 'traffic light'
SPLITS = ('train', 'val')


@dataclass
class Recipe:
    """What decides the bytes of a set.

    Args:
        num_train, num_val: images of each split.
        size: side of the square images in pixels, at least 32.
        min_size: least height of a light in pixels; the largest is a quarter of ``size`` (or
            ``min_size``, if that is larger). Heights are uniform in their logarithm.
        negatives: share of images without a light, 0..1.
        occluded: share of lights partly hidden, 0..1.
        distractors: mean number of distractors an image, 0..1000.
        drawn: share of images whose scene and lights are drawn although there are photos or crops,
            0..1.
        val_fraction: share of photos and of crops kept for the val split, between 0 and 1.
        seed: at least 0.
    """

    num_train: int = 600
    num_val: int = 150
    size: int = 256
    min_size: int = 8
    negatives: float = 0.15
    occluded: float = 0.3
    distractors: float = 2.5
    drawn: float = 0.0
    val_fraction: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        checks = (
            (self.size >= 32, f'--size {self.size}: at least 32 pixels'),
            (self.num_train >= 1, f'--num-images {self.num_train}: at least 1'),
            (self.num_val >= 0, f'--num-val {self.num_val}: at least 0'),
            (
                4 <= self.min_size <= self.size // 2,
                f'--min-size {self.min_size}: from 4 to half of --size ({self.size // 2})',
            ),
            (0 <= self.negatives <= 1, f'--negatives {self.negatives}: a share from 0 to 1'),
            (0 <= self.occluded <= 1, f'--occluded {self.occluded}: a share from 0 to 1'),
            (0 <= self.distractors <= 1000, f'--distractors {self.distractors}: from 0 to 1000'),
            (0 <= self.drawn <= 1, f'--drawn {self.drawn}: a share from 0 to 1'),
            (
                0 < self.val_fraction < 1,
                f'--val-fraction {self.val_fraction}: between 0 and 1, both excluded',
            ),
            (self.seed >= 0, f'--seed {self.seed}: at least 0'),
        )
        for holds, message in checks:
            if not holds:
                raise UserError(message)


@dataclass
class Placed:
    """One labelled light: its box's corner and its visible mask within the box, ``[h, w]`` bool."""

    top: int
    left: int
    mask: np.ndarray
    occluded: float
    crop: str


def has_turn(index: int, share: float) -> bool:
    """Whether an index is among a share of all, spread evenly: every run has its part."""
    return int((index + 1) * share + 1e-9) > int(index * share + 1e-9)


def compose_image(
    recipe: Recipe, split: str, index: int, scenes: Scenes, lights: Lights
) -> tuple[np.ndarray, list[Placed], str]:
    """Make image ``index`` of a split; it depends on nothing but the arguments.

    Returns:
        The picture (uint8 BGR ``[size, size, 3]``), its lights, the photo's name.
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
        _lay(scene, thing, *_position(thing.shape, recipe.size, rng), rng)

    placed: list[Placed] = []
    for _ in range(number):
        height = _height(recipe, rng)
        light, crop = lights.draw(height, rng)
        light = compose.resize(light, height, recipe.size, rng)
        spot = _free_position(light.shape, recipe.size, placed, rng)
        if spot is None:
            continue
        _lay(scene, light, *spot, rng)
        hidden = 0.0
        if rng.random() < recipe.occluded:
            hidden = compose.occlude(scene, light, *spot, rng)
        placed.append(Placed(*spot, light[..., 3] >= compose.VISIBLE, hidden, crop))
    return compose.develop(scene, rng), placed, photo


def _height(recipe: Recipe, rng: np.random.Generator) -> int:
    largest = max(recipe.min_size, recipe.size / 4)
    return round(float(np.exp(rng.uniform(np.log(recipe.min_size), np.log(largest)))))


def _position(shape: tuple[int, ...], size: int, rng: np.random.Generator) -> tuple[int, int]:
    """A box's (top, left), uniform over all places where the box lies fully inside."""
    top, left = (int(rng.integers(0, size - side + 1)) for side in shape[:2])
    return top, left


def _free_position(
    shape: tuple[int, ...], size: int, placed: list[Placed], rng: np.random.Generator
) -> tuple[int, int] | None:
    """A position clear of the lights already there by half their sizes (occluders reach so far)."""
    h, w = shape[:2]
    for _ in range(30):
        top, left = _position(shape, size, rng)
        if all(
            top > p.top + p.mask.shape[0] + m
            or p.top > top + h + m
            or left > p.left + p.mask.shape[1] + m
            or p.left > left + w + m
            for p in placed
            for m in [max(h, p.mask.shape[0]) // 2]
        ):
            return top, left
    return None


def _lay(
    scene: np.ndarray, thing: np.ndarray, top: int, left: int, rng: np.random.Generator
) -> None:
    around = compose.surroundings(scene, top, left, *thing.shape[:2])
    compose.blend(scene, compose.match(thing, around, rng), top, left)


def outline(mask: np.ndarray, top: int, left: int) -> list[float]:
    """The COCO polygon ``[x, y, ...]`` along the pixel edges of a mask, down its left side, up its
    right; dents within a row are filled. Its extent is the box of the mask."""
    left_side, right_side = [], []
    for row in np.flatnonzero(mask.any(1)):
        columns = np.flatnonzero(mask[row])
        for y in (top + row, top + row + 1):
            left_side.append((left + columns[0], y))
            right_side.append((left + columns[-1] + 1, y))
    corners = left_side + right_side[::-1]
    return [float(value) for corner in corners for value in corner]


def annotation(light: Placed, size: int, image_id: int, annotation_id: int) -> dict:
    """A light's COCO annotation. Box and polygon are those of the whole light, also of the part
    hidden by an occluder; ``occluded`` says what share that is."""
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
    """Deal names to the splits at random, group by group (a group is a subfolder).

    Args:
        names: relative paths.
        val_fraction: share of each group that goes to ``val``.
        keep_out: file names that must not be trained on: they go to ``val`` in any case.
        seed: of the deal.

    Returns:
        ``{'train': [...], 'val': [...]}``, sorted, disjoint.

    Raises:
        UserError: a split would be empty, or ``keep_out`` names a file that is not there.
    """
    missing = sorted(keep_out - {Path(name).name for name in names})
    if missing:
        raise UserError(f'--val-photos {missing[0]}: no such photo to use')
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
                f'{len(names)} pictures are too few to give {part} any of its own: add pictures'
            )
    return {part: sorted(members) for part, members in split.items()}
