"""Pairs on the command line: data, fit, compare, and answers to lines as they come."""

import gzip
import json
import re
import shutil
import signal
import threading
import time
from typing import Any

import pytest
import torch

from tests.commands.conftest import call, fine, refusal, run_alone, start
from tests.commands.pair_files import TINY, lines, sources, targets, write_pairs
from throughtime.commands.answering import arriving
from throughtime.commands.pages import summary
from throughtime.data.pairs import PairTexts
from throughtime.decoding import Compiled, Sampling, generate, translating
from throughtime.inspect.contents import Column, Row, Table
from throughtime.tasks.pair_baselines import Copy, Nearest, agreement
from throughtime.training.run import load_run

MEASURES = {"parameters", "seconds", "answer", "validation", "nats", "perplexity", "wer", "per"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def two(folder):
    return f"{folder / 'all.num'},{folder / 'all.de'}"


@pytest.fixture(scope="module")
def run(folder):
    fine("fit", folder / "pairs.tsv", *TINY, "--out", folder / "run")
    return folder / "run"


# -- data, fit, compare ----------------------------------------------------------------------------


def test_data_on_pairs(folder, two):
    for path in (folder / "pairs.tsv", two):
        found = json.loads(fine("data", path, "--tokens", "characters,words", "--json"))
        assert sum(found["parts"].values()) == 150
        assert found["units"] == {"source": "characters", "target": "words"}
    assert "105 pairs" in fine("data", two, "--tokens", "words")


def test_what_is_built_in():
    found = fine("data", "numerals", "--tokens", "characters,words")
    assert "31 words (target)" in found


def test_a_run_on_pairs_is_plain_files(run):
    config = json.loads((run / "config.json").read_text())
    assert config["data"]["task"] == "translate"
    assert config["data"]["measure"] == "wer"
    assert config["model"]["source_tokens"] > 0
    assert json.loads((run / "vocabulary.json").read_text())["joint"] is False
    page = (run / "report.html").read_text()
    assert "What the models answered" in page
    assert "among its worst" in page
    assert "the target of the most similar source" in page
    assert "lower is better" in page


def test_every_option_of_pairs_reaches_the_run(two, tmp_path):
    fine(
        "fit", two, "--model", "transformer", "--steps", 2, "--width", 8, "--heads", 2, "--tokens",
        "words", "--joint", "--untied", "--split", "0.8,0.1,0.1", "--measure", "wer", "--longest",
        40, "--encoder", "gru", "--encoder-layers", 1, "--smoothing", 0.2, "--scheduled", 0.3,
        "--average", 2, "--schedule", "inverse_root", "--warmup", 9, "--stop-on", "per",
        "--form", "NFC", "--direction", "num-de", "--quiet", "--out", tmp_path / "run",
    )  # fmt: skip
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    data, model, training = config["data"], config["model"], config["training"]
    assert (data["joint"], data["measure"], data["longest"]) == (True, "wer", 40)
    assert (data["form"], data["direction"]) == ("NFC", "num-de")
    assert (model["encoder"], model["encoder_layers"], model["smoothing"]) == ("gru", 1, 0.2)
    assert (model["tied"], model["shared"]) == (False, True)
    assert (training["scheduled"], training["average"], training["warmup"]) == (0.3, 2, 9)
    assert (training["schedule"], training["measure"]) == ("inverse_root", "per")
    assert [*json.loads(fine("predict", tmp_path / "run", "--json", stdin="100\n"))] == [
        "source", "answers",
    ]  # fmt: skip


def test_compare_pairs(two, tmp_path):
    out = tmp_path / "out"
    outcome = call(
        "compare", two, "--tokens", "words", "--split", "0.8,0.1,0.1", "--models",
        "gru,transformer", "--seeds", 1, "--steps", 3, "--parameters", 8000, "--tokenize", "char",
        "--out", out, "--json",
    )  # fmt: skip
    assert outcome.code in (0, None), outcome
    found = json.loads(outcome.out)
    assert found == json.loads((out / "results.json").read_text())
    assert [*found["models"]] == ["gru", "transformer", "copy", "nearest"]
    for name, model in found["models"].items():
        (measured,) = model["metrics"]
        assert 0 <= measured["bleu"] <= 100
        assert "tok:char" in measured["bleu_signature"]
        assert (
            ("perplexity" in measured)
            == (not model["baseline"])
            == (name in ("gru", "transformer"))
        )
    assert found["models"]["nearest"]["config"] == {"rule": "nearest"}
    page = (out / "report.html").read_text()
    assert "tok:char" in page
    assert "higher is better" in page
    assert "points" in found["summary"][-1] or "no better" in found["summary"][-1]
    assert (out / "gru" / "model.safetensors").is_file()
    assert not (out / "copy").exists()


def test_a_table_shows_a_dash_where_nothing_is_foretold(run):
    again = fine("fit", "--resume", run, "--quiet")
    row = next(line for line in again.splitlines() if "nearest" in line)
    assert row.count("–") == 2
    assert "WER" in again


def test_resumed_where_it_stopped(two, run, tmp_path):
    found = json.loads(fine("fit", "--resume", run, "--quiet", "--json"))
    assert found["steps"] == 4
    assert set(found["metrics"]["lstm"]) >= MEASURES


def test_pairs_of_a_folder_with_parts(tmp_path):
    whole = [*zip(sources(), targets(), strict=True)]
    for part, rows in (("train", whole[:110]), ("dev", whole[110:130]), ("test", whole[130:])):
        for side, name in enumerate(("num", "de")):
            (tmp_path / f"{part}.{name}").write_text(lines(row[side] for row in rows))
    found = json.loads(fine("data", tmp_path, "--direction", "num-de", "--tokens", "words",
                            "--json"))  # fmt: skip
    assert [*found["parts"].values()] == [110, 20, 20]
    named = [f"{tmp_path / part}.num,{tmp_path / part}.de" for part in ("train", "dev", "test")]
    same = fine("data", named[0], "--validation", named[1], "--test", named[2], "--tokens", "words",
                "--json")  # fmt: skip
    assert json.loads(same)["parts"] == found["parts"]


def test_text_of_pairs_is_no_html(tmp_path):
    rows = [f"<b>{one}</b>\t<i>&{two}" for one, two in zip(sources(), targets(), strict=True)]
    (tmp_path / "odd.tsv").write_text(lines(rows))
    fine("fit", tmp_path / "odd.tsv", *TINY[:-1], "--quiet", "--out", tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text()
    assert "&lt;i&gt;&amp;" in page
    assert "<b>1" not in page


# -- baselines and sentences -----------------------------------------------------------------------


def test_baselines_answer_by_their_rule():
    known = PairTexts(["ein Hund", "eine Katze", "ein Hund"], ["a dog", "a cat", "one dog"])
    assert Copy(known).answer(["x"]) == ["x"]
    near = Nearest(known)
    assert near.answer(["Hunde", "Katzen!", "", "字"]) == ["a dog", "a cat", "a dog", "a dog"]
    assert near.answer(known.sources) == ["a dog", "a cat", "a dog"]
    assert agreement("a dog", ["a cat", "a dog"]) == 100 > agreement("a dig", ["a dog"]) > 0
    assert agreement("", [""]) == 100


def test_the_nearest_of_many_is_found_by_its_rare_words():
    many = [f"the same words in every line, and number {at * 7919}" for at in range(3000)]
    near = Nearest(PairTexts(many, many))
    assert near.answer(many[::500]) == many[::500]


@pytest.mark.parametrize(
    ("better", "unit", "values", "said"),
    [
        ("higher", "", (30.0, 20.0), "That is 10.0 points better than the best baseline, b at 20"),
        ("higher", "", (20.0, 30.0), "That is 10.0 points worse than"),
        ("lower", "%", (20.0, 30.0), "That is 10.0 points better than"),
        ("lower", "%", (1.0, 0.0), "That is 1.0 points worse than the best baseline, b at 0"),
        ("lower", "", (20.0, 40.0), "That is 50.0 % better than"),
        ("lower", "", (40.0, 20.0), "That is 100.0 % worse than"),
        ("higher", "", (100.0, 100.0), "That is no better than the best baseline, b at 100"),
    ],
)
def test_sentences_know_which_way_is_better(better, unit, values, said):
    next_best = values[0] + (1 if better == "lower" else -1)
    rows = [Row("a", {"m": values[0]}), Row("c", {"m": next_best})]
    rows += [Row("b", {"m": values[1]}, baseline=True)]
    sentences = summary(Table("t", [Column("m", "M", unit, better=better)], rows), "m", "M")
    assert sentences[0].startswith("Best model: a, M ")
    assert any(one.startswith(said) for one in sentences), sentences


# -- predict ---------------------------------------------------------------------------------------


def test_each_line_has_its_answer_in_order(run, folder):
    asked = [*sources()[:30], "", "5"]
    whole = fine("predict", run, "--max-length", 9, stdin=lines(asked)).splitlines()
    assert len(whole) == 32
    assert whole[30] == ""
    assert whole[31]
    (folder / "asked.txt").write_text(lines(asked))
    small = fine("predict", run, folder / "asked.txt", "--batch", 7, "--max-length", 9)
    assert small.splitlines() == whole
    fine("predict", run, folder / "asked.txt", "--max-length", 9, "--out", folder / "answers.txt")
    assert (folder / "answers.txt").read_text().splitlines() == whole


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_sources_are_read_as_those_of_training(run, tmp_path, end, encoding):
    shutil.copytree(run, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    config["data"]["encoding"] = encoding.removesuffix("-sig")
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    asked = [*sources()[:5], "", "12"]
    (tmp_path / "asked.gz").write_bytes(gzip.compress(end.join(asked).encode(encoding)))
    answers = fine("predict", tmp_path / "run", tmp_path / "asked.gz", "--batch", 3)
    assert answers == fine("predict", run, stdin=lines(asked))


def test_a_stray_carriage_return_ends_no_line(run, tmp_path):
    (tmp_path / "asked").write_bytes(b"1\r2\n34\r\n5\r6")
    found = fine("predict", run, tmp_path / "asked", "--json").splitlines()
    assert [json.loads(line)["source"] for line in found] == ["1\r2", "34", "5\r6"]
    (tmp_path / "asked").write_bytes(b"")
    assert fine("predict", run, tmp_path / "asked") == ""


def test_weights_are_packed_once(run, monkeypatch):
    packed = []
    monkeypatch.setattr(
        translating, "Compiled", lambda model: packed.append(model) or Compiled(model)
    )
    fine("predict", run, "--batch", 2, "--max-length", 3, stdin=lines(sources()[:9]))
    assert len(packed) == 1


def test_a_file_of_answers_is_whole_or_the_old_one(run, tmp_path):
    asked, out = tmp_path / "asked", tmp_path / "new" / "out"
    asked.write_bytes(b"12\n34\n")
    fine("predict", run, asked, "--max-length", 3, "--out", out)
    old = out.read_text()
    assert len(old.splitlines()) == 2
    asked.write_bytes(b"12\n34\n56\n\xff\n")
    (tmp_path / "link").symlink_to(out)
    for path in (out, tmp_path / "link"):
        said = refusal("predict", run, asked, "--batch", 1, "--max-length", 3, "--out", path)
        assert said == f"predict: line 4 of {asked} is not utf-8"
    assert out.read_text() == old
    assert [*out.parent.iterdir()] == [out]
    fine("predict", run, "--max-length", 3, "--out", tmp_path / "link", stdin="12\n")
    assert out.read_text() == old.splitlines()[0] + "\n"
    fine("predict", run, "--max-length", 3, "--out", "/dev/null", stdin="12\n")


def test_answers_in_json(run):
    found = [json.loads(line) for line in fine(
        "predict", run, "--json", "--n-best", 2, "--beams", 3, "--alignment", stdin="123\n\n"
    ).splitlines()]  # fmt: skip
    assert found[1] == {"source": "", "answers": []}
    first, second = found[0]["answers"]
    order = [(answer["ended"], answer["score"]) for answer in (first, second)]
    assert order == sorted(order, reverse=True)
    assert all(answer["log_prob"] < answer["score"] < 0 for answer in (first, second))
    assert found[0]["source_tokens"] == ["1", "2", "3", "<end>"]
    for answer in (first, second):
        assert (answer["target_tokens"][-1] == "<end>") == answer["ended"]
        assert len(answer["alignment"]) == len(answer["target_tokens"])
        assert all(sum(row) == pytest.approx(1, abs=1e-3) for row in answer["alignment"])


def test_several_answers_have_lines_of_their_own(run):
    text = fine("predict", run, "--n-best", 2, "--max-length", 4, stdin="12\n\n34\n")
    rows = [line.split("\t") for line in text.splitlines()]
    assert [row[0] for row in rows] == ["1", "1", "2", "3", "3"]
    assert rows[2] == ["2", "", ""]
    assert all(float(row[1]) < 0 for row in (*rows[:2], *rows[3:]))


def test_what_answers_hold(run):
    text = fine("predict", run, "--prefix", "drei vier", "--require", "neun acht", "--max-length",
                8, stdin="12\n77\n")  # fmt: skip
    for answer in text.splitlines():
        assert answer.startswith("drei vier ")
        assert "neun acht" in answer
    once = fine("predict", run, "--no-repeat", 1, "--max-length", 8, stdin="12\n").split()
    assert len(set(once)) == len(once)


def test_what_was_cut_is_told_once_with_its_number(run):
    outcome = call("predict", run, "--max-length", 1, "--batch", 2, stdin=lines(sources()[:9]))
    assert outcome.code in (0, None)
    said = " ".join(outcome.err.split())
    assert said.count("maximum length") == 1
    assert re.search(r"[1-9] of 9 answers were cut at the maximum length, 1 tokens;", said)


def test_one_beam_takes_the_likeliest_token(run):
    """As generation does, which ends where the end is likeliest."""
    loaded: Any = load_run(run)
    known, model = loaded.vocabulary, loaded.model
    asked = sources()[:8]
    options = ("--beams", 1, "--max-length", 30)
    answers = fine("predict", run, *options, stdin=lines(asked)).splitlines()
    for text, answer in zip(asked, answers, strict=True):
        state = model.encode(torch.from_numpy(known.encode_source(text))[None])
        found = generate(
            model.decoder, model.decoder.begin(1), 30, state=state,
            sampling=Sampling(greedy=True), stop=[known.target_end],
        )  # fmt: skip
        assert known.decode_target(found.tokens[0].tolist()) == answer


def test_lines_are_handed_on_as_they_come():
    gate = threading.Event()

    def slow():
        yield from "ab"
        gate.wait(10)
        yield from "cdefg"

    batches = arriving(slow(), 3)
    first = next(batches)
    while len(first) < 2:
        first += next(batches)
    assert first == ["a", "b"]
    gate.set()
    rest = [*batches]
    assert [one for batch in rest for one in batch] == [*"cdefg"]
    assert max(map(len, rest)) <= 3


def test_a_reader_does_not_run_far_ahead():
    read = []

    def endless():
        while True:
            read.append(1)
            yield "x"

    batches = arriving(endless(), 4)
    assert len(next(batches)) <= 4
    time.sleep(0.05)
    assert len(read) <= 10


def test_what_breaks_the_reading_is_raised():
    def broken():
        yield "a"
        raise OSError("gone")

    batches = arriving(broken(), 1)
    assert next(batches) == ["a"]
    with pytest.raises(OSError, match="gone"):
        next(batches)


@pytest.mark.timeout(120)
def test_a_line_is_answered_before_the_next_one_comes(run):
    with start("predict", run, "--max-length", 5) as process:
        for text in ("12", "", "12"):
            process.stdin.write(text + "\n")
            process.stdin.flush()
            assert bool(process.stdout.readline().strip()) == bool(text)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        said = process.stderr.read()
        assert "Traceback" not in said
        assert "Fatal" not in said


@pytest.mark.timeout(120)
def test_a_reader_of_answers_that_leaves_is_no_error(run, tmp_path):
    path = tmp_path / "lines"
    path.write_text("12\n" * 5000)
    with path.open() as asked, start("predict", run, "--batch", 4, stdin=asked) as process:
        assert process.stdout.readline()
        process.stdout.close()
        process.wait()
        assert process.stderr.read() == ""


def test_lines_that_are_not_utf8(run):
    done = run_alone("predict", run, "--max-length", 3, stdin=b"12\n34\n\xff\xfe\n56\n")
    assert done.code == 2
    assert done.err == "throughtime: predict: line 3 of standard input is not utf-8\n"
    assert len(done.out.splitlines()) == 2


def test_streaming_is_not_for_pairs(run):
    said = refusal("stream", run, stdin="12\n")
    assert said.endswith(f"throughtime predict {run} answers them line by line")
