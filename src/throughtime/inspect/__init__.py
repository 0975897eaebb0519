"""What a model did, and how it did it: figures and reports.

Importing this needs no extra. What draws, [`figures`][throughtime.inspect.figures],
[`draw_alignment`][throughtime.inspect.draw_alignment] and
[`draw_gradient_flow`][throughtime.inspect.draw_gradient_flow], needs matplotlib, and
[`report`][throughtime.inspect.report] needs Jinja as well.
"""

from throughtime.inspect.alignments import alignment, draw_alignment
from throughtime.inspect.class_contents import ClassPart, Confusion, Early, Reliability, Wrong
from throughtime.inspect.contents import Column, Curve, Example, Fan, Report, Row, Sample, Table
from throughtime.inspect.gradient_flow import (
    GradientFlow,
    diagnose,
    draw_gradient_flow,
    gradient_flow,
    input_flow,
)
from throughtime.inspect.jacobians import Jacobians, recurrent_jacobians
from throughtime.inspect.memory import (
    ContextCurve,
    context_curve,
    draw_context_curve,
    probe_error,
    probe_loss,
    success,
)
from throughtime.inspect.order import OrderSeen, order_seen
from throughtime.inspect.theme import DARK, LIGHT, Theme

__all__ = [
    "DARK",
    "LIGHT",
    "ClassPart",
    "Column",
    "Confusion",
    "ContextCurve",
    "Curve",
    "Early",
    "Example",
    "Fan",
    "GradientFlow",
    "Jacobians",
    "OrderSeen",
    "Reliability",
    "Report",
    "Row",
    "Sample",
    "Table",
    "Theme",
    "Wrong",
    "alignment",
    "context_curve",
    "diagnose",
    "draw_alignment",
    "draw_context_curve",
    "draw_gradient_flow",
    "gradient_flow",
    "input_flow",
    "order_seen",
    "probe_error",
    "probe_loss",
    "recurrent_jacobians",
    "success",
]
