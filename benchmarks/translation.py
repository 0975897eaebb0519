"""Sequence to sequence, greedily and by beams: `python -m benchmarks.translation --threads 1`.

A Transformer through ours, Hugging Face transformers and CTranslate2, where they are installed, and
recurrent models through ours and a loop over torch.nn's cells: the same weights, one after the
other in every round. Beside the rates stand floors: what it takes to read the weights once per step
and what is remembered once per token, as fast as this machine reads so much; and what it takes to
multiply, at the rate of a large product.

What the libraries mean by the best of a beam differs. A length penalty of 0 makes it the log
probability everywhere. Then CTranslate2 stops at the first step whose best candidate ends, ours as
soon as no hypothesis that goes on is likelier than the best that ended, transformers with
`early_stopping="never"` as soon as none is likelier than four that did: the best is the same. At
the last step both peers let what has not ended compete, ours only where nothing ended.
"""

import argparse
import importlib.metadata
import time
from typing import Any

import torch

from benchmarks import charts, record
from benchmarks import translators as through
from benchmarks.cells import by_hand
from benchmarks.generation import memory_rate
from benchmarks.generators import installed
from benchmarks.translators import HORIZON, Size, Task
from throughtime.commands.clocks import in_turn, matrix_rates
from throughtime.inspect.drawing import dress
from throughtime.inspect.theme import LIGHT

TRANSFORMER = Size(3, 256, 4, 1024, 8000)
RECURRENT = tuple(Size(2, 256, 4, 1024, tokens) for tokens in (40, 8000))
SMALL = Size(1, 64, 4, 128, 200)
LENGTHS = {"20 tokens": (20, 20), "4 to 36 tokens": (4, 36)}
OURS, PEERS = "throughtime", ("transformers", "CTranslate2", "torch.nn cells")
AS_TRANSLATE = f"{OURS}, as translate"


def sources_of(count, form, tokens):
    """Random sentences, their lengths spread evenly and in random order; none holds an end."""
    least, most = LENGTHS[form]
    lengths = torch.linspace(least, most, count).round().long()[torch.randperm(count)]
    return [torch.randint(1, tokens, (int(n),)).tolist() for n in lengths]


def cases(given):
    """Batch, form of the sources, and task."""
    for beams in (1, 4):
        for batch, form in ((1, "20 tokens"), (32, "20 tokens"), (32, "4 to 36 tokens")):
            yield batch, form, Task(beams, given.steps)
        yield 32, "4 to 36 tokens", Task(beams, HORIZON, ends=True)


# Floors


def floors(model, sources, written, task, peak):
    """The least seconds by memory and by arithmetic of an encoder-decoder."""

    def matrices(part, *, only=None):
        return sum(
            weight.numel()
            for name, weight in part.named_parameters()
            if weight.ndim == 2 and (only is None or any(word in name for word in only))
        )

    body, head, width = model.decoder.body, model.head, model.source.output_size
    once = matrices(body, only=("weight_memory", "weight_key", "weight_bridge"))
    each = matrices(body) - once + head.size * width
    # Features a step of the past, and of the source, that a hypothesis looks at.
    past = 2 * width * len(through.blocks_of(body))
    looked = past or 3 * width
    steps, read = max(map(len, written)), [] if task.encoded else sources
    encoder = matrices(model.encoder) + once if read else 0
    products = sum(encoder * len(source) + past * len(source) ** 2 for source in read)
    kept = 0
    for source, row in zip(sources, written, strict=True):
        rows = 1 + task.beams * (len(row) - 1)  # there is one hypothesis at first
        before = (len(row) + 1) / 2
        products += rows * (each + past * before + looked * len(source))
        kept += rows * past * before + len(row) * looked * len(source)
    size = 4 * (each + kept / steps)
    total = 4 * encoder + steps * size
    reading = memory_rate(int(size))
    return {"bytes": total, "reading": reading, "memory": total / reading,
            "products": products, "arithmetic": 2 * products / peak}  # fmt: skip


# Measuring


def faster_cache(made, sources, task):
    """The cache of transformers that takes less time; None is its own choice, a dynamic one."""
    took = {}
    for name in (None, "static"):
        run = made(sources, task, name)
        run()
        started = time.perf_counter()
        run()
        took[name] = time.perf_counter() - started
    return min(took, key=took.__getitem__)


