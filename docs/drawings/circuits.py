"""The LSTM and the GRU as circuits, with what flows through one unit at one step."""

from collections.abc import Sequence

from drawings.canvas import Box, Canvas, Point, number
from drawings.units import SHOWN, UnitRun, unit_run
from throughtime.inspect.drawing import Figure
from throughtime.inspect.theme import Theme

CELL_LINE, GATES, HIDDEN_BUS, INPUT_BUS = 288.0, 150.0, 100.0, 80.0
"""Heights, in points."""


def thick(value: float) -> float:
    """A wire's width by what flows in it."""
    return 0.8 + 3.2 * min(abs(value), 1.0)


def lstm_cell(theme: Theme) -> Figure:
    """Forget, input, candidate, output: what they are and what becomes of the cell."""
    run = unit_run("lstm")
    f, i, g, o = (run.at(name) for name in ("forget", "input", "candidate", "output_gate"))
    canvas = _sheet(theme, run, "LSTM: the forget gate closes, the input gate opens")
    columns = {"forget": 138.0, "input": 216.0, "candidate": 300.0, "output": 372.0}
    gates = {
        name: _gate(canvas, x, name, letter, value)
        for (name, x), letter, value in zip(columns.items(), "figo", (f, i, g, o), strict=True)
    }
    risers = [[(x + shift, gates["forget"].bottom[1]) for x in columns.values()]
              for shift in (-10, 10)]  # fmt: skip
    _buses(canvas, run, *risers)

    before, now, shown = run.before("cell"), run.at("cell"), run.at("hidden")
    forget, write = _node(canvas, 138, CELL_LINE, "×"), _node(canvas, 258, 226, "×")
    add, show = _node(canvas, 258, CELL_LINE, "+"), _node(canvas, 418, 198, "×")
    squash = canvas.box(418, 246, 42, 22, "tanh", "state")
    canvas.arrow((14, CELL_LINE), forget.left, "state", thick(before))
    canvas.arrow(forget.right, add.left, "state", thick(f * before))
    canvas.arrow(add.right, (492, CELL_LINE), "state", thick(now))
    canvas.arrow(gates["forget"].top, forget.bottom, "gate", thick(f))
    canvas.wire([gates["input"].top, (216, 226), write.left], "gate", thick(i))
    canvas.wire([gates["candidate"].top, (300, 226), write.right], "output", thick(g))
    canvas.arrow(write.top, add.bottom, "state", thick(i * g))
    canvas.wire([(418, CELL_LINE), squash.top], "state", thick(now))
    canvas.wire([gates["output"].top, (372, 198), show.left], "gate", thick(o))
    canvas.arrow(squash.bottom, show.top, "state", thick(shown / o if o else 0))
    canvas.wire([show.bottom, (418, HIDDEN_BUS), (492, HIDDEN_BUS)], "state", thick(shown))
    canvas.dot(418, CELL_LINE, "state")

    _named(canvas, 28, CELL_LINE, "$c_{t-1}$", before)
    _named(canvas, 478, CELL_LINE, "$c_t$", now)
    _named(canvas, 478, HIDDEN_BUS, "$h_t$", shown)
    canvas.text(198, CELL_LINE + 13, f"$f\\,c$ = {number(f * before)}", "state")
    canvas.text(258, 206, f"$i\\,g$ = {number(i * g)}", "state")
    canvas.text(4, 6, "$c_t = f\\,c_{t-1} + i\\,g,\\qquad h_t = o\\,\\tanh(c_t)$", ha="left",
                va="bottom", size=10.5)  # fmt: skip
    return canvas.figure


