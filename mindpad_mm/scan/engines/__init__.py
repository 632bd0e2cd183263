"""Engines, which compute the detections at the positions of a scan."""

from mindpad_mm.scan.engines.base import ENGINES, Engine, exact_engines, find_engine
from mindpad_mm.scan.engines.focused import FocusedEngine
from mindpad_mm.scan.engines.full import FullEngine
from mindpad_mm.scan.engines.incremental import IncrementalEngine

__all__ = [
    'ENGINES',
    'Engine',
    'FocusedEngine',
    'FullEngine',
    'IncrementalEngine',
    'exact_engines',
    'find_engine',
]