def timed(runs, model, sources, task, given, peak, about):
    """A row for each way, with what all rows of the case share."""
    written = {name: run() for name, run in runs.items()}
    expected = written[OURS]
    floor = floors(model, sources, expected, task, peak)
    times = in_turn(runs, seconds=given.seconds, least=given.rounds)
    for name, taken in times.items():
        count = sum(map(len, written[name]))
        yield {
            **about, "search": "greedy" if task.beams == 1 else f"beam {task.beams}",
            "batch": len(sources), "ends": task.ends, "encoded": task.encoded, "name": name,
            "rate": count / taken.median,
            "quartiles": [count / taken.quantile(q) for q in (0.75, 0.25)],
            "rounds": len(taken.seconds), "tokens": count,
            "same": sum(a == b for a, b in zip(written[name], expected, strict=True)),
            "floor": {
                **floor, "rate by memory": count / floor["memory"],
                "rate by arithmetic": count / floor["arithmetic"],
            },
        }  # fmt: skip


def of_transformer(size, given, peak):
    """Rows of all cases, and how far the libraries agree on other sentences."""
    model = through.transformer_of(size)
    ways: dict[str, Any] = {OURS: through.compiled(model), AS_TRANSLATE: through.translated(model)}
    ways |= through.libraries(model, torch.get_num_threads())
    rows, agreed, caches = [], [], {}
    for one in agreement(model, ways, size, given):
        print(agreement_line(one), flush=True)
        agreed.append(one)
    for batch, form, task in cases(given):
        sources = sources_of(batch, form, size.tokens)
        about = {"model": f"Transformer, {size.layers} + {size.layers} layers of {size.width}",
                 "vocabulary": size.tokens, "sources": form}  # fmt: skip
        runs = {name: made(sources, task) for name, made in ways.items() if name not in PEERS[:1]}
        if PEERS[0] in ways:
            made, of = ways[PEERS[0]], (batch, task.beams)
            if of not in caches:
                caches[of] = faster_cache(made, sources, task)
            about["cache"] = caches[of] or "dynamic"
            runs[PEERS[0]] = made(sources, task, caches[of])
        rows += show(timed(runs, model, sources, task, given, peak, about))
    return rows, agreed


def agreement(model, ways, size, given):
    """Sentences of which each way writes what our layers write, one after the other."""
    sources = sources_of(given.sentences, "4 to 36 tokens", size.tokens)
    groups = [sources[k : k + 32] for k in range(0, len(sources), 32)]
    for ends in (False, True):
        for beams in (1, 4):
            task = Task(beams, HORIZON if ends else given.steps, ends)

            def all_of(made, task=task):
                return [row for group in groups for row in made(group, task)()]

            expected = all_of(through.plain(model))
            for name, made in ways.items():
                found = all_of(made)
                others = [
                    (through.gap(model, *three, beams), three)
                    for three in zip(sources, expected, found, strict=True)
                    if three[1] != three[2]
                ]
                yield {
                    "search": "greedy" if beams == 1 else f"beam {beams}", "ends": ends,
                    "name": name, "of": len(sources), "same": len(sources) - len(others),
                    "gaps": [gap for gap, _ in others],
                    "differ": [(len(one), len(other)) for _, (_, one, other) in others],
                    "ended": sum(through.END in row for row in expected) if ends else None,
                    "lengths": sorted(map(len, expected)),
                }  # fmt: skip


def of_recurrent(cell, size, given, peak):
    """Greedy rows of both batches, with the encoder and without."""
    model = through.recurrent_of(cell, size)
    ways = {OURS: through.compiled(model), PEERS[2]: by_hand(cell, model)}
    about = {"model": f"{cell.upper()}, {size.layers} + {size.layers} layers of {size.width}",
             "vocabulary": size.tokens, "sources": "20 tokens"}  # fmt: skip
    for batch in (1, 32):
        sources = sources_of(batch, "20 tokens", size.tokens)
        for encoded in (False, True):
            task = Task(1, given.steps, encoded=encoded)
            runs = {name: made(sources, task) for name, made in ways.items()}
            yield from show(timed(runs, model, sources, task, given, peak, about))


# Telling


def show(rows):
    """The rows, once each is printed."""
    rows = list(rows)
    for row in rows:
        print(line(row, rows), flush=True)
    return rows


