"""What a model did, and how it did it: figures and reports.

Importing this needs no extra. What draws, [`figures`][throughtime.inspect.figures] and whatever is
called `draw_...`, needs matplotlib; the pages, [`report`][throughtime.inspect.report] and
[`page`][throughtime.inspect.page], need Jinja as well.
"""

from throughtime.inspect.alignments import alignment, draw_alignment
from throughtime.inspect.attention import (
    attention_maps,
    attention_rollout,
    draw_attention,
    draw_heads,
)
from throughtime.inspect.attention_kinds import Head, Heads, describe_heads
from throughtime.inspect.attention_measures import (
    attention_distance,
    attention_entropy,
    draw_head_measures,
)
from throughtime.inspect.class_contents import ClassPart, Confusion, Early, Reliability, Wrong
from throughtime.inspect.contents import Column, Curve, Example, Fan, Report, Row, Sample, Table
from throughtime.inspect.gate_figures import (
    draw_gate_histogram,
    draw_gates,
    draw_saturation,
    draw_units,
)
from throughtime.inspect.gates import Gate, GateActivity, diagnose_gates, gate_activity
from throughtime.inspect.gradient_flow import (
    GradientFlow,
    diagnose,
    draw_gradient_flow,
    gradient_flow,
    input_flow,
)
from throughtime.inspect.image_attention import (
    draw_image_attention,
    image_attention,
    patch_attention,
    patch_places,
)
from throughtime.inspect.jacobians import Jacobians, recurrent_jacobians
from throughtime.inspect.long_dependencies import LongDependencies, ProbeRun
from throughtime.inspect.long_dependency_figures import (
    draw_flows,
    draw_long_dependencies,
    draw_success,
)
from throughtime.inspect.looking import look
from throughtime.inspect.memory import (
    ContextCurve,
    context_curve,
    draw_context_curve,
    probe_error,
    probe_loss,
    success,
)
from throughtime.inspect.order import OrderSeen, order_seen
from throughtime.inspect.position_figures import (
    draw_position_similarity,
    draw_position_waves,
    draw_score_by_distance,
)
from throughtime.inspect.positions import position_similarity, position_vectors, score_by_distance
from throughtime.inspect.rates import (
    RecurrenceRate,
    draw_rates,
    recurrence_rates,
    scaled_recurrence,
)
from throughtime.inspect.recording import intervene, record, tap_names
from throughtime.inspect.sequence_figures import draw_jacobians
from throughtime.inspect.showing import Showing
from throughtime.inspect.subjects import given_pair, given_text, row_of
from throughtime.inspect.theme import DARK, LIGHT, Theme
from throughtime.inspect.trace import NotRecorded, Trace
from throughtime.inspect.truncation import loss_flow, truncation_report
from throughtime.inspect.truncation_figure import draw_truncation
from throughtime.inspect.unit_search import Span, find_spans, over_corpus, rising_units, show_spans
from throughtime.inspect.window_bias import (
    ExpectedBias,
    TruncationReport,
    WindowBias,
    diagnose_truncation,
    estimated_bias,
)

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
    "ExpectedBias",
    "Fan",
    "Gate",
    "GateActivity",
    "GradientFlow",
    "Head",
    "Heads",
    "Jacobians",
    "LongDependencies",
    "NotRecorded",
    "OrderSeen",
    "ProbeRun",
    "RecurrenceRate",
    "Reliability",
    "Report",
    "Row",
    "Sample",
    "Showing",
    "Span",
    "Table",
    "Theme",
    "Trace",
    "TruncationReport",
    "WindowBias",
    "Wrong",
    "alignment",
    "attention_distance",
    "attention_entropy",
    "attention_maps",
    "attention_rollout",
    "context_curve",
    "describe_heads",
    "diagnose",
    "diagnose_gates",
    "diagnose_truncation",
    "draw_alignment",
    "draw_attention",
    "draw_context_curve",
    "draw_flows",
    "draw_gate_histogram",
    "draw_gates",
    "draw_gradient_flow",
    "draw_head_measures",
    "draw_heads",
    "draw_image_attention",
    "draw_jacobians",
    "draw_long_dependencies",
    "draw_position_similarity",
    "draw_position_waves",
    "draw_rates",
    "draw_saturation",
    "draw_score_by_distance",
    "draw_success",
    "draw_truncation",
    "draw_units",
    "estimated_bias",
    "find_spans",
    "gate_activity",
    "given_pair",
    "given_text",
    "gradient_flow",
    "image_attention",
    "input_flow",
    "intervene",
    "look",
    "loss_flow",
    "order_seen",
    "over_corpus",
    "patch_attention",
    "patch_places",
    "position_similarity",
    "position_vectors",
    "probe_error",
    "probe_loss",
    "record",
    "recurrence_rates",
    "recurrent_jacobians",
    "rising_units",
    "row_of",
    "scaled_recurrence",
    "score_by_distance",
    "show_spans",
    "success",
    "tap_names",
    "truncation_report",
]
