"""Padding works without MMEngine, mmcv and MMDetection."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import sys

HIDDEN = ('mmengine', 'mmcv', 'mmdet')


class Filter:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in HIDDEN:
            return None
        return self.finder.find_spec(name, path, target)


sys.meta_path[:] = [Filter(finder) for finder in sys.meta_path]

import numpy as np
import torch
from torch import nn

from mindpad_mm.padding import swap_padding

torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 5, padding=2, bias=False))
x = torch.randn(2, 3, 9, 7)
report = swap_padding(model, 'symmetric')
assert len(report.swapped) == 2, report
wanted = x.double().numpy()
for layer, pad in zip(model, (1, 2)):
    padded = np.pad(wanted, ((0, 0), (0, 0), (pad, pad), (pad, pad)), 'symmetric')
    bias = None if layer.bias is None else layer.bias.double()
    wanted = nn.functional.conv2d(torch.from_numpy(padded), layer.weight.double(), bias)
    wanted = wanted.detach().numpy()
np.testing.assert_allclose(model(x).detach().numpy(), wanted, rtol=1e-4, atol=1e-5)

import mindpad_mm

assert mindpad_mm.swap_padding is swap_padding
try:
    from mindpad_mm import blindspot_scan
except ImportError as error:
    assert 'needs MMDetection' in str(error), error
else:
    raise AssertionError('blindspot_scan without MMDetection')
from mindpad_mm import *
assert PADDING_MODES is mindpad_mm.PADDING_MODES
assert not {name.split('.')[0] for name in sys.modules} & set(HIDDEN)
print('done')
"""


def test_swap_padding_needs_only_torch():
    run = subprocess.run(
        [sys.executable, '-c', SCRIPT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == 'done'
