"""Real detectors beside the project, which users ship; benchmarks leave out those that are not there."""

from __future__ import annotations

import sys
from pathlib import Path

from torch import nn

from mindpad_mm.core.detector import DetectorFiles, detector_classes, find_label
from mindpad_mm.core.opened import opened
from mindpad_mm.core.scenes import Background, Scene

MODELS = Path(__file__).resolve().parents[2] / 'shared' / 'models'


def is_there(name: str) -> bool:
    """Whether the detector of this name can be measured."""
    return (MODELS / name / f'{name}.pth').is_file()


def real_detector(name: str) -> tuple[nn.Module, Scene, int]:
    """A detector, a drawn street as its input, and the index of its class for traffic lights.

    Args:
        name: Name of its folder in ``MODELS``, and of its config and weights.
    """
    folder = str(MODELS / name)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # configs import modules beside them
    files = DetectorFiles(f'{folder}/{name}.py', f'{folder}/{name}.pth')
    with opened(files, 'cpu') as subject:
        label = find_label(None, detector_classes(subject.model))
        return subject.model, subject.make_scene(Background.drawn(0), 'input'), label