def gru_cell(theme: Theme) -> Figure:
    """Reset, update, candidate: one gate both forgets and writes."""
    run = unit_run("gru")
    r, z, n = (run.at(name) for name in ("reset", "update", "candidate"))
    canvas = _sheet(theme, run, "GRU: one gate both keeps and writes")
    gates = {
        "update": _gate(canvas, 128, "update", "z", z),
        "reset": _gate(canvas, 216, "reset", "r", r),
        "candidate": _gate(canvas, 372, "candidate", "n", n),
    }
    past, foot = _node(canvas, 290, GATES, "×"), gates["update"].bottom[1]
    _buses(
        canvas,
        run,
        [(118, foot), (206, foot), past.bottom],
        [(138, foot), (226, foot), (372, foot)],
    )

    before, now = run.before("hidden"), run.at("hidden")
    keep, add = _node(canvas, 128, CELL_LINE, "×"), _node(canvas, 372, CELL_LINE, "+")
    write, least = _node(canvas, 372, 226, "×"), _node(canvas, 256, 226, "1−")
    canvas.wire([(82, HIDDEN_BUS), (82, CELL_LINE), keep.left], "state", thick(before), corner=8)
    canvas.dot(82, HIDDEN_BUS, "state")
    canvas.arrow(gates["update"].top, keep.bottom, "gate", thick(z))
    canvas.dot(128, 226, "gate")
    canvas.arrow((128, 226), least.left, "gate", thick(z))
    canvas.arrow(least.right, write.left, "gate", thick(1 - z))
    canvas.arrow(gates["candidate"].top, write.bottom, "output", thick(n))
    canvas.arrow(keep.right, add.left, "state", thick(z * before))
    canvas.arrow(write.top, add.bottom, "state", thick((1 - z) * n))
    canvas.arrow(add.right, (492, CELL_LINE), "state", thick(now))
    canvas.arrow(gates["reset"].right, past.left, "gate", thick(r))
    canvas.arrow(past.right, gates["candidate"].left, "state", 1.4)

    _named(canvas, 478, CELL_LINE, "$h_t$", now)
    canvas.text(250, CELL_LINE + 13, f"$z\\,h_{{t-1}}$ = {number(z * before)}", "state")
    canvas.text(310, 237, f"$1-z$ = {number(1 - z)}", "gate")
    canvas.text(366, 258, f"$(1-z)\\,n$ = {number((1 - z) * n)}", "state", ha="right")
    canvas.text(4, 6, "$h_t = z\\,h_{t-1} + (1 - z)\\,n,\\qquad "
                "n = \\tanh(W x_t + r\\,(U h_{t-1}))$   (shifts left out)", ha="left", va="bottom",
                size=10.5)  # fmt: skip
    return canvas.figure


def _sheet(theme: Theme, run: UnitRun, title: str) -> Canvas:
    value = number(float(run.sequence.x[0, SHOWN, 0]), ".1f")
    canvas = Canvas(
        theme, 376, title,
        f"step {SHOWN + 1} of the run, where {value} is marked: one unit, "
        "wires as thick as what flows",
    )  # fmt: skip
    canvas.box(264, 192, 388, 246, filled=0, dashed=True)
    return canvas


def _gate(canvas: Canvas, x: float, name: str, letter: str, value: float) -> Box:
    """A layer of weights with its bend; a candidate is no gate."""
    colour = "output" if name == "candidate" else "gate"
    box = canvas.box(x, GATES, 64, 36, colour=colour)
    canvas.text(x, GATES + 8, f"{name} {'' if colour == 'output' else 'σ'}".strip())
    canvas.text(x, GATES - 8, f"${letter}$ = {number(value)}", colour, weight="bold")
    return box


def _node(canvas: Canvas, x: float, y: float, sign: str) -> Box:
    return canvas.circle(x, y, 10, sign, "ink", size=11 if len(sign) == 1 else 9, filled=0.04)


def _named(canvas: Canvas, x: float, y: float, name: str, value: float) -> None:
    """A state's name above its wire, and its value below."""
    canvas.text(x, y + 12, name, "state", size=11)
    canvas.text(x, y - 12, number(value), "state")


def _buses(canvas: Canvas, run: UnitRun, hidden: Sequence[Point], inputs: Sequence[Point]) -> None:
    """The last state and the input, led along below, and up to each of some points."""
    for bus, colour, start, ends in (
        (HIDDEN_BUS, "state", (14.0, HIDDEN_BUS), hidden),
        (INPUT_BUS, "input", (104.0, 44.0), inputs),
    ):
        bend = [(start[0], bus)] if start[1] != bus else []
        canvas.wire([start, *bend, (ends[-1][0], bus), ends[-1]], colour, 1.4)
        for x, y in ends[:-1]:
            canvas.arrow((x, bus), (x, y), colour, 1.4)
            canvas.dot(x, bus, colour)
    units = ", ".join(number(float(value)) for value in run.hidden[SHOWN - 1])
    value, mark = run.sequence.x[0, SHOWN].tolist()
    canvas.text(4, HIDDEN_BUS + 12, "$h_{t-1}$", "state", ha="left", size=11)
    canvas.text(4, HIDDEN_BUS - 12, f"({units})", "state", ha="left")
    canvas.text(104, 34, f"$x_t$ = ({number(value, '.1f')}, {mark:.0f}): value, mark", "input",
                ha="left")  # fmt: skip
