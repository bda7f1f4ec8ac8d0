"""Self-contained HTML reports: text, figures, tables and files in one page that needs no network."""

from sciexplain.report.builder import Report
from sciexplain.report.errors import ReportError
from sciexplain.report.parts import Part, Study

__all__ = ["Part", "Report", "ReportError", "Study"]
