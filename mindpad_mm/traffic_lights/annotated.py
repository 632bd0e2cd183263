"""Which photos hold traffic lights, by a COCO annotation file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from mindpad_mm.core.annotations import check_annotations
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.files import read_json
from mindpad_mm.core.spelling import plain
from mindpad_mm.traffic_lights.dataset import CATEGORY

_NEEDED = {
    'images': ('id', 'file_name'),
    'categories': ('id', 'name'),
    'annotations': ('image_id', 'category_id'),
}


@dataclass
class Lit:
    """Photos with traffic lights.

    Attributes:
        names: Paths of the photos, as they were given.
        notes: What the annotations leave open, each one sentence.
    """

    names: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def photos_with_lights(annotations: Path, folder: Path, names: Sequence[str]) -> Lit:
    """The photos that have a ``traffic light`` in a COCO annotation file.

    A photo belongs to the image whose ``file_name`` has the same name and most of the same folders.

    Args:
        annotations: The annotation file.
        folder: The folder of the photos.
        names: Paths of the photos, relative to ``folder``.

    Raises:
        UserError: The file cannot be read; it spells ``traffic light`` in another way; it lists none of
            the photos; or it does not tell which image a photo is.
    """
    source = f'`photo_annotations` {annotations}'
    content = read_json(annotations, '`photo_annotations`')
    check_annotations(content, str(annotations), _NEEDED)
    wanted = _light_ids(content['categories'], source)
    lit = {each['image_id'] for each in content['annotations'] if each['category_id'] in wanted}
    found = Lit()
    if not wanted:
        known = ', '.join(repr(each['name']) for each in content['categories'][:8]) or 'none'
        found.notes.append(
            f'{annotations} has no category {CATEGORY!r} (it has {known}), so no photo is left out: '
            f'lights in them would be unlabelled'
        )
    elif not lit:
        found.notes.append(
            f'{annotations} has no object of its category {CATEGORY!r}, so no photo is left out'
        )
    images = _images_of(content['images'], folder, names, source)
    unknown = [name for name in names if name not in images]
    if unknown:
        found.notes.append(
            f'{annotations} does not list {len(unknown)} of the {len(names)} photos ({unknown[0]}'
            f'{", ..." * (len(unknown) > 1)}): lights in them would be unlabelled'
        )
    taken: dict[Any, str] = {}
    for name, matches in images.items():
        if len({match in lit for match in matches}) > 1:
            raise UserError(
                f'{source}: two images could be photo {name}, one with a {CATEGORY} and one without: '
                f'give the same folders in both'
            )
        if not lit.intersection(matches):
            continue
        for match in matches:
            if match in taken:
                raise UserError(
                    f'{source}: photos {taken[match]} and {name} could both be the image {match!r}, '
                    f'which has a {CATEGORY}: give its folder in file_name'
                )
            taken[match] = name
        found.names.append(name)
    return found


def _light_ids(categories: Sequence[dict[str, Any]], source: str) -> set[Any]:
    names = [each['name'] for each in categories]
    others = [name for name in names if name != CATEGORY and plain(CATEGORY) in plain(name)]
    if others:
        raise UserError(
            f'{source}: has a category {others[0]!r}; if these are lights to leave out, call it '
            f'{CATEGORY!r}, else give it another name'
        )
    return {each['id'] for each in categories if each['name'] == CATEGORY}


def _images_of(
    images: Sequence[dict[str, Any]], folder: Path, names: Sequence[str], source: str
) -> dict[str, list[Any]]:
    """For each photo that the annotations list, the ids of the images that fit it equally well."""
    by_name: dict[str, list[tuple[tuple[str, ...], Any]]] = {}
    by_plain: dict[str, str] = {}
    for image in images:
        parts = PurePosixPath(image['file_name'].replace('\\', '/')).parts
        if parts:
            by_name.setdefault(parts[-1], []).append((parts, image['id']))
            by_plain[Path(parts[-1]).stem.casefold()] = image['file_name']
    found: dict[str, list[Any]] = {}
    similar: dict[str, str] = {}
    root = folder.resolve()
    for name in names:
        photo = (root / name).parts
        fits = [(_common(photo, parts), key) for parts, key in by_name.get(Path(name).name, [])]
        if fits:
            best = max(fit for fit, _ in fits)
            found[name] = [key for fit, key in fits if fit == best]
        elif (stem := Path(name).stem.casefold()) in by_plain:
            similar[name] = by_plain[stem]
    for name, other in similar.items():  # the first
        raise UserError(
            f'{source}: lists no photo {name}, but {other}: rename one, so that it is known whether '
            f'it has a {CATEGORY}'
        )
    if not found:
        listed = images[0]['file_name']
        raise UserError(
            f'{source}: lists none of the {len(names)} photos; it has {listed}, where the photos have '
            f'{names[0]}: give the annotations of these photos'
        )
    return found


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    """The number of parts that two paths have in common at their ends."""
    count = 0
    for one, other in zip(reversed(first), reversed(second)):
        if one != other:
            break
        count += 1
    return count
