"""Finished scans made from given arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mindpad_mm.scan import ScanInfo, ScanResult, scan_statistics


def finished_scan(
    folder: Path,
    arrays: Sequence[np.ndarray],
    backgrounds: Sequence[dict[str, Any]],
    objects: Sequence[dict[str, Any]],
    **info: Any,
) -> ScanResult:
    """Make and save a scan with these arrays; its statistics are computed.

    Args:
        folder: Output folder of the scan, with its images.
        arrays: In the order of :data:`mindpad_mm.scan.result.ARRAYS`.
        backgrounds: As in ``scan.json``.
        objects: As in ``scan.json``.
        info: Other fields of ``scan.json``. Default: those below.
    """
    content = {
        'config': 'config.py', 'checkpoint': 'weights.pth', 'cfg_options': {}, 'label': 'bus',
        'label_index': 0, 'space': 'input', 'stride': 2, 'iou_thr': 0.5, 'clean_thr': 0.001,
        'quick': False, 'inside_stride': 2, 'tolerance': 0.001, 'device': 'cpu', 'seed': 0,
        'backgrounds': backgrounds, 'objects': objects, 'sizes': [10],
        'engine': 'full', 'engine_notes': [], 'batch_size': 8, 'processes': 1, 'threads': 1,
        'positions': 1, 'seconds': 1.0, 'positions_per_second': 1.0, 'windows': [], 'far': 64,
        'periods': [], 'versions': {}, 'fingerprint': {}, 'statistics': {}, **info,
    }  # fmt: skip
    result = ScanResult(*arrays, info=ScanInfo.from_json(content), folder=folder)
    result.info.statistics = scan_statistics(
        result, result.info, result.info.periods, result.info.far
    )
    result.save(folder)
    return result
