"""What a model did, and how it did it: figures and reports.

Importing this needs no extra. What draws, [`figures`][throughtime.inspect.figures] and
[`draw_alignment`][throughtime.inspect.draw_alignment], needs matplotlib, and
[`report`][throughtime.inspect.report] needs Jinja as well.
"""

from throughtime.inspect.alignments import alignment, draw_alignment
from throughtime.inspect.class_contents import ClassPart, Confusion, Early, Reliability, Wrong
from throughtime.inspect.contents import Column, Curve, Example, Fan, Report, Row, Sample, Table
from throughtime.inspect.order import OrderSeen, order_seen
from throughtime.inspect.theme import DARK, LIGHT, Theme

__all__ = [
    "DARK",
    "LIGHT",
    "ClassPart",
    "Column",
    "Confusion",
    "Curve",
    "Early",
    "Example",
    "Fan",
    "OrderSeen",
    "Reliability",
    "Report",
    "Row",
    "Sample",
    "Table",
    "Theme",
    "Wrong",
    "alignment",
    "draw_alignment",
    "order_seen",
]
