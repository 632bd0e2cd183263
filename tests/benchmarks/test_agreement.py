"""When the incremental and the full engine agree."""

from __future__ import annotations

import pytest
import torch

from benchmarks.agreement import Agreement, Difference, own_rounding
from mindpad_mm.scan.engines import FullEngine
from mindpad_mm.scan.positions import scene_positions
from mindpad_mm.testing.detectors import family_detector, random_object


@pytest.mark.parametrize(
    ('head', 'rounding', 'holds'),
    [(9e-5, 0, True), (2e-4, 0, False), (2e-4, 3e-4, True), (4e-4, 3e-4, False)],
)
def test_head_outputs_may_differ_by_what_whole_passes_are_off_themselves(head, rounding, holds):
    assert Agreement('SSD300', 'zeros', 9, head=head, rounding=rounding).holds == holds


def test_a_score_that_differs_without_a_tie_is_no_agreement_whatever_the_rounding():
    difference = Difference(0, 0, 0.5, 0.6, None)
    assert not Agreement('SSD300', 'zeros', 9, rounding=1, differences=[difference]).holds


def test_the_rounding_of_whole_passes_is_small_and_that_of_a_coarser_model_is_larger():
    model, scene = family_detector('SSDLite', 96)
    pixels = random_object()
    positions = scene_positions(scene.photo, pixels.shape[:2], 24)[:2]
    fine = own_rounding(FullEngine(model, scene, pixels, 2), positions)
    assert 0 < fine < 2e-3

    def coarse(module, args):
        """In float32 alone, the head reads features that lost thirteen bits."""
        (features,) = args
        if features[0].dtype == torch.float32:
            return (tuple(level.half().float() for level in features),)
        return None

    model.bbox_head.register_forward_pre_hook(coarse)
    assert own_rounding(FullEngine(model, scene, pixels, 2), positions) > 2 * fine
