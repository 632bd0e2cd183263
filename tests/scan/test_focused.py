"""The focused engine gives the full engine's scores within its tolerance, or reports that it does not."""

from __future__ import annotations

import mindpad_mm  # noqa: F401  # isort: skip  # first, so that MMDetection imports on mmcv-lite

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from scipy.stats import binom

from mindpad_mm.core.loading import load_detector
from mindpad_mm.core.matching import match_each
from mindpad_mm.core.objects import ScanObject
from mindpad_mm.core.scenes import Background, make_scene
from mindpad_mm.incremental import focused
from mindpad_mm.incremental.focused import Focus, search_focus
from mindpad_mm.incremental.single_stage import PriorGrid
from mindpad_mm.padding import swap_padding
from mindpad_mm.scan.bound import bound_words, off_at_most
from mindpad_mm.scan.engines import FocusedEngine, FullEngine, IncrementalEngine, find_engine
from mindpad_mm.scan.positions import position_boxes
from mindpad_mm.testing.detectors import family_detector, random_object, settle
from tests.incremental.test_engine import detector, spread_positions


def scores(engine, positions):
    boxes = position_boxes(positions, engine.pixels.shape[:2])
    found = match_each(engine.detect(positions), engine.label, boxes, engine.iou_thr)
    return np.stack(found[:2])


@pytest.fixture(scope='module')
def zoo():
    """The zoo's trained model with reflect padding, its scene, and a traffic light of 32 pixels."""
    model, scene = family_detector('zoo reflect')
    return model, scene, ScanObject.drawn(0).resized(32)


@pytest.fixture
def few_places(monkeypatch):
    monkeypatch.setattr(FocusedEngine, 'places', 8)


def test_a_trained_detectors_scores_are_within_the_tolerance_everywhere(zoo, few_places):
    positions = spread_positions(zoo[1], zoo[2], 5)
    engine = FocusedEngine(*zoo, 8)
    wanted, given = scores(FullEngine(*zoo, 1), positions)[0], scores(engine, positions)[0]
    assert (wanted > 0.1).mean() > 0.5
    notes = engine.notes()
    assert notes['left_to_exact'] == 0
    assert np.abs(given - wanted).max() <= 1e-3
    assert notes['macs_saved'] > 0.9
    assert len(notes['focus']) < 5
    assert notes['checks'] == 1
    assert notes['checks_off'] == 0
    assert notes['largest_difference'] <= 1e-3


def test_more_time_for_checks_makes_more_of_them_and_a_lower_limit(zoo, few_places):
    positions = spread_positions(zoo[1], zoo[2], 6)
    found = []
    for checking in (0.08, 4.0, 1e6):
        engine = FocusedEngine(*zoo, 8)
        engine.checking = checking
        engine.detect(positions)
        found.append(engine.notes())
    checks = [notes['checks'] for notes in found]
    assert checks[0] < checks[1] <= checks[2] == len(positions)
    # What is promised: this share of the time of a focused pass, in whole passes.
    assert checks[1] == max(1, int(4.0 * engine._relative_cost * len(positions)))
    assert found[0]['off_at_most'] > found[1]['off_at_most'] > 0
    # Whole passes at every position take longer than the focused ones, and than a few of them.
    assert found[2]['check_seconds'] > found[2]['seconds'] > 0
    assert found[2]['check_seconds'] > 2 * found[0]['check_seconds'] > 0


def test_chunks_give_the_same_bytes_in_any_order_and_after_a_restart(zoo, few_places):
    positions = spread_positions(zoo[1], zoo[2], 4)
    chunks = positions[:6], positions[6:12]
    engine = FocusedEngine(*zoo, 4)
    first = [scores(engine, chunk) for chunk in chunks]
    again = [scores(engine, chunk) for chunk in chunks[::-1]]
    np.testing.assert_array_equal(first, again[::-1])
    assert engine.notes()['checks'] == 2  # a repeated check counts once
    np.testing.assert_array_equal(scores(FocusedEngine(*zoo, 4), chunks[1]), first[1])


