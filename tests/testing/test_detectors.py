"""Random weights by `settle` give varied scores."""

import numpy as np
import pytest
import torch

from mindpad_mm.scan.engines import FullEngine
from mindpad_mm.testing.detectors import (
    FAMILIES,
    family_detector,
    family_label,
    random_object,
)


@pytest.mark.parametrize('family', ['SSDLite', 'YOLOv3', 'zoo reflect'])
def test_scores_of_the_asked_class_are_many_and_neither_alike_nor_saturated(family):
    model, scene = family_detector(family)
    engine = FullEngine(model, scene, random_object())
    (found,) = engine.detect(np.array([[40, 40]]))
    scores = found.scores[found.labels == family_label(family)]
    assert len(scores) > 20
    assert scores.max() < 0.999
    if not FAMILIES[family].trained:
        assert scores.max() > 0.2
        assert len(scores.unique()) > 0.9 * len(scores)


def test_the_object_is_of_noise_and_shows_what_is_behind_its_first_row():
    pixels = random_object(20, 10)
    assert pixels.shape == (20, 10, 4)
    assert (pixels[1:, :, 3] == 255).all()
    assert (pixels[0, :, 3] < 255).all()
    assert torch.from_numpy(pixels[..., :3]).float().std() > 60
