"""Blind-spot scans: an object at every position of a scene, and what the detector made of it."""

from mindpad_mm.scan.engines import ENGINES, Engine
from mindpad_mm.scan.processes import LAUNCHERS
from mindpad_mm.scan.result import ScanInfo, ScanResult
from mindpad_mm.scan.run import blindspot_scan, scan_statistics
from mindpad_mm.scan.settings import ScanSettings

__all__ = [
    'ENGINES',
    'LAUNCHERS',
    'Engine',
    'ScanInfo',
    'ScanResult',
    'ScanSettings',
    'blindspot_scan',
    'scan_statistics',
]
