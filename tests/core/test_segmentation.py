"""Segmentations are checked before pycocotools sees them; what passes gives pycocotools' own mask."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco_mask

from mindpad_mm.core.coco import read_coco
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.segmentation import segmentation_mask

REAL = Path(__file__).parents[3] / 'shared' / 'data' / 'coco96' / 'annotations' / 'instances.json'
HEIGHT, WIDTH = 13, 9
masks = arrays.arrays(np.bool_, st.tuples(st.integers(1, 14), st.integers(1, 14)))


def compressed(mask):
    return coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))


def run_lengths(mask):
    """Uncompressed run lengths, the first of them outside."""
    flat = np.concatenate([[False], mask.T.ravel(), [None]])
    ends = [index for index in range(1, len(flat)) if flat[index] != flat[index - 1]]
    return np.diff([1, *(end for end in ends if end < len(flat) - 1), len(flat) - 1]).tolist()


@given(mask=masks, text=st.booleans())
@settings(deadline=None)
def test_run_lengths_of_any_mask_give_the_mask(mask, text):
    runs = compressed(mask)
    size = list(mask.shape)
    counts = runs['counts'].decode() if text else runs['counts']
    for given_counts in (counts, run_lengths(mask)):
        found = segmentation_mask({'size': size, 'counts': given_counts}, *size, 'annotation 1')
        assert found.dtype == bool
        assert np.array_equal(found, mask)


points = st.tuples(st.floats(-WIDTH, 2 * WIDTH), st.floats(-HEIGHT, 2 * HEIGHT))


@given(st.lists(st.lists(points, min_size=3, max_size=6), min_size=1, max_size=3))
@settings(deadline=None)
def test_polygons_give_pycocotools_mask(polygons):
    flat = [[value for point in polygon for value in point] for polygon in polygons]
    runs = coco_mask.merge(coco_mask.frPyObjects(flat, HEIGHT, WIDTH))
    expected = coco_mask.decode(runs).astype(bool)
    assert np.array_equal(segmentation_mask(flat, HEIGHT, WIDTH, 'annotation 1'), expected)


numbers = st.one_of(
    st.integers(-(2**70), 2**70), st.floats(), st.booleans(), st.none(), st.text(max_size=2)
)
damaged = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            'size': st.one_of(
                st.just([HEIGHT, WIDTH]), st.lists(numbers, max_size=3), st.none(), st.text()
            ),
            'counts': st.one_of(
                st.lists(st.one_of(st.integers(0, HEIGHT * WIDTH), numbers), max_size=8),
                st.text(st.characters(min_codepoint=1, max_codepoint=130), max_size=12),
                st.binary(max_size=12),
                st.none(),
                st.integers(),
            ),
        },
    ),
    st.lists(st.one_of(st.lists(numbers, max_size=9), numbers), max_size=3),
    numbers,
)


@given(damaged)
@settings(deadline=None, max_examples=600)
def test_any_segmentation_gives_one_mask_of_the_image_or_one_line(segmentation):
    try:
        first = segmentation_mask(segmentation, HEIGHT, WIDTH, 'annotation 1')
    except UserError as error:
        text = str(error)
        assert text.startswith('annotation 1 has ')
        assert '\n' not in text
        return
    assert first.shape == (HEIGHT, WIDTH)
    # What passed fills the image, so there is no memory of the process in it.
    assert np.array_equal(first, segmentation_mask(segmentation, HEIGHT, WIDTH, 'annotation 1'))
    if isinstance(segmentation, dict) and isinstance(segmentation['counts'], list):
        assert sum(segmentation['counts']) == HEIGHT * WIDTH


@given(mask=masks, data=st.data())
@settings(deadline=None)
def test_a_changed_character_gives_the_mask_that_pycocotools_would_or_one_line(mask, data):
    runs = compressed(mask)
    counts = bytearray(runs['counts'])
    counts[data.draw(st.integers(0, len(counts) - 1))] = data.draw(st.integers(1, 255))
    changed = {'size': runs['size'], 'counts': bytes(counts)}
    try:
        found = segmentation_mask(changed, *mask.shape, 'annotation 1')
    except UserError:
        return
    assert np.array_equal(found, coco_mask.decode(changed).astype(bool))


SQUARE = [1.0, 1.0, 6.0, 1.0, 6.0, 6.0, 1.0, 6.0]
WHOLE = HEIGHT * WIDTH
CASES = {
    'too few run lengths': ({'size': [HEIGHT, WIDTH], 'counts': [5, 5]}, r'of 10 pixels .* 117'),
    'too many': ({'size': [HEIGHT, WIDTH], 'counts': [WHOLE, 1]}, 'of 118 pixels'),
    'beyond 32 bits': ({'size': [HEIGHT, WIDTH], 'counts': [2**32 + WHOLE]}, 'no lengths'),
    'below 0': ({'size': [HEIGHT, WIDTH], 'counts': [WHOLE + 5, -5]}, 'no lengths'),
    'no numbers': ({'size': [HEIGHT, WIDTH], 'counts': [WHOLE, '0']}, 'no lengths'),
    'NaN run': ({'size': [HEIGHT, WIDTH], 'counts': [WHOLE, math.nan]}, 'no lengths'),
    'nothing': ({'size': [HEIGHT, WIDTH], 'counts': ''}, 'of 0 pixels'),
    'other size': ({'size': [WIDTH, HEIGHT], 'counts': [WHOLE]}, r'size \[9, 13\].*\[13, 9\]'),
    'huge size': ({'size': [2**40, 2**40], 'counts': [WHOLE]}, 'of size'),
    'no size': ({'counts': [WHOLE]}, 'neither polygons nor'),
    'cut off': ({'size': [HEIGHT, WIDTH], 'counts': 'P'}, 'cut off'),
    'damaged': ({'size': [HEIGHT, WIDTH], 'counts': 'é'}, 'damaged'),
    'endless number': ({'size': [HEIGHT, WIDTH], 'counts': 'P' * 40}, 'damaged'),
    'NaN': ([[*SQUARE[:-1], math.nan]], 'a point at nan, far outside'),
    'infinite': ([[math.inf, *SQUARE[1:]]], 'a point at inf'),
    'far away': ([[1e300, *SQUARE[1:]]], r'a point at 1e\+300'),
    'far away, whole': ([[10**9, *SQUARE[1:]]], r'a point at 1e\+09'),
    'no float': ([[10**400, *SQUARE[1:]]], 'neither polygons nor'),
    'odd': ([SQUARE[:7]], 'polygon of 7 numbers'),
    'two points': ([SQUARE[:4]], 'polygon of 4 numbers'),
    'one bad of two': ([SQUARE, []], 'polygon of 0 numbers'),
    'strings': ([[str(value) for value in SQUARE]], 'neither polygons nor'),
    'flat': (SQUARE, 'neither polygons nor'),
    'nested': ([[SQUARE]], 'neither polygons nor'),
    'text': ('10 10 40', 'neither polygons nor'),
    'empty': ([], 'neither polygons nor'),
    'null': (None, 'neither polygons nor'),
}


@pytest.mark.parametrize('case', CASES)
def test_segmentations_that_cannot_be_right_are_refused_by_name(case):
    segmentation, message = CASES[case]
    with pytest.raises(UserError, match=f'annotation 1 has .*{message}'):
        segmentation_mask(segmentation, HEIGHT, WIDTH, 'annotation 1')


@pytest.mark.skipif(not REAL.is_file(), reason='needs ../shared/data (real photos)')
def test_masks_of_real_annotations_are_pycocotools_own():
    coco = read_coco(REAL)
    for annotation in coco.anns.values():
        image = coco.imgs[annotation['image_id']]
        found = segmentation_mask(
            annotation['segmentation'], image['height'], image['width'], 'annotation'
        )
        assert np.array_equal(found, coco.annToMask(annotation))
