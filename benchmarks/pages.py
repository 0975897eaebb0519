"""Fill the tables of the guide, in both languages, from what was measured last.

`python -m benchmarks.pages` writes each table between its marks, so that no figure is copied by
hand; where nothing was measured, the place stays as it is.
"""

import json
import re
from functools import partial
from pathlib import Path

from benchmarks import (
    classification,
    drop_in,
    generation,
    long_dependencies,
    pairs,
    recompute,
    record,
    recurrence_rates,
    reversal,
    shakespeare,
    taps,
    transformer,
    translation,
    truncation,
    vision,
)
from benchmarks.streaming import CLOCK
from throughtime.commands.peers import OURS, PACKED
from throughtime.inspect import LongDependencies

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [
    (language, DOCS / folder / name)
    for language, folder in (("en", ""), ("ko", "ko"))
    for name in ("benchmarks.md", "kernels.md", "results.md")
]
PLACE = re.compile(r"(<!-- table (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
KOREAN = {
    "layer": "레이어",
    "times": "배",
    "type": "자료형",
    "training": "학습",
    "inference": "추론",
    "batch": "배치",
    "steps": "스텝",
    "kept": "붙잡아 둠",
    "recomputed": "다시 계산",
    "slowest": "가장 느린 경우",
    "padding": "패딩",
    "off, right": "벗어남, 오른쪽",
    "off, holes": "벗어남, 구멍",
    "through": "무엇으로",
    "to CTranslate2": "CTranslate2 대비",
    "layers x width": "층 x 너비",
    "trained by": "학습한 것",
    "characters/s": "글자/초",
    "ours is": "우리 것은",
    "share of peak": "최고 속도 대비",
    "model": "모델",
    "parameters": "매개변수",
    "updates": "갱신",
    "processor, s": "프로세서, 초",
    "windows of 64, nats": "64글자 창, 나트",
    "stream, nats": "스트림, 나트",
    "published transformer": "발표된 트랜스포머",
    "published LSTM": "발표된 LSTM",
    "published Transformer": "발표된 트랜스포머",
    "published tiny Transformer": "발표된 작은 트랜스포머",
    "published BiGRU with attention": "발표된, 어텐션이 있는 BiGRU",
    "processor, min": "프로세서, 분",
    "learning rate": "학습률",
    "seeds solved": "푼 시드",
    "error": "오차",
    "rows right, %": "맞힌 행, %",
    "gradient at T/2": "T/2에서의 그래디언트",
    "accuracy, %": "정확도, %",
    "macro F1, %": "매크로 F1, %",
    "log loss": "로그 손실",
    "throughtime, images/s": "throughtime, 이미지/초",
    "hand-written, images/s": "손으로 쓴 것, 이미지/초",
    "torch.nn, images/s": "torch.nn, 이미지/초",
    "to hand-written": "손으로 쓴 것 대비",
    "to torch.nn": "torch.nn 대비",
    "published LSTM-FCN": "발표된 LSTM-FCN",
    "published dynamic time warping": "발표된 동적 시간 정합",
    "published BiLSTM": "발표된 BiLSTM",
    "published self-attention": "발표된 셀프 어텐션",
    "published logistic regression, n-grams": "발표된, n-그램의 로지스틱 회귀",
    "published vision Transformer of 210,000": "발표된, 매개변수 21만의 비전 트랜스포머",
    "published recurrent over rows": "발표된, 행을 읽는 순환 신경망",
    "words wrong, %": "틀린 단어, %",
    "phonemes wrong, %": "틀린 음소, %",
    "data": "데이터",
    "answers right, %": "맞은 답, %",
    "letters wrong, %": "틀린 글자, %",
    "order counts, %": "순서의 몫, %",
    "reversal": "뒤집기",
    "copy": "베끼기",
    "tokens/s": "토큰/초",
    "to transformers": "transformers 대비",
    "to torch.nn cells": "torch.nn 셀 대비",
    "vocabulary": "어휘",
    "decoding": "디코딩",
    "machine": "기계",
    "processor": "프로세서",
    "cores": "코어",
    "threads": "스레드",
    "date": "날짜",
    "vector instructions": "벡터 명령",
    "kernel instructions": "커널의 명령",
    "peak, GFLOP/s": "최고 속도, GFLOP/s",
    "nats": "나트",
    **{f"bias, % at {w}": f"편향, %, 창 {w}" for w in truncation.WINDOWS},
    "bias, %": "편향, %",
    "window for 5 %": "5 %를 위한 창",
    "cosine": "코사인",
    "norm": "크기",
    "+-": "±",
    "pooled, %": "모아서, %",
    "recurrent weights, %": "순환 가중치, %",
    "expected, %": "예상, %",
    "update, ms": "갱신, ms",
    **{f"{kind}, before": f"{kind}, 학습 전" for kind in ("rnn", "lstm", "gru")},
    **{f"{kind}, after": f"{kind}, 학습 뒤" for kind in ("rnn", "lstm", "gru")},
    "recurrence": "순환",
    "case": "경우",
    "pass": "계산",
    "torch.nn, ms": "torch.nn, ms",
    "torch_nn, ms": "torch_nn, ms",
    "differ by": "차이",
    "weights times": "가중치의 배수",
    "spectral radius": "스펙트럼 반경",
    "largest singular value": "가장 큰 특잇값",
    "fitted rate": "맞춘 비율",
    "rate / radius": "비율 / 반경",
    "of the product": "곱의 비율",
    "gradient": "기울기",
    "linear": "선형",
    "training step": "학습 스텝",
    "recorded": "기록한 것",
    "to as it is": "as it is 대비",
    "LSTM of 128": "너비 128의 LSTM",
    "4 blocks of 128": "너비 128의 블록 넷",
}
HEADS = {"window": "창", "after": "뒤"}
"""Of columns alone: a row may be named after the model `window`."""


def machine(found):
    """Where and with what."""
    about = found["machine"]
    keys = ("date", "processor", "cores", "threads", "vector instructions", "kernel instructions")
    rows = [*((key, about[key]) for key in keys)]
    rows += [(name, about[name]) for name in ("python", "torch", "jax", "throughtime")]
    for dtype, rates in found["peaks"].items():
        for way in dict.fromkeys(name.split()[0] for name in rates):
            best = max(rate for name, rate in rates.items() if name.split()[0] == way)
            rows.append((f"peak, GFLOP/s, {dtype}, {way}", f"{best / 1e9:.0f}"))
    return ["machine", ""], [[name, str(value)] for name, value in rows]


def means(found):
    """Geometric means and the slowest case."""
    header = ["type", "layer", "training", "slowest", "inference", "slowest"]
    rows = []
    for dtype, kind in dict.fromkeys((m["dtype"], m["layer"]) for m in found["means"]):
        cells = [dtype, kind]
        for what in ("training", "inference"):
            case = {"dtype": dtype, "layer": kind, "pass": what}
            (mean,) = [m["times"] for m in found["means"] if case.items() <= m.items()]
            least = min((r for r in found["rows"] if case.items() <= r.items()), key=by_times)
            where = f"H={least['hidden']} B={least['batch']}"
            cells += [record.times(mean), f"{record.times(least['times'])} ({where})"]
        rows.append(cells)
    return header, rows


def by_times(row):
    return row["times"]


def grid(found, dtype, what):
    """Times faster than torch.nn and share of the peak: a row per size, a column per batch."""
    rows = [r for r in found["rows"] if (r["dtype"], r["pass"]) == (dtype, what)]
    batches = sorted({row["batch"] for row in rows})
    lines = []
    for kind, hidden in dict.fromkeys((row["layer"], row["hidden"]) for row in rows):
        cells = {
            row["batch"]: record.Number(
                f"{record.times(row['times'])} ({record.percent(row['share'])})"
            )
            for row in rows
            if (row["layer"], row["hidden"]) == (kind, hidden)
        }
        lines.append([f"{kind} {hidden}", *(cells.get(batch, "–") for batch in batches)])
    return ["layer", *(f"batch {batch}" for batch in batches)], lines


def ragged(found):
    """Training steps, and the distance from proportion."""
    header = ["layer", f"{OURS}, ms", f"{PACKED}, ms", "padding, ms", "times", "off, right",
              "off, holes"]  # fmt: skip
    rows = []
    for row in found["beside"]:
        took = [record.milliseconds(row["seconds"][n]) for n in (OURS, PACKED, "padding")]
        off = [found["fits"][f"{row['layer']} {p}"]["proportional"] for p in ("right", "holes")]
        rows.append([row["layer"], *took, record.times(row["times"][PACKED]),
                     *map(record.percent, off)])  # fmt: skip
    return header, rows


def streaming(found):
    """Median and 99th percentile, microseconds: a column per layer, 128 features."""
    rows = [r for r in found["rows"] if r["input"] == r["hidden"] and r["name"] != CLOCK]
    kinds = list(dict.fromkeys(row["layer"] for row in rows))
    lines = {}
    for row in rows:
        way = row["name"].replace(row["layer"].upper(), "…")
        shown = record.Number(f"{record.short(row['median'])} / {record.short(row['p99'])}")
        lines.setdefault(way, {})[row["layer"]] = shown
    return ["through", *kinds], [
        [way, *(cells.get(kind, "–") for kind in kinds)] for way, cells in lines.items()
    ]


def generated(found):
    """Tokens a second: a row per way, two columns per size."""
    sizes = list(dict.fromkeys((row["layers"], row["width"]) for row in found["rows"]))
    lines = {}
    for row in found["rows"]:
        ratio = generation.ratio(found["rows"], row)
        lines.setdefault(row["name"], {})[row["layers"], row["width"]] = (
            record.Number(f"{row['rate']:,.0f}"),
            record.Number("" if ratio is None else record.times(ratio)),
        )
    header = ["through"]
    for layers, width in sizes:
        header += [f"{layers} layers of {width}, tokens/s", "to CTranslate2"]
    nothing = (record.Number("–"), record.Number(""))
    rows = [
        [way, *(cell for size in sizes for cell in cells.get(size, nothing))]
        for way, cells in lines.items()
    ]
    return header, rows


def of_pairs(what):
    """Models of pairs beside what was published."""
    return lambda found: pairs.lines(what, found["found"], found["baselines"])


def remembering(found):
    """Who solves the adding problem, and how much of the gradient arrives."""
    return long_dependencies.lines(LongDependencies.from_json(json.dumps(found["found"])))


def of_classes(what):
    """Classifiers beside what was published."""
    return lambda found: classification.lines(what, found["found"], found["baselines"])


TABLES = {
    "machine": ("recurrent", machine),
    "means": ("recurrent", means),
    "training": ("recurrent", lambda found: grid(found, "float32", "training")),
    "inference": ("recurrent", lambda found: grid(found, "float32", "inference")),
    "ragged": ("ragged", ragged),
    "streaming": ("streaming", streaming),
    "busy": ("recurrent-busy", means),
    "recompute": ("recompute", recompute.lines),
    "generation": ("generation", generated),
    "transformer": ("transformer", transformer.lines),
    "shakespeare": ("shakespeare", lambda found: shakespeare.lines(found["found"])),
    "reversal": ("reversal", lambda found: reversal.lines(found["found"])),
    "pairs-pronunciation": ("pairs-pronunciation", of_pairs("pronunciation")),
    "pairs-korean": ("pairs-korean", of_pairs("korean")),
    "pairs-de-en": ("pairs-de-en", of_pairs("de-en")),
    "pairs-en-de": ("pairs-en-de", of_pairs("en-de")),
    "classes-speakers": ("classes-speakers", of_classes("speakers")),
    "classes-reviews": ("classes-reviews", of_classes("reviews")),
    "classes-clothing": ("classes-clothing", of_classes("clothing")),
    "vision": ("vision", vision.lines),
    "translation": ("translation", lambda found: translation.beside(found["rows"])),
    "long-dependencies": ("long-dependencies", remembering),
    "truncation": ("truncation", lambda found: truncation.lines(found["found"])),
    "truncation-all": ("truncation", lambda found: truncation.all_lines(found["found"])),
    "recurrence-rates": ("recurrence-rates", lambda f: recurrence_rates.lines(f["found"])),
    "taps": ("taps", taps.lines),
    **{
        f"drop-in-{part}": ("drop-in", partial(drop_in.lines, part=part))
        for part in ("layers", "packed", "cells", "examples", "resemblyzer")
    },
}


def fill(text, language, folder=record.RESULTS):
    """A page with its tables as measured."""

    def table(place):
        source, make = TABLES[place[2]]
        file = folder / f"{source}.json"
        if not file.exists():
            return place[0]
        header, rows = make(json.loads(file.read_text(encoding="utf-8")))
        if not rows:
            return place[0]
        if language == "ko":
            header = [HEADS.get(name) or translate(name) for name in header]
            rows = [[translate(row[0]), *row[1:]] for row in rows]
        return f"{place[1]}\n{record.table(header, rows)}\n{place[3]}"

    return PLACE.sub(table, text)


def translate(words):
    """Parts between commas in Korean, where there is a word; also `batch 8`."""
    whole = KOREAN.get(words)
    if whole:
        return whole
    start = next((name for name in KOREAN if words.startswith((f"{name} ", f"{name}, "))), None)
    return words if start is None else KOREAN[start] + words[len(start) :]


def main():
    for language, path in PAGES:
        before = path.read_text(encoding="utf-8")
        after = fill(before, language)
        path.write_text(after, encoding="utf-8")
        print(f"{path.relative_to(DOCS.parent)}: {'filled' if after != before else 'as it was'}")


if __name__ == "__main__":
    main()
