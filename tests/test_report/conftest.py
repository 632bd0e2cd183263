"""A finished scan in a folder, made of arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from mindpad_mm.scan.images import write_png
from mindpad_mm.scan.result import ScanResult
from mindpad_mm.scan.run import scan_statistics


@pytest.fixture
def scan(tmp_path):
    """Two scenes of 40 x 60, one object of 10 x 6; the lowest score 0.1 at row 4, column 16."""
    rows, cols = np.arange(0, 31, 2), np.arange(0, 55, 2)
    scores = np.full((2, 1, 1, len(rows), len(cols)), 0.75, np.float32)
    scores[..., 2, 8] = 0.1
    flags = np.zeros(scores.shape, bool)
    flags[0, 0, 0, 5:9, 20:] = True
    backgrounds = []
    for k in range(2):
        write_png(tmp_path / f'scene_{k}.png', np.full((40, 60, 3), 90 + 60 * k, np.uint8))
        scene = {'source': f'<grey & {k}>', 'file': f'scene_{k}.png', 'height': 40, 'width': 60}
        backgrounds.append(scene)
    write_png(tmp_path / 'object_0_10.png', np.full((10, 6, 4), 255, np.uint8))
    info = {
        'config': 'a/config.py', 'checkpoint': 'b/weights.pth', 'label': 'traffic light',
        'label_index': 0, 'stride': 2, 'sizes': [10], 'iou_thr': 0.5, 'clean_thr': 0.001,
        'engine': 'full', 'space': 'input', 'batch_size': 8, 'device': 'cpu', 'seed': 0,
        'cfg_options': {'model.test_cfg.score_thr': 0.001}, 'periods': [8],
        'positions': 896, 'positions_per_second': 12.5, 'versions': {'torch': '2.1'},
        'backgrounds': backgrounds,
        'objects': [{'source': 'white', 'files': ['object_0_10.png'], 'boxes': [[10, 6]]}],
    }  # fmt: skip
    ious = np.zeros_like(scores)
    result = ScanResult(scores, ious, flags, ious, rows, cols, info)
    info['statistics'] = scan_statistics(result)
    result.save(tmp_path)
    return result
