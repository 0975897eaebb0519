"""Pictures of what the benchmarks found."""

from itertools import product

from matplotlib.figure import Figure

from throughtime.commands.peers import OURS, PACKED
from throughtime.inspect.drawing import dress, style
from throughtime.inspect.theme import LIGHT, colours

SIZE = {"fontsize": 8.5, "color": LIGHT.muted}
TICKS = (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)


def grid(rows, columns, width=3.1, height=2.7, **options):
    """An empty figure of several parts."""
    with style():
        size = (width * columns, height * rows)
        figure = Figure(figsize=size, layout="constrained")
        return figure, figure.subplots(rows, columns, squeeze=False, **options)


def speed_figure(rows, dtype, *, busy):
    """Times faster than torch.nn by hidden size: a part per layer and pass, a line per batch."""
    rows = [row for row in rows if row["dtype"] == dtype]
    passes = list(dict.fromkeys(row["pass"] for row in rows))
    kinds = list(dict.fromkeys(row["layer"] for row in rows))
    batches = list(dict.fromkeys(row["batch"] for row in rows))
    sizes = sorted({row["hidden"] for row in rows})
    figure, parts = grid(len(passes), len(kinds), sharex=True, sharey=True)
    for what, line in zip(passes, parts, strict=True):
        for kind, ax in zip(kinds, line, strict=True):
            ax.axhline(1, color=LIGHT.ink, linewidth=1)
            for batch, colour, mark in zip(batches, LIGHT.palette, "osD^v<>", strict=False):
                case = what, kind, batch
                shown = [r for r in rows if (r["pass"], r["layer"], r["batch"]) == case]
                points = [row["hidden"] for row in shown], [row["times"] for row in shown]
                ax.plot(*points, marker=mark, markersize=4, color=colour, label=f"batch {batch}")
            scales(ax, sizes, [row["times"] for row in rows])
            dress(ax, LIGHT, f"{kind.upper()}, {what}")
    for ax in parts[-1]:
        ax.set_xlabel("hidden size", **SIZE)
    for ax in parts[:, 0]:
        ax.set_ylabel("times faster than torch.nn", **SIZE)
    load = ", one core kept busy" if busy else ""
    finish(figure, parts[0][0], f"{dtype}{load}: above the line is faster than torch.nn")
    return figure


def scales(ax, sizes, ratios):
    """Both axes in powers of two, and plain numbers on them."""
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", base=2)
    ax.set_xticks(sizes, [str(size) for size in sizes])
    low, high = min([*ratios, 1]) / 1.15, max([*ratios, 1]) * 1.15
    ticks = [tick for tick in TICKS if low <= tick <= high]
    ax.set_yticks(ticks, [f"{tick:g}x" for tick in ticks])
    ax.minorticks_off()
    ax.set_ylim(low, high)


def finish(figure, ax, title):
    """One title, and one legend for all parts below them."""
    with style():
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, color=LIGHT.ink)
        handles, labels = ax.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=len(labels), frameon=False,
                      fontsize=8.5, labelcolor=LIGHT.ink)  # fmt: skip


def ragged_figure(beside, shares):
    """Left: training steps beside torch.nn's. Right: time by the share of real steps."""
    figure, parts = grid(1, 2, width=5.1, height=3.3)
    left, right = parts[0]
    kinds, names = [row["layer"] for row in beside], list(beside[0]["seconds"])
    shades = (LIGHT.palette[0], LIGHT.palette[1], LIGHT.baseline)
    for place, (name, shade) in enumerate(zip(names, shades, strict=True)):
        at = [row + 0.27 * (place - 1) for row in range(len(kinds))]
        took = [1e3 * row["seconds"][name] for row in beside]
        bars = left.barh(at, took, height=0.24, color=shade, label=CALLED[name])
        left.bar_label(bars, [f"{ms:.3g}" for ms in took], padding=3, fontsize=8, color=LIGHT.ink)
    left.set_yticks(range(len(kinds)), [kind.upper() for kind in kinds])
    left.invert_yaxis()
    left.margins(x=0.14)
    dress(left, LIGHT, "A training step on ragged sequences", x="milliseconds", grid="x")
    chosen = colours(kinds)
    for kind, (pattern, mark, dash) in product(kinds, PATTERNS):
        shown = [row for row in shares if (row["layer"], row["pattern"]) == (kind, pattern)]
        full = next(row["seconds"] for row in shown if row["share"] == 1)
        points = ([100 * r["real"] for r in shown], [100 * r["seconds"] / full for r in shown])
        right.plot(*points, dash, marker=mark, markersize=4, linewidth=1.2, color=chosen[kind],
                   label=f"{kind.upper()}, {pattern}")  # fmt: skip
    right.plot([0, 100], [0, 100], color=LIGHT.ink, linewidth=0.8, label="proportional")
    right.set(xlim=(0, 104), ylim=(0, None))
    dress(right, LIGHT, "Time by the share of real steps", x="real steps, %",
          y="time, % of that without padding")  # fmt: skip
    for ax in (left, right):
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8,
                  labelcolor=LIGHT.ink)  # fmt: skip
    return figure


