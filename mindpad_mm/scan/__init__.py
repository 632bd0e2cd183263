"""Blind-spot scans: a detector's score for an object at every position of a scene."""

from mindpad_mm.core.names import LAUNCHERS
from mindpad_mm.scan.bystanders import STATES, Bystanders, BystanderStatistics
from mindpad_mm.scan.causes import CAUSE_WORDS, CAUSES, CauseCounts, Causes
from mindpad_mm.scan.engines import ENGINES, Engine
from mindpad_mm.scan.exports import export_worst, worst_places, write_exports, write_statistics
from mindpad_mm.scan.info import ScanInfo
from mindpad_mm.scan.paired import check_paired, paired_difference
from mindpad_mm.scan.phase import GridPhase
from mindpad_mm.scan.plot_extras import CAUSE_COLOURS
from mindpad_mm.scan.positions import position_boxes
from mindpad_mm.scan.result import ScanResult
from mindpad_mm.scan.run import blindspot_scan, scan_statistics
from mindpad_mm.scan.score_map import SIDES
from mindpad_mm.scan.statistics import (
    BackgroundMean,
    LossStatistics,
    ScanMapStatistics,
    ScanStatistics,
    Strip,
    difference_interval,
    is_unit,
    map_phase,
    over_backgrounds,
    paired_over_backgrounds,
    sized_name,
    sizes_of,
)
from mindpad_mm.scan.words import change_words
from mindpad_mm.settings.scan import ScanSettings

__all__ = [
    'CAUSES',
    'CAUSE_COLOURS',
    'CAUSE_WORDS',
    'ENGINES',
    'LAUNCHERS',
    'SIDES',
    'STATES',
    'BackgroundMean',
    'BystanderStatistics',
    'Bystanders',
    'CauseCounts',
    'Causes',
    'Engine',
    'GridPhase',
    'LossStatistics',
    'ScanInfo',
    'ScanMapStatistics',
    'ScanResult',
    'ScanSettings',
    'ScanStatistics',
    'Strip',
    'blindspot_scan',
    'change_words',
    'check_paired',
    'difference_interval',
    'export_worst',
    'is_unit',
    'map_phase',
    'over_backgrounds',
    'paired_difference',
    'paired_over_backgrounds',
    'position_boxes',
    'scan_statistics',
    'sized_name',
    'sizes_of',
    'worst_places',
    'write_exports',
    'write_statistics',
]
