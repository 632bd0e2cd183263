"""Checks of COCO annotations: what no one looks at later must be right."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.segmentation import check_segmentation, limits

BOXES = {
    'images': ('id', 'file_name', 'width', 'height'),
    'categories': ('id', 'name'),
    'annotations': ('id', 'image_id', 'category_id', 'bbox'),
}
"""Fields that annotated boxes need, by part of the file."""
EVALUATED = {**BOXES, 'annotations': (*BOXES['annotations'], 'area', 'iscrowd')}
"""Fields that pycocotools and MMDetection read in a test."""
_LARGEST_SIDE = 10**6


def check_annotations(
    content: Any, path: str, needed: Mapping[str, Sequence[str]] | None = None, masks: bool = False
) -> None:
    """Check the content of a COCO annotation file.

    Args:
        content: What is in the file.
        path: Its path, for the error message.
        needed: Fields that every entry of a part must have, such as :data:`BOXES`. Default: none.
            Fields that are there are always checked, except that others may be null.
        masks: Whether segmentations are checked as well. Default: False.

    Raises:
        UserError: A part is missing, an id occurs twice, a size is not a whole number above 0, a box is
            not made of finite numbers or lies far outside its image, or another fact cannot be right.
            It names the first such entry.
    """
    if not isinstance(content, dict):
        raise UserError(f'annotations {path} are not in COCO format: there is no list of images')
    needed = needed or {}
    for part in ('images', 'categories', 'annotations'):
        entries = content.get(part, None if part in needed else [])
        if not isinstance(entries, list):
            raise UserError(
                f'annotations {path} are not in COCO format: there is no list of {part}'
            )
        for index, entry in enumerate(entries):
            where = f'{part}[{index}]'
            if not isinstance(entry, dict):
                raise UserError(f'annotations {path} have {_short(entry)} as {where}')
            for key in needed.get(part, ()):
                if key not in entry:
                    raise UserError(f'annotations {path} lack {key!r} in {where}')
            for key, value in entry.items():
                if value is None and key not in ('id', *needed.get(part, ())):
                    continue  # as if it were not there
                wanted = _wanted(part, key, value)
                if wanted:
                    raise UserError(
                        f'annotations {path} have {key} = {_short(value)} in {where}: it must be '
                        f'{wanted}'
                    )
        _check_ids(entries, part, path)
    sizes = {image['id']: image for image in content.get('images', []) if 'id' in image}
    if 'images' in needed and not sizes:
        raise UserError(f'annotations {path} list no images')
    for index, annotation in enumerate(content.get('annotations', [])):
        image = sizes.get(annotation.get('image_id'))
        if image is None:
            if needed:
                raise UserError(
                    f'annotations {path} have an object in image {annotation.get("image_id")}, which '
                    f'is not in their list of images'
                )
            continue
        if image.get('width') is not None and image.get('height') is not None:
            _check_object(annotation, index, image, path, masks)


def _check_object(
    annotation: dict[str, Any], index: int, image: dict[str, Any], path: str, masks: bool
) -> None:
    height, width = int(image['height']), int(image['width'])
    low, high = limits(height, width)
    # COCO's metric leaves out objects of more than 1e10 pixels.
    if (annotation.get('area') or 0) > min((high - low) ** 2, 1e10):
        raise UserError(
            f'annotations {path} have area = {_short(annotation["area"])} in annotations[{index}], more '
            f'than its image of {width} x {height} pixels'
        )
    if annotation.get('bbox') is not None:
        x, y, w, h = annotation['bbox']
        if min(x, y) < low or max(x + w, y + h) > high:
            raise UserError(
                f'annotations {path} have bbox = {_short(annotation["bbox"])} in annotations[{index}], '
                f'far outside its image of {width} x {height} pixels'
            )
    if masks and annotation.get('segmentation'):
        source = f'annotations[{index}] of {path}'
        check_segmentation(annotation['segmentation'], height, width, source)


def _wanted(part: str, key: str, value: Any) -> str | None:
    """What the value of a field must be; None if it is."""
    if key in ('id', 'image_id', 'category_id'):
        right = isinstance(value, str) or (isinstance(value, int) and _is_number(value))
        return None if right else 'a whole number of less than 16 digits, or a text'
    if (part, key) in (('images', 'file_name'), ('categories', 'name')):
        return None if isinstance(value, str) else 'a text'
    if part == 'images' and key in ('width', 'height'):
        right = _is_number(value) and value == int(value) and 1 <= value <= _LARGEST_SIDE
        return None if right else f'a whole number of 1 to {_LARGEST_SIDE}'
    if part == 'annotations' and key == 'bbox':
        right = isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))
        return None if right and min(value[2:]) >= 0 else 'x, y, width and height in pixels'
    if part == 'annotations' and key == 'area':
        return None if _is_number(value) and value >= 0 else 'a number of pixels'
    if part == 'annotations' and key == 'iscrowd':
        return None if isinstance(value, int) and value in (0, 1) else '0 or 1'
    return None


def _check_ids(entries: Sequence[dict[str, Any]], part: str, path: str) -> None:
    ids = [entry['id'] for entry in entries if 'id' in entry]
    if len({type(one) for one in ids}) > 1:
        raise UserError(f'annotations {path} mix numbers and texts as ids of {part}')
    seen = set()
    for one in ids:
        if one in seen:
            raise UserError(f'annotations {path} have two {part} with the id {one!r}')
        seen.add(one)


def _is_number(value: Any) -> bool:
    """Whether it is a finite number of a size that a float holds."""
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) <= 2**53
    return isinstance(value, float) and math.isfinite(value)


def _short(value: Any, most: int = 60) -> str:
    if isinstance(value, int) and abs(value) > 10**most:
        return 'a number of many digits'
    text = repr(value)
    return text if len(text) <= most else f'{text[:most]}...'
