"""HTML pages, plots and tables of scans, border losses, comparisons and diagnoses."""

from mindpad_mm.report.border_page import report_border
from mindpad_mm.report.page import report_scan, write_page

__all__ = ['report_border', 'report_scan', 'write_page']
