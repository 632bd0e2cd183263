"""On mmcv-lite, NMS and RoIAlign equal mmcv's, and other operators raise a clear error."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mindpad_mm.compat import mmcv_ops as workaround
from mindpad_mm.compat import status
from mindpad_mm.compat.mmcv_ops import nms, roi_align_backward, roi_align_forward
from mindpad_mm.core.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def run(script: str, folder: Path) -> subprocess.CompletedProcess:
    """Run a script in a new interpreter that finds modules in ``folder`` first."""
    env = {'PYTHONPATH': f'{folder}:{ROOT}', 'PATH': '', 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, '-c', textwrap.dedent(script)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def mmcv_nms(boxes: np.ndarray, scores: np.ndarray, threshold: float, offset: int) -> list[int]:
    """mmcv's definition in float64: keep the best box, drop boxes that overlap it too much, repeat."""
    order = np.argsort(-scores, kind='stable')
    area = np.prod(boxes[:, 2:] - boxes[:, :2] + offset, axis=1)
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        low = np.maximum(boxes[best, :2], boxes[rest, :2])
        high = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        inter = np.prod(np.maximum(high - low + offset, 0), axis=1)
        with np.errstate(invalid='ignore', divide='ignore'):
            iou = inter / (area[best] + area[rest] - inter)
        order = rest[~(iou > threshold)]
    return kept


# Whole pixels, so that no IoU is so near to the thresholds below that rounding in float32 matters.
corner = st.integers(0, 12)
box = st.tuples(corner, corner, st.integers(0, 12), st.integers(0, 12))
boxes_and_scores = st.lists(st.tuples(box, st.integers(0, 20)), max_size=25)


@settings(max_examples=150, deadline=None)
@given(
    boxes_and_scores, st.sampled_from([0.1414213, 0.4567891, 0.7123457]), st.sampled_from([0, 1])
)
def test_nms_keeps_the_boxes_that_mmcv_keeps(items, threshold, offset):
    boxes = np.array([[x, y, x + w, y + h] for (x, y, w, h), _ in items], float).reshape(-1, 4)
    scores = np.array([s / 20 for _, s in items], float)
    kept = nms(
        torch.tensor(boxes, dtype=torch.float32),
        torch.tensor(scores, dtype=torch.float32),
        iou_threshold=threshold,
        offset=offset,
    )
    assert kept.dtype == torch.int64
    assert kept.tolist() == mmcv_nms(boxes, scores, threshold, offset)


def test_nms_keeps_a_box_whose_iou_is_exactly_the_threshold():
    # The IoU is 3 / 10 in float32, which is above 0.3 in float64.
    boxes = torch.tensor([[0.0, 0.0, 10.0, 1.0], [0.0, 0.0, 3.0, 1.0]])
    assert nms(boxes, torch.tensor([0.9, 0.8]), 0.3, 0).tolist() == [0, 1]
    assert nms(boxes, torch.tensor([0.9, 0.8]), 0.29, 0).tolist() == [0]


def test_nms_accepts_scores_of_another_dtype():
    boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 5]])
    assert nms(boxes, torch.tensor([0.25, 0.5]).half(), 0.5, 0).tolist() == [1]


def pool(features, rois, size, scale, ratio, aligned):
    output = features.new_full((len(rois), features.shape[1], *size), torch.nan)
    none = features.new_zeros(0)
    roi_align_forward(features, rois, output, none, none, *size, scale, ratio, 1, aligned)
    return output


