from __future__ import annotations

import contextlib
import copy
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindpad_mm.evaluation.bootstrap import BLOCK, Draws, Resampler, image_counts
from mindpad_mm.evaluation.regions import BorderBins, Whole, Zones
from mindpad_mm.evaluation.spatial import SpatialEval, spatial_precisions, with_zone_summary
from tests.evaluation.random_sets import as_coco, random_set

PARTITIONS = [Whole(), Zones(), BorderBins((5, 15))]


def evaluated(seed, images=12):
    dataset, detections = random_set(seed, images)
    return SpatialEval(as_coco(dataset), detections, PARTITIONS, spatial_precisions(PARTITIONS))


def accumulated(evaluation, chosen):
    """The metrics that COCOeval.accumulate computes on the images ``chosen``, with repetitions."""
    resampled = copy.copy(evaluation)
    copies = {}
    for region, (coco_eval, index) in evaluation.evals.items():
        if id(coco_eval) not in copies:
            drawn, images = copy.copy(coco_eval), len(evaluation.image_ids)
            drawn.params = copy.deepcopy(coco_eval.params)
            drawn.params.imgIds = list(range(len(chosen)))
            drawn._paramsEval = copy.deepcopy(drawn.params)
            starts = range(0, len(coco_eval.evalImgs), images)
            drawn.evalImgs = [coco_eval.evalImgs[s + i] for s in starts for i in chosen]
            copies[id(coco_eval)] = drawn
        resampled.evals = {**resampled.evals, region: (copies[id(coco_eval)], index)}
    with contextlib.redirect_stdout(io.StringIO()):
        return resampled.metrics()


@settings(max_examples=10)
@given(st.integers(0, 10**6))
def test_a_draw_is_what_accumulate_gives_on_the_repeated_images(seed):
    evaluation = evaluated(seed)
    counts = np.random.default_rng(seed).multinomial(12, [1 / 12] * 12, size=3)
    found = Resampler(evaluation).metrics(counts)
    for draw, count in enumerate(counts):
        expected = accumulated(evaluation, np.repeat(np.arange(12), count))
        for name, value in expected.items():
            assert found[name][draw] == pytest.approx(value, abs=1e-12), name


def test_every_image_once_gives_the_metrics_of_the_set():
    evaluation = evaluated(7)
    found = Resampler(evaluation).metrics(np.ones((1, 12), int))
    expected = evaluation.metrics()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name][0] == pytest.approx(value, abs=1e-12)


def test_a_draw_without_objects_is_undefined():
    evaluation = evaluated(7)
    found = Resampler(evaluation).metrics(np.zeros((1, 12), int))
    assert all(value[0] == -1 for value in found.values())


def test_counts_are_draws_with_replacement_and_follow_the_seed():
    counts = image_counts(300, 0, 5)
    assert counts.shape == (BLOCK, 300)
    np.testing.assert_array_equal(counts.sum(1), 300)
    np.testing.assert_array_equal(counts, image_counts(300, 0, 5))
    assert (counts != image_counts(300, 1, 5)).any()
    # The chance that an image does not occur in a draw is about 1 / e.
    assert (counts == 0).mean() == pytest.approx(np.exp(-1), abs=0.02)


def test_saved_draws_are_not_computed_again_and_more_can_be_added(tmp_path):
    evaluation = evaluated(8)
    names = list(with_zone_summary(evaluation.metrics()))
    resampler = Resampler(evaluation)

    def draws():
        return Draws(tmp_path / 'draws', names, 0)

    assert draws().missing(70) == [0, 1]
    draws().compute(resampler, 0)
    first = next((tmp_path / 'draws').iterdir())
    before = first.read_bytes(), first.stat().st_mtime_ns
    assert draws().missing(70) == [1]  # as after a kill
    draws().compute(resampler, 1)
    values = draws().load(70)
    assert values.shape == (70, len(names))
    assert (first.read_bytes(), first.stat().st_mtime_ns) == before
    draws().compute(resampler, 2)
    np.testing.assert_array_equal(draws().load(150)[:70], values)
