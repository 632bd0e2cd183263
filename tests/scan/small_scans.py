"""Scans of the small detector, and detections from numbers."""

from __future__ import annotations

import torch
from mmengine.structures import InstanceData

from mindpad_mm.scan import blindspot_scan


def scan(files, out, **options):
    """Scan the light of ``files`` on their photo."""
    detector = files / 'config.py', files / 'weights.pth'
    given = {'scene': files / 'photo.png', 'object': files / 'light.png', **options}
    return blindspot_scan(detector, out=out, **given)


def boxes(*rows):
    """Detections from rows of ``x1, y1, x2, y2, score, label``."""
    rows = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return InstanceData(bboxes=rows[:, :4], scores=rows[:, 4], labels=rows[:, 5].long())
