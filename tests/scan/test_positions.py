from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.scenes import Part
from mindpad_mm.scan.positions import common_grid, position_boxes, scene_positions


@given(
    scene=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    box=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    stride=st.integers(1, 9),
    start=st.tuples(st.integers(0, 12), st.integers(0, 12)),
)
def test_positions_are_exactly_the_places_where_the_box_lies_inside(scene, box, stride, start):
    photo = Part(*start, *scene)
    if box[0] > scene[0] or box[1] > scene[1]:
        with pytest.raises(UserError, match='use smaller `sizes`'):
            scene_positions(photo, box, stride)
        return
    expected = [
        (row + start[0], col + start[1])
        for row in range(0, scene[0], stride)
        for col in range(0, scene[1], stride)
        if row + box[0] <= scene[0] and col + box[1] <= scene[1]
    ]
    positions = scene_positions(photo, box, stride)
    assert list(map(tuple, positions.tolist())) == expected
    larger = Part(0, 0, scene[0] + 3, scene[1])
    rows, cols = common_grid([photo, larger], [box, (1, box[1])], stride)
    assert (np.diff(rows) > 0).all()
    assert (np.diff(cols) > 0).all()
    assert set(expected) <= {(row, col) for row in rows.tolist() for col in cols.tolist()}
    first = position_boxes(positions, box)[-1].tolist()
    row, col = expected[-1]
    assert first == [col, row, col + box[1], row + box[0]]
