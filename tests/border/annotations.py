"""Annotations of photos, for tests."""

from __future__ import annotations


def annotations(names):
    """A traffic light and an unknown cat in each photo; ids and categories in no order."""
    return {
        'images': [dict(id=7 + n, file_name=name, height=150, width=160) for n, name in enumerate(names)],
        'categories': [dict(id=3, name='traffic light'), dict(id=9, name='car'), dict(id=4, name='cat')],
        'annotations': [
            dict(id=2 * n + c, image_id=7 + n, category_id=c, bbox=[60, 60, 20, 24], area=480, iscrowd=0)
            for n in range(len(names)) for c in (3, 4)
        ],
    }  # fmt: skip
