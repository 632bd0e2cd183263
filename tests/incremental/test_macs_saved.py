"""The share of work saved counts all multiply-accumulates, followed by windows or not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mindpad_mm.scan.engines.full import FullEngine
from mindpad_mm.scan.engines.incremental import IncrementalEngine
from mindpad_mm.testing import detectors
from mindpad_mm.testing.detectors import LABEL, Family, family_detector, random_object

ATTENTION = Family(
    'pvt/retinanet_pvt-t_fpn_1x_coco.py',
    96,
    {
        'model.backbone.init_cfg': None,
        'model.backbone.num_layers': [1, 1, 1, 1],
        'model.bbox_head.stacked_convs': 1,
    },
    None,
)
POSITIONS = np.array([[0, 8], [30, 20], [60, 70]])


def torch_counts() -> bool:
    """Whether torch counts convolutions in inference mode; torch 2.1 does not."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        torch.nn.Conv2d(1, 1, 1)(torch.rand(1, 1, 2, 2))
    return counter.get_total_flops() > 0


@pytest.mark.skipif(not torch_counts(), reason='this torch counts nothing in inference mode')
@pytest.mark.parametrize(('name', 'size'), [('attention', 96), ('SSDLite', 192)])
def test_it_equals_the_share_that_torch_counts(name, size, monkeypatch):
    """Both have no kernel that the incremental engine runs with fewer products than a convolution."""
    monkeypatch.setitem(detectors.FAMILIES, 'attention', ATTENTION)
    model, scene = family_detector(name, size)
    pixels = random_object(24, 12)
    engines = [
        FullEngine(model, scene, pixels, 3),
        IncrementalEngine(model, scene, pixels, 3, LABEL),
    ]
    flops = []
    for engine in engines:
        engine.detect(POSITIONS)
        with FlopCounterMode(display=False) as counter:
            engine.detect(POSITIONS)
        flops.append(counter.get_total_flops())
    assert engines[1].notes()['macs_saved'] == pytest.approx(1 - flops[1] / flops[0], abs=0.002)