def test_roi_align_of_a_plane_gives_its_values_at_the_bin_centres():
    # Bilinear sampling is exact on a plane, and the mean over a bin is its centre.
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(30.0), indexing='ij')
    features = (2 * x + 3 * y + 1)[None, None].double()
    rois = torch.tensor([[0, 8.0, 4.0, 24.0, 20.0]], dtype=torch.float64)
    got = pool(features, rois, (2, 4), 0.5, 2, True)[0, 0]
    # Half scale: x from 4 to 12 in 4 bins, y from 2 to 10 in 2 bins; pixel centres at +0.5.
    centre_x = torch.arange(5.0, 12.0, 2) - 0.5
    centre_y = torch.tensor([4.0, 8.0]) - 0.5
    assert torch.allclose(got, (2 * centre_x + 3 * centre_y[:, None] + 1).double())


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('ratio', [0, 2])
def test_roi_align_backward_is_the_gradient_of_forward(aligned, ratio):
    torch.manual_seed(0)
    features = torch.rand(2, 3, 7, 9, dtype=torch.float64)
    rois = torch.tensor([[0, 1.3, 0.7, 9.1, 8.2], [1, 4, 2, 17, 12.5], [1, 0, 0, 3, 3]])
    rois = rois.double()
    weight = torch.rand(3, 3, 2, 3, dtype=torch.float64)
    gradient = torch.full_like(features, torch.nan)
    none = features.new_zeros(0)
    roi_align_backward(weight, rois, none, none, gradient, 2, 3, 0.5, ratio, 1, aligned)
    # The operator is linear, so a finite difference along any direction is exact.
    direction = torch.rand_like(features)
    difference = pool(direction, rois, (2, 3), 0.5, ratio, aligned)
    assert torch.allclose((gradient * direction).sum(), (weight * difference).sum(), rtol=1e-10)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_roi_align_works_in_mixed_precision(dtype):
    features = torch.rand(1, 2, 8, 8)
    rois = torch.tensor([[0, 1.0, 1.0, 6.0, 6.0]])
    half = pool(features.to(dtype), rois.to(dtype), (2, 2), 1.0, 2, True)
    assert half.dtype == dtype
    assert torch.allclose(half.float(), pool(features, rois, (2, 2), 1.0, 2, True), atol=0.01)


def test_maximum_roi_align_is_an_error_with_advice():
    none = torch.zeros(0)
    with pytest.raises(UserError, match=r"pool_mode='max'.*mmcv==2\.1\.0"):
        roi_align_forward(
            torch.rand(1, 1, 4, 4), torch.zeros(1, 5), none, none, none, 2, 2, 1.0, 0, 0, True
        )


def test_roi_align_of_mmcv_has_gradients():
    from mmcv.ops import roi_align

    torch.manual_seed(0)
    features = torch.rand(1, 1, 6, 6, requires_grad=True)
    rois = torch.tensor([[0, 0.5, 0.5, 5.0, 4.0]])
    roi_align(features, rois, (2, 2)).sum().backward()
    # Each of the 4 bins is a mean, whose weights sum to one.
    assert features.grad.sum().item() == pytest.approx(4)


@pytest.mark.skipif(not status()['mmcv_ops'], reason='the full mmcv is installed')
def test_a_missing_op_is_an_error_when_it_is_called():
    from mmcv.ops import soft_nms

    with pytest.raises(UserError, match=r"no compiled op 'softnms'.*install the full mmcv"):
        soft_nms(torch.rand(2, 4), torch.rand(2))


@pytest.mark.skipif(status()['mmcv_ops'], reason='mmcv-lite has no compiled ops to compare with')
@pytest.mark.parametrize('offset', [0, 1])
def test_nms_equals_the_compiled_nms(offset):
    from mmcv._ext import nms as compiled

    torch.manual_seed(0)
    for count in (1, 10, 300, 2000):
        boxes = torch.rand(count, 4) * 100
        boxes[:, 2:] = boxes[:, :2] + boxes[:, 2:] * 0.5
        scores = torch.rand(count)
        for threshold in (0.0, 0.3, 0.45, 0.7, 1.0):
            want = compiled(boxes, scores, iou_threshold=threshold, offset=offset)
            assert torch.equal(nms(boxes, scores, threshold, offset), want)
    for count in (0, 400):  # whole coordinates: IoUs that equal the threshold, and empty boxes
        boxes = torch.randint(0, 9, (count, 4)).float()
        boxes[:, 2:] += boxes[:, :2]
        scores = torch.randperm(count).float()  # no ties, whose order is undefined
        for threshold in (0.2, 0.25, 0.3, 1 / 3, 0.5, 0.6):
            want = compiled(boxes, scores, iou_threshold=threshold, offset=offset)
            assert torch.equal(nms(boxes, scores, threshold, offset), want)