def title(row):
    """A case in words."""
    text = f"{row['search']}, batch {row['batch']}, {row['sources']}"
    return text + ", to the end" * row["ends"] + ", decoder alone" * row["encoded"]


def ratio(rows, row, peer):
    """Times faster than a peer; None where it is not there, or is the row itself."""
    rates = [other["rate"] for other in rows if other["name"] == peer != row["name"]]
    return row["rate"] / rates[0] if rates else None


def line(row, rows):
    """A row in a line of the terminal."""
    text = f"{row['model']}, {row['vocabulary']} tokens; {title(row):44} {row['name']:24}"
    text += f" {row['rate']:8,.0f} tokens/s  same {row['same']:2} of {row['batch']:2}"
    for peer in PEERS:
        times = ratio(rows, row, peer) if row["name"] not in PEERS else None
        text += "" if times is None else f"  {record.times(times)} {peer}"
    if row["name"] in PEERS:
        return text
    floor = row["floor"]
    return text + "".join(f"  {k} {floor[f'rate by {k}']:,.0f}" for k in ("memory", "arithmetic"))


def agreement_line(one):
    """How far one way agrees."""
    lengths = one["lengths"]
    text = f"{one['search']:6} {'to the end' if one['ends'] else 'fixed length':12} "
    text += f"{one['name']:24} same {one['same']} of {one['of']}"
    if one["ends"]:
        text += f", {one['ended']} ended, median of {lengths[len(lengths) // 2]} tokens"
    if one["gaps"]:
        text += f"; those that differ are {min(one['gaps']):.2g} to {max(one['gaps']):.2g} nats off"
    return text


def report(found):
    """The Markdown page."""
    machine, given = found["machine"], found["arguments"]
    peers = [f"{name} {machine[name]}" for name in through.PEERS]
    parts = [
        "# Translation\n",
        f"{record.headline(machine)}; {', '.join(peers)}.\n",
        "Medians of tokens a second, of the best hypotheses alone. The weights are random and the "
        f"same everywhere, in float32. {given['steps']} tokens are written whatever they are, or, "
        f"to the end, until the token of the end and {HORIZON} at most. `throughtime` compiles the "
        "decoder once, `as translate` in every call. "
        "The length penalty is 0; transformers has early_stopping=\"never\" and the cache, dynamic "
        "or static, that is faster. The cells are a loop over torch.nn.LSTMCell and GRUCell with "
        "the same attention. The floor by memory: weights read once per step, keys and values once "
        "per token, as fast as one thread reads so much; by arithmetic: at the rate of a large "
        "product.\n",
    ]  # fmt: skip
    if found["agreement"]:
        parts += [
            "## The same tokens as our layers\n",
            record.table(
                ["search", "outputs", "through", "the same", "of", "ended", "differ by, nats"],
                [(one["search"], "to the end" if one["ends"] else f"{given['steps']} tokens",
                  one["name"], record.Number(one["same"]), record.Number(one["of"]),
                  record.Number("" if one["ended"] is None else one["ended"]),
                  ", ".join(f"{gap:.2g}" for gap in one["gaps"]))
                 for one in found["agreement"]],
            ),
        ]  # fmt: skip
    for model, of in by(found["rows"], lambda row: (row["model"], row["vocabulary"])).items():
        parts.append(f"## {model[0]}, {model[1]:,} tokens\n")
        shown = [peer for peer in PEERS if any(row["name"] == peer for row in of)]
        for case, rows in by(of, title).items():
            floor, cache = rows[0]["floor"], rows[0].get("cache")
            parts += [
                f"{case[0].upper()}{case[1:]}. Floor: {floor['rate by memory']:,.0f} tokens/s by "
                f"memory, {floor['rate by arithmetic']:,.0f} by arithmetic."
                + ("" if cache is None else f" Cache of transformers: {cache}.") + "\n",
                record.table(
                    ["through", "tokens/s", *(f"to {peer}" for peer in shown), "the same, of "
                     f"{rows[0]['batch']}"],
                    [(row["name"], record.Number(f"{row['rate']:,.0f}"),
                      *(record.Number("" if (t := ratio(rows, row, peer)) is None
                                      else record.times(t)) for peer in shown),
                      record.Number(row["same"])) for row in rows],
                ),
            ]  # fmt: skip
    return "\n".join(parts)


