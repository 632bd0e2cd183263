from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindpad_mm.core.errors import UserError
from mindpad_mm.evaluation.regions import BorderBins, Whole, Zones, border_distance

sides = st.integers(1, 700)
edges = st.lists(st.integers(1, 300), min_size=1, max_size=6, unique=True).map(sorted)


@st.composite
def boxes_in_an_image(draw):
    width, height = draw(sides), draw(sides)
    x, y = draw(st.floats(0, width)), draw(st.floats(0, height))
    box = [x, y, draw(st.floats(0, width - x)), draw(st.floats(0, height - y))]
    return np.array([box]), np.array([[width, height]])


@given(boxes_in_an_image())
def test_zone_is_the_frame_between_two_shrunken_rectangles(given_box):
    (x, y, w, h), (width, height) = given_box[0][0], given_box[1][0]
    centre = x + w / 2, y + h / 2

    def inside(share):  # the definition, written out
        return all(
            share < c / side and share < (side - c) / side
            for c, side in zip(centre, (width, height))
        )

    (zone,) = Zones().assign(*given_box)
    assert zone == 0 or inside(zone / 10)
    assert zone == 4 or not inside((zone + 1) / 10)


@pytest.mark.parametrize('size', [(640, 480), (100, 100), (31, 257)])
def test_zones_cover_the_image_in_the_shares_of_their_areas(size):
    x, y = np.meshgrid(np.linspace(0, size[0], 400), np.linspace(0, size[1], 400))
    points = np.stack([x.ravel(), y.ravel(), 0 * x.ravel(), 0 * x.ravel()], axis=1)
    zones = Zones().assign(points, np.full((len(points), 2), size))
    share = np.bincount(zones, minlength=5) / len(points)
    np.testing.assert_allclose(share, Zones.areas, atol=0.01)
    nested = [(1 - i / 5) ** 2 for i in range(6)]
    np.testing.assert_allclose(Zones.areas, -np.diff(nested), atol=1e-12)
    assert Zones.areas.sum() == pytest.approx(1)


@given(boxes_in_an_image(), edges)
def test_border_bins_are_half_open_intervals_of_the_distance(given_box, edges):
    bins = BorderBins(edges)
    (x, y, w, h), (width, height) = given_box[0][0], given_box[1][0]
    distance = max(0, min(x, y, width - x - w, height - y - h))
    (index,) = bins.assign(*given_box)
    ends = [0, *edges, np.inf]
    assert ends[index] <= distance < ends[index + 1]
    assert len(bins.names) == len(edges) + 1
    assert BorderBins((8, 32)).names == ('border_0_8', 'border_8_32', 'border_32_up')


def test_a_box_over_the_side_is_at_distance_0_and_in_the_outermost_zone():
    boxes, sizes = np.array([[-20.0, 50, 10, 10], [95, 40, 30, 10]]), np.full((2, 2), 100)
    np.testing.assert_array_equal(border_distance(boxes, sizes), [0, 0])
    np.testing.assert_array_equal(Zones().assign(boxes, sizes), [0, 0])


@pytest.mark.parametrize('partition', [Whole(), Zones(), BorderBins()])
def test_no_box_has_no_region(partition):
    assert partition.assign(np.zeros((0, 4)), np.zeros((0, 2))).shape == (0,)


@pytest.mark.parametrize('edges', [(), (0, 8), (8, 8), (16, 8), (8, np.inf), (np.nan,)])
def test_edges_that_do_not_ascend_are_refused(edges):
    with pytest.raises(UserError, match='border_px'):
        BorderBins(edges)