def test_a_chunk_whose_check_fails_gets_the_exact_engines_bits(zoo, few_places, monkeypatch):
    positions = spread_positions(zoo[1], zoo[2], 4)
    too_few = lambda grids, is_accurate: Focus(grids, {0: 0})  # noqa: E731  # the finest level sees no light
    monkeypatch.setattr('mindpad_mm.incremental.focused.search_focus', too_few)
    engine = FocusedEngine(*zoo, 4)
    given, exact = scores(engine, positions), scores(IncrementalEngine(*zoo, 4), positions)
    np.testing.assert_array_equal(given, exact)
    notes = engine.notes()
    assert notes['left_to_exact'] == len(positions)
    assert notes['largest_difference'] > 1e-3
    assert notes['checks_off'] == notes['checks']
    assert notes['off_at_most'] == 1
    alone = FocusedEngine(*zoo, 4, tolerance=1.0)
    assert not np.array_equal(scores(alone, positions), exact)
    assert alone.notes()['left_to_exact'] == 0


def test_a_map_without_an_accurate_focus_is_left_to_the_exact_engine(zoo, few_places, monkeypatch):
    monkeypatch.setattr(
        'mindpad_mm.incremental.focused.search_focus', lambda grids, is_accurate: None
    )
    positions = spread_positions(zoo[1], zoo[2], 2)
    engine = FocusedEngine(*zoo, 4)
    exact = scores(IncrementalEngine(*zoo, 4), positions)
    np.testing.assert_array_equal(scores(engine, positions), exact)
    assert 'far from the object' in engine.notes()['unfocused_because']


@pytest.fixture(scope='module')
def ssdlite(files):
    config = Config.fromfile(files / 'config.py')
    scene = make_scene(Background(cv2.imread(str(files / 'photo.png')), 'photo'), config)
    return load_detector(config, None), scene


@pytest.mark.parametrize('mode', ['zeros', 'circular', 'partial', ('reflect', 'circular')], ids=str)
def test_outputs_in_the_focus_equal_the_full_engines_in_every_mode(ssdlite, mode, monkeypatch):
    model, scene = ssdlite
    swap_padding(model, mode)
    settle(model, scene)
    assert_focus_is_exact(model, scene, random_object(12, 8), 4, monkeypatch)


@pytest.mark.parametrize('name', ['RetinaNet', 'FCOS', 'YOLOX', 'YOLOv3'])
def test_outputs_in_the_focus_equal_the_full_engines_in_many_families(name, monkeypatch):
    model, scene = detector(name)
    assert_focus_is_exact(model, scene, random_object(), 2, monkeypatch)


def assert_focus_is_exact(model, scene, pixels, across, monkeypatch):
    """Assert that the outputs of priors in the focus are those of whole forward passes."""
    monkeypatch.setattr(FocusedEngine, 'places', 4)
    reaches = {0: 1, 1: 0}
    monkeypatch.setattr(focused, 'search_focus', lambda grids, is_accurate: Focus(grids, reaches))
    engine = FocusedEngine(model, scene, pixels, 4, tolerance=2)
    positions = spread_positions(scene, pixels, across)
    collected = []
    restricted = focused.restricted

    def collect(outputs, cells=None):
        outputs = restricted(outputs, cells)
        collected.append((outputs, cells))
        return outputs

    engine.detect(positions[:4])
    monkeypatch.setattr(focused, 'restricted', collect)
    for start in range(0, len(positions), 4):
        batch = positions[start : start + 4]
        engine._detect_focused(batch)
        wanted = model.bbox_head(model.extract_feat(full_inputs(engine, batch)))
        (outputs, cells), _ = collected.pop(), collected.clear()
        for kind, whole in zip(outputs, wanted):
            for level in reaches:
                a, b = kind[level].dense(), whole[level]
                for k, (top, bottom, left, right) in enumerate(
                    zip(*cells[level][0], *cells[level][1])
                ):
                    part = slice(None), slice(top, bottom), slice(left, right)
                    assert a[k][part].numel()
                    assert (a[k][part] - b[k][part]).abs().max() <= 1e-4 * b.abs().max()
    assert engine.notes()['macs_saved'] > 0


