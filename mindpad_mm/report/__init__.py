"""HTML pages, plots and tables of scans, comparisons and diagnoses."""

from mindpad_mm.report.page import report_scan, write_page

__all__ = ['report_scan', 'write_page']
