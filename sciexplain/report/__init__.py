"""Self-contained HTML reports: text, figures, tables and files in one page that needs no network."""

from sciexplain.report.builder import Report
from sciexplain.report.errors import ReportError

__all__ = ["Report", "ReportError"]