CALLED = {OURS: "throughtime,\nwith mask", PACKED: "torch.nn,\npacked",
          "padding": "torch.nn,\npadding\nas data"}  # fmt: skip
PATTERNS = (("right", "o", "-"), ("holes", "x", ":"))


def streaming_figure(rows):
    """The median of each as a bar, a line on to the 99th percentile."""
    sizes = list(dict.fromkeys((row["hidden"], row["input"]) for row in rows))
    kinds = list(dict.fromkeys(row["layer"] for row in rows))
    lines = len(rows) / len(sizes) + 0.6 * len(kinds)
    figure, parts = grid(1, len(sizes), width=5.2, height=0.22 * lines + 0.9)
    end = max(row["p99"] for row in rows)
    for (hidden, features), ax in zip(sizes, parts[0], strict=True):
        shown = [row for row in rows if (row["hidden"], row["input"]) == (hidden, features)]
        places = [number + 0.6 * kinds.index(row["layer"]) for number, row in enumerate(shown)]
        for place, row in zip(places, shown, strict=True):
            colour = LIGHT.palette[0] if row["name"] == OURS else LIGHT.baseline
            median, p99 = row["median"], row["p99"]
            ax.barh(place, median, height=0.7, color=colour, alpha=0.85)
            ax.plot([median, p99], [place, place], color=LIGHT.ink, linewidth=0.9)
            ax.annotate(f"{median:.3g} – {p99:.3g}", (p99, place), xytext=(4, 0),
                        textcoords="offset points", va="center", fontsize=8,
                        color=LIGHT.ink)  # fmt: skip
        ax.set_yticks(places, [f"{row['layer'].upper()}  {row['name']}" for row in shown])
        ax.set_xscale("log")
        ax.set_xlim(1, 3 * end)
        ticks = [tick for tick in (1, 3, 10, 30, 100, 300, 1000, 3000) if tick < 3 * end]
        ax.set_xticks(ticks, [str(tick) for tick in ticks])
        ax.minorticks_off()
        ax.invert_yaxis()
        dress(ax, LIGHT, f"One step, {hidden} units, {features} features",
              "median, and a line to the 99th percentile", x="microseconds",
              grid="x")  # fmt: skip
    return figure


def generation_figure(rows):
    """Tokens a second as bars, ours in colour."""
    sizes = list(dict.fromkeys((row["layers"], row["width"]) for row in rows))
    figure, parts = grid(1, len(sizes), width=5.2, height=0.26 * len(rows) / len(sizes) + 0.9)
    for (layers, width), ax in zip(sizes, parts[0], strict=True):
        shown = [row for row in rows if (row["layers"], row["width"]) == (layers, width)]
        colours_of = [LIGHT.palette[0] if r["name"].startswith("throughtime") else LIGHT.baseline
                      for r in shown]  # fmt: skip
        rates = [row["rate"] for row in shown]
        bars = ax.barh(range(len(shown)), rates, height=0.7, color=colours_of)
        ax.bar_label(bars, [f"{rate:,.0f}" for rate in rates], padding=3, fontsize=8,
                     color=LIGHT.ink)  # fmt: skip
        ax.set_yticks(range(len(shown)), [row["name"] for row in shown])
        ax.invert_yaxis()
        ax.margins(x=0.14)
        dress(ax, LIGHT, f"{layers} layers of {width}", x="tokens a second", grid="x")
    return figure
