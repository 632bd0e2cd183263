"""COCO annotation files and the photos that belong to them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from pycocotools.coco import COCO

from mindpad_mm.core.annotations import check_annotations
from mindpad_mm.core.errors import UserError, one_line
from mindpad_mm.core.files import read_json
from mindpad_mm.core.names import PathLike


def read_coco(path: Path, needed: Mapping[str, Sequence[str]] | None = None) -> COCO:
    """Read an annotation file without pycocotools' output on stdout.

    Args:
        path: The file.
        needed: Fields that every entry must have, see
            :func:`mindpad_mm.core.annotations.check_annotations`. Default: none.

    Raises:
        UserError: The file is missing, is not a COCO annotation file, or holds what cannot be right.
    """
    content = read_json(path, 'annotation file')
    check_annotations(content, str(path), needed)
    coco = COCO()
    coco.dataset = content
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            coco.createIndex()
    except (KeyError, TypeError) as error:
        raise UserError(
            f'{str(path)!r} is not a COCO annotation file: {one_line(error)}'
        ) from error
    return coco


def find_photo(ann_file: Path, file_name: str, photo_root: PathLike | None = None) -> Path:
    """Find a photo that an annotation file names.

    Args:
        ann_file: The annotation file.
        file_name: The photo's ``file_name`` in it.
        photo_root: Folder of the photos. Default: the usual COCO folders are tried, in this order:
            the folder of ``ann_file``, its ``images/`` and its split's folder (``val2017/`` for
            ``instances_val2017.json``), then the same three one folder up.

    Raises:
        UserError: The photo is in none of the folders.
    """
    if photo_root is not None:
        folders = [Path(photo_root)]
    else:
        split = ann_file.stem.rsplit('_', 1)[-1]
        parents = (ann_file.parent, ann_file.parent.parent)
        folders = [parent / name for parent in parents for name in ('', 'images', split)]
    for folder in folders:
        if (folder / file_name).is_file():
            return folder / file_name
    tried = ', '.join(dict.fromkeys(str(folder) for folder in folders))
    raise UserError(
        f'photo {file_name!r} was not found in {tried}: set `photo_root` to the folder of the photos'
    )
