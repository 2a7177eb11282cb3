"""The report of a benchmark: a page, text tables, and a table for other programs.

page          one self-contained HTML file; no request leaves it
markdown      tables for a README
latex         tables for a paper (booktabs)
table         every number, one a row
write_tables  the last three as files
"""

from evaluation.reports.numbers import table
from evaluation.reports.sections import page
from evaluation.reports.text import latex, markdown, write_tables

__all__ = ["latex", "markdown", "page", "table", "write_tables"]