def full_inputs(engine, positions):
    images = [engine.image(row, col) for row, col in positions]
    return engine.model.data_preprocessor(engine.scene.pack(images), False)['inputs']


def test_detectors_of_two_stages_are_left_to_the_exact_engine():
    model, scene = detector('Faster R-CNN')
    pixels = random_object()
    positions = spread_positions(scene, pixels, 1)
    engine = FocusedEngine(model, scene, pixels, 4)
    exact = scores(IncrementalEngine(model, scene, pixels, 4), positions)
    np.testing.assert_array_equal(scores(engine, positions), exact)
    assert engine.notes()['unfocused_because'] == 'the detector has more than one stage'


def test_focused_is_an_engine_for_the_input_space_and_never_auto():
    assert find_engine('focused') is FocusedEngine
    assert find_engine('auto') is not FocusedEngine


def test_the_cells_around_an_object_are_those_whose_centres_are_near():
    grid = PriorGrid((10, 12), (4, 3), (8, 6))
    corners = np.array([[0, 0], [30, 22], [56, 50]])
    for reach in (0.0, 0.5, 1.0, 3.0):
        rows, cols = grid.cells(corners, (20, 14), reach)
        for axis, (low, high) in enumerate((rows, cols)):
            centres = grid.first[axis] + grid.stride[axis] * np.arange(grid.size[axis])
            for k, corner in enumerate(corners):
                extent = (20, 14)[axis]
                off = np.abs(centres - (corner[axis] + extent / 2))
                near = np.flatnonzero(off < grid.stride[axis] / 2 + reach * extent / 2)
                assert set(near) <= set(range(low[k], high[k]))
                assert high[k] - low[k] <= len(near) + 1


def test_coarse_levels_that_do_not_matter_are_left_out():
    grids = tuple(PriorGrid((s, s), (0, 0), (64 // s, 64 // s)) for s in (16, 8, 4, 2))

    def is_accurate(focus):
        return {0, 1} <= set(focus.reaches) and focus.reaches[0] >= 2

    assert search_focus(grids, is_accurate).reaches == {0: 2, 1: 1}
    assert search_focus(grids, lambda focus: False) is None
    assert search_focus(grids, lambda focus: True).reaches == {0: 1}


@pytest.mark.parametrize('checks', [1, 10, 59, 300])
def test_the_limit_holds_what_the_binomial_distribution_says(checks):
    for off in {0, 1, checks // 2, checks}:
        share = off_at_most(off, checks)
        if off < checks:
            # With this share, so few would be off in 5 % of all draws.
            assert binom.cdf(off, checks, share) == pytest.approx(0.05, rel=1e-6)
        else:
            assert share == 1
    assert off_at_most(0, 0) == 1


def test_the_sentence_adds_up_the_maps_and_names_the_limit():
    notes = [
        {'checks': 40, 'checks_off': 0, 'left_to_exact': 0, 'seconds': 30.0, 'check_seconds': 3.0},
        {
            'checks': 19,
            'checks_off': 1,
            'left_to_exact': 512,
            'seconds': 10.0,
            'check_seconds': 1.0,
        },
        {'unfocused_because': 'the detector has more than one stage'},
    ]
    words = bound_words(notes, 1e-3)
    assert 'of 59 random positions' in words
    assert '1 were off by more than 0.001, and 512 positions' in words
    assert f'{off_at_most(1, 59):.2%}' in words
    assert 'The checks took 10% more time.' in words
    # A scan of an earlier version did not time them.
    assert 'more time' not in bound_words([{**notes[0], 'seconds': 0.0}], 1e-3)
    assert bound_words(notes[2:], 1e-3) == ''