@pytest.mark.skipif(status()['mmcv_ops'], reason='mmcv-lite has no compiled ops to compare with')
@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('ratio', [0, 2])
def test_roi_align_equals_the_compiled_roi_align(aligned, ratio):
    from mmcv.ops import roi_align

    torch.manual_seed(0)
    features = torch.rand(2, 3, 20, 24, requires_grad=True)
    rois = torch.rand(50, 5) * 80
    rois[:, 0] = torch.arange(50) % 2
    rois[:, 3:] += rois[:, 1:3]  # some extend beyond the map
    want = roi_align(features, rois, (7, 5), 0.25, ratio, 'avg', aligned)
    got = pool(features.detach(), rois, (7, 5), 0.25, ratio, aligned)
    assert torch.allclose(got, want, atol=1e-6)
    weight = torch.rand_like(want)
    want.backward(weight)
    gradient, none = torch.empty_like(features), torch.zeros(0)
    roi_align_backward(weight, rois, none, none, gradient, 7, 5, 0.25, ratio, 1, aligned)
    assert torch.allclose(gradient, features.grad, atol=1e-5)


@pytest.mark.parametrize('compiled', [True, False])
def test_it_is_applied_only_without_a_compiled_module(monkeypatch, compiled):
    real = importlib.util.find_spec
    module = types.ModuleType('mmcv._ext')
    spec = importlib.util.spec_from_loader('mmcv._ext', loader=None) if compiled else None
    monkeypatch.setitem(sys.modules, 'mmcv._ext', module)
    monkeypatch.setattr(
        importlib.util,
        'find_spec',
        lambda name, *rest: spec if name == 'mmcv._ext' else real(name, *rest),
    )
    assert workaround() is not compiled
    assert (sys.modules['mmcv._ext'] is module) is compiled


def test_compiled_ops_of_another_torch_are_an_error_with_advice(monkeypatch):
    spec = importlib.util.spec_from_loader('mmcv._ext', loader=None)
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: spec)

    def load(name):
        raise ImportError('undefined symbol: _ZN3c10')

    monkeypatch.setattr(importlib, 'import_module', load)
    with pytest.raises(UserError, match=r'torch .*undefined symbol.*--no-cache-dir'):
        workaround()


def test_a_compiled_module_is_not_replaced(tmp_path):
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv' / '__init__.py').write_text('')
    (tmp_path / 'mmcv' / '_ext.py').write_text("nms = 'compiled'")
    done = run(
        """
        import importlib, sys, types
        package = types.ModuleType('mindpad_mm')
        package.__path__ = [path + '/mindpad_mm' for path in sys.path if path]
        sys.modules['mindpad_mm'] = package
        from mindpad_mm.compat.mmcv_ops import mmcv_ops
        assert mmcv_ops() is False
        import mmcv._ext
        print(mmcv._ext.nms)
        """,
        tmp_path,
    )
    assert done.stdout == 'compiled\n', done.stderr


def test_without_mmcv_the_error_names_both_ways_to_install_it(tmp_path):
    done = run(
        """
        import sys

        class NoMmcv:
            def find_spec(self, name, path=None, target=None):
                if name.split('.')[0] == 'mmcv':
                    raise ModuleNotFoundError("No module named 'mmcv'", name='mmcv')

        sys.meta_path.insert(0, NoMmcv())
        import mindpad_mm
        """,
        tmp_path,
    )
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert 'mmcv is not installed' in last
    assert 'mindpad-mm[lite]' in last
    assert 'mindpad-mm[full]' in last
