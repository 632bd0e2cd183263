"""Blind-spot scans: an object at every position of a scene, and what the detector made of it."""

from mindpad_mm.scan.engines import ENGINES, Engine
from mindpad_mm.scan.launch import LAUNCHERS
from mindpad_mm.scan.result import ScanResult
from mindpad_mm.scan.run import blindspot_scan, scan_statistics

__all__ = ['ENGINES', 'LAUNCHERS', 'Engine', 'ScanResult', 'blindspot_scan', 'scan_statistics']