def beside(rows):
    """Ours beside each peer, a row per case: what the guide shows."""
    header = ["model", "vocabulary", "decoding", "tokens/s", *(f"to {peer}" for peer in PEERS)]
    lines = []
    for row in rows:
        if row["name"] != OURS:
            continue
        case = [other for other in rows if case_of(other) == case_of(row)]
        times = [ratio(case, row, peer) for peer in PEERS]
        lines.append(
            [row["model"], record.Number(f"{row['vocabulary']:,}"), title(row),
             record.Number(f"{row['rate']:,.0f}"),
             *(record.Number("" if t is None else record.times(t)) for t in times)]
        )  # fmt: skip
    return header, lines


def case_of(row):
    """What rows that stand beside each other have in common."""
    return row["model"], row["vocabulary"], title(row)


def by(rows, key):
    """Rows in groups, in the order in which these come."""
    groups = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def figure_of(rows):
    """Tokens a second as bars: the Transformer, and the recurrent models; ours in colour."""
    kinds = by(rows, lambda row: row["model"].startswith("Transformer"))
    tall = max(len(of) + 1.2 * len(by(of, label)) for of in kinds.values())
    figure, parts = charts.grid(1, len(kinds), width=6.2, height=0.17 * tall + 0.9)
    for of, ax in zip(kinds.values(), parts[0], strict=True):
        places, names, rates, place = [], [], [], 0.0
        for case, shown in by(of, label).items():
            ax.annotate(case, (0, place), xycoords=("axes fraction", "data"), xytext=(3, 0),
                        textcoords="offset points", va="center", **charts.SIZE)  # fmt: skip
            places += [place + 1 + k for k in range(len(shown))]
            names += [row["name"] for row in shown]
            rates += [row["rate"] for row in shown]
            place += len(shown) + 1.2
        shades = [LIGHT.palette[0] if name.startswith(OURS) else LIGHT.baseline for name in names]
        bars = ax.barh(places, rates, height=0.75, color=shades)
        ax.bar_label(bars, [f"{rate:,.0f}" for rate in rates], padding=3, fontsize=7.5,
                     color=LIGHT.ink)  # fmt: skip
        ax.set_yticks(places, names)
        ax.set_ylim(place, -0.7)
        ax.margins(x=0.14)
        first = of[0]
        what = f"{first['model']}, {first['vocabulary']:,} tokens"
        dress(ax, LIGHT, what if label(first) == title(first) else "Recurrent, with attention",
              x="tokens a second", grid="x")  # fmt: skip
    return figure


def label(row):
    """A case in the figure: of recurrent models there are several."""
    if row["model"].startswith("Transformer"):
        return title(row)
    text = f"{row['model']}, {row['vocabulary']:,} tokens, batch {row['batch']}"
    return text + ", decoder alone" * row["encoded"]


def main():
    parser = argparse.ArgumentParser(description="Translation, beside other libraries.")
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--sentences", type=int, default=64, help="to compare outputs on")
    parser.add_argument("--seconds", type=float, default=20.0, help="per case")
    parser.add_argument("--rounds", type=int, default=5, help="per case, at least")
    parser.add_argument("--only", choices=("transformer", "recurrent"))
    parser.add_argument("--small", action="store_true", help="tiny models, to see that it runs")
    record.add_options(parser)
    given = parser.parse_args()
    if not 0 < given.steps <= HORIZON:
        parser.error(f"--steps: {given.steps}, expected 1 to {HORIZON}")
    if given.threads:
        torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    versions = {
        name: importlib.metadata.version(name) if installed(name) else "not installed"
        for name in through.PEERS
    }
    found = {
        "machine": record.versions(**versions),
        "arguments": {k: v for k, v in vars(given).items() if k != "save"},
    }
    print(record.headline(found["machine"]), "\n")
    peak = max(matrix_rates().values())
    with torch.inference_mode():
        size = SMALL if given.small else TRANSFORMER
        found["rows"], found["agreement"] = [], []
        if given.only != "recurrent":
            found["rows"], found["agreement"] = of_transformer(size, given, peak)
        for cell in ("lstm", "gru") if given.only != "transformer" else ():
            for size in (SMALL,) if given.small else RECURRENT:
                found["rows"] += of_recurrent(cell, size, given, peak)
    if given.save:
        record.save(
            given.save, "translation", report(found), found,
            {"translation": figure_of(found["rows"])},
        )  # fmt: skip


if __name__ == "__main__":
    main()
