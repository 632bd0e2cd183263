"""Pictures and pages of what was measured."""

from mindpad_mm.report.page import report_scan

__all__ = ['report_scan']
