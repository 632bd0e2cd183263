"""Where windows are cut, for any object, photo and window."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mindpad_mm.border.probes import clip_boxes, fill_beyond, probes_of, take

SIDES = ('top', 'bottom', 'left', 'right')


@st.composite
def cases(draw):
    window = draw(st.tuples(st.integers(40, 90), st.integers(40, 90)))
    far = draw(st.sampled_from([4, 8, 16]))
    photo = tuple(length + draw(st.integers(0, 4 * far)) for length in window)
    sizes = [draw(st.floats(2, 30)) for _ in range(2)]
    y1, x1 = (draw(st.floats(0, max(length - size, 0))) for length, size in zip(photo, sizes))
    box = (x1, y1, x1 + sizes[1], y1 + sizes[0])
    seed = draw(st.integers(0, 5))
    found = probes_of(
        0, 0, box, photo, window, SIDES, (0, 3, 7, 20), far, np.random.default_rng(seed)
    )
    return box, photo, window, far, found


def gaps(box, corner, window):
    """Pixels between the box and the window's top, bottom, left and right."""
    row, col = corner
    return {
        'top': box[1] - row,
        'bottom': row + window[0] - box[3],
        'left': box[0] - col,
        'right': col + window[1] - box[2],
    }


@given(cases())
def test_the_cut_is_at_its_distance_and_all_other_sides_are_far(case):
    box, photo, window, far, found = case
    for probe in found:
        near = gaps(box, probe.cut, window)
        assert probe.distance <= near.pop(probe.side) < probe.distance + 1
        assert min(near.values()) >= far
        for corner in filter(None, (probe.open, probe.placebo)):
            assert min(gaps(box, corner, window).values()) >= far
            assert all(0 <= c <= p - w for c, p, w in zip(corner, photo, window))


@given(cases())
def test_windows_of_a_probe_differ_by_multiples_of_far_so_the_object_keeps_its_phase(case):
    _, _, _, far, found = case
    for probe in found:
        for corner in filter(None, (probe.open, probe.placebo)):
            assert all((c - o) % far == 0 for c, o in zip(corner, probe.cut))


@given(cases())
def test_the_control_shows_what_the_cut_shows_and_nothing_beyond_it(case):
    _, photo, window, far, found = case
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 255, (*photo, 3), dtype=np.uint8)
    fill = (0, 0, 0)  # not among the photo's pixels
    for probe in found:
        control = fill_beyond(
            take(pixels, probe.open, window), probe.open, probe.line(window), fill
        )
        seen = np.zeros((*photo, 3), np.uint8)
        row, col = probe.open
        seen[row : row + window[0], col : col + window[1]] = control
        row, col = probe.cut
        inside = np.zeros(photo, bool)
        inside[row : row + window[0], col : col + window[1]] = True
        shown = (seen != 0).all(-1)
        assert not shown[~inside].any()
        assert np.array_equal(seen[shown], pixels[shown])
        # Away from the border, as much is lost at the far side as the border is moved.
        assert (inside & ~shown).sum() == far * (
            window[1] if probe.side in SIDES[:2] else window[0]
        )


@given(cases())
def test_boxes_end_at_the_cut_and_nowhere_else(case):
    box, _, window, _, found = case
    huge = np.array([[-1e4, -1e4, 1e4, 1e4]])
    for probe in found:
        clipped = clip_boxes(huge, probe.line(window))[0]
        assert (clipped != huge[0]).sum() == 1
        assert np.array_equal(clip_boxes(np.array([box]), probe.line(window))[0], box)


def test_a_photo_without_room_gives_no_probe():
    rng = np.random.default_rng(0)
    assert not probes_of(0, 0, (40, 40, 60, 60), (100, 100), (100, 100), SIDES, (0,), 16, rng)
