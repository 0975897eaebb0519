"""What a model did, and how it did it: figures and reports.

Importing this needs nothing beyond NumPy. [`figures`][throughtime.inspect.figures] needs matplotlib
and [`report`][throughtime.inspect.report] needs Jinja as well.
"""

from throughtime.inspect.contents import Column, Curve, Fan, Report, Row, Sample, Table
from throughtime.inspect.theme import DARK, LIGHT, Theme

__all__ = [
    "DARK",
    "LIGHT",
    "Column",
    "Curve",
    "Fan",
    "Report",
    "Row",
    "Sample",
    "Table",
    "Theme",
]
