"""Pictures and pages of what was measured."""

from mindpad_mm.report.page import report_scan, write_page

__all__ = ['report_scan', 'write_page']
