"""A swapped model that was exported to ONNX gives the same results in onnxruntime."""

import pytest
import torch
from torch import nn

from mindpad_mm import swap_padding
from tests.padding.every_mode import MODES

pytest.importorskip('onnx', reason='exporting needs onnx')
onnxruntime = pytest.importorskip('onnxruntime', reason='running the export needs onnxruntime')


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(8, 6, 3, padding=6, dilation=6),
        nn.Conv2d(6, 6, 4, padding='same'),
        nn.AvgPool2d(2, 2, 1),
    ).eval()


def export(model, x, path, exporter):
    arguments = dict(input_names=['x'], output_names=['y'])
    if exporter == 'dynamo':
        pytest.importorskip('onnxscript', reason="torch's newer exporter needs onnxscript")
        shapes = (dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC),)
        torch.onnx.export(
            model, (x,), path, dynamo=True, dynamic_shapes=shapes, verbose=False, **arguments
        )
    else:
        if NEWER:
            arguments['dynamo'] = False
        torch.onnx.export(
            model, (x,), path, dynamic_axes=dict(x={0: 'batch', 2: 'h', 3: 'w'}), **arguments
        )


NEWER = tuple(int(part) for part in torch.__version__.split('.')[:2]) >= (2, 6)
"""Whether ``torch.onnx.export`` has both exporters behind one function."""


CASES = [(mode, 'tracing') for mode in MODES]
PAIRS = [('reflect', 'partial'), ('symmetric', 'circular')]
CASES += [(mode, 'dynamo') for mode in PAIRS]


@pytest.mark.parametrize(('mode', 'exporter'), CASES, ids=str)
@pytest.mark.filterwarnings('ignore')
def test_onnxruntime_agrees_in_every_mode_for_other_batches_and_sizes(mode, exporter, tmp_path):
    if exporter == 'dynamo' and not NEWER:
        pytest.skip("torch.onnx.export(dynamo=True) of this torch is not the exporter's final form")
    model = network()
    swap_padding(model, mode, pool=True)
    path = str(tmp_path / 'model.onnx')
    export(model, torch.rand(2, 3, 40, 33), path, exporter)
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    for shape in ((1, 3, 40, 33), (5, 3, 40, 33), (2, 3, 64, 50), (1, 3, 21, 34)):
        x = torch.rand(shape)
        with torch.no_grad():
            expected = model(x)
        (y,) = session.run(None, {'x': x.numpy()})
        torch.testing.assert_close(torch.from_numpy(y), expected, rtol=1e-4, atol=1e-5)
