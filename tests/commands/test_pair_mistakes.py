"""What beginners get wrong with pairs: one line that says so, exit status 2, no traceback."""

import builtins
import gzip
import json
import shutil

import pytest

from tests.commands.conftest import call, refusal
from tests.commands.pair_files import TINY, lines, sources, targets, write_pairs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def pairs(folder):
    return folder / "pairs.tsv"


@pytest.fixture(scope="module")
def run(pairs, folder):
    done = call("fit", pairs, *TINY, "--out", folder / "run")
    assert done.code in (0, None), done
    return folder / "run"


@pytest.fixture
def fit(pairs, tmp_path):
    """`fit`, which refuses."""

    def fit(source, *more):
        return refusal("fit", source or pairs, *TINY, "--out", tmp_path / "run-bad", *more)

    return fit


# -- files -----------------------------------------------------------------------------------------


def test_files_of_different_lengths(folder, fit, tmp_path):
    (tmp_path / "less.de").write_text(lines(targets()[:149]))
    said = fit(f"{folder / 'all.num'},{tmp_path / 'less.de'}")
    assert "150" in said
    assert "149" in said


def test_a_line_without_tab(fit, tmp_path):
    rows = [f"{a}\t{b}" for a, b in zip(sources(), targets(), strict=True)]
    rows[70] = "no tab here"
    (tmp_path / "bad.tsv").write_text(lines(rows))
    assert "line 71 of" in fit(tmp_path / "bad.tsv")
    rows[70], rows[3] = rows[3], "no tab here"
    (tmp_path / "bad.tsv").write_text(lines(rows))
    assert "line 4 of" in fit(tmp_path / "bad.tsv", "--task", "translate")


def test_a_file_that_is_missing(folder, fit):
    said = fit(f"{folder / 'all.num'},{folder / 'gone.de'}")
    assert said == f"read_pairs: there is no file {folder / 'gone.de'}"
    said = fit(folder / "all.num")
    assert "or name both files of pairs: train.de,train.en" in said
    said = fit(folder / "all.num", "--task", "translate")
    assert "expected two text files such as train.de,train.en" in said
    assert "there is no such file" in fit(folder / "gone.tsv")


def test_the_same_file_twice(folder, fit):
    twice = fit(f"{folder / 'all.num'},{folder / 'all.num'}")
    assert "was given twice, expected a source and a target" in twice


def test_a_direction_nobody_knows(folder, fit):
    both = f"{folder / 'all.num'},{folder / 'all.de'}"
    assert "direction is de-fr, and the files are all.num and all.de" in fit(
        both, "--direction", "de-fr"
    )
    assert "direction is 'de', expected two names" in fit(both, "--direction", "de")


def test_too_few_pairs_for_the_parts(fit, tmp_path):
    (tmp_path / "few.tsv").write_text("a\tb\nc\td\n")
    assert "few" in fit(tmp_path / "few.tsv", "--split", "0.8,0.1,0.1")
    assert "expected three shares" in fit(None, "--split", "2020-01-01,2020-02-01")


def test_parts_that_are_named_by_halves(folder, fit):
    assert fit(None, "--test", folder / "pairs.tsv") == (
        "validation is not given, expected it beside test"
    )


def test_all_pairs_are_left_out(fit):
    said = fit(None, "--longest", 1)
    assert said.startswith("no pair is left to learn from, dropped were")


def test_what_is_not_about_pairs(folder, fit):
    assert "pairs.tsv is pairs, and targets is for series" in fit(None, "--target", "y")
    (folder / "cat.txt").write_text("the cat sat on the mat. " * 30)
    assert "two of pairs" in fit(folder / "cat.txt", "--tokens", "syllables")
    bare = ("--steps", 2, "--quiet")
    said = refusal("fit", folder / "cat.txt", *bare, "--attention", "none")
    assert said == f"--attention is for pairs, and {folder / 'cat.txt'} is text"
    said = refusal("fit", folder / "cat.txt", *bare, "--stop-on", "bleu")
    assert said.startswith("--stop-on is for pairs")


def test_a_table_of_series_stays_one(folder):
    rows = [f"2020-01-{day:02d}\t{day % 5}" for day in range(1, 31)]
    (folder / "days.tsv").write_text(lines(["date\ty", *rows]))
    outcome = call("data", folder / "days.tsv", "--json")
    assert "targets" in json.loads(outcome.out), outcome


# -- options ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--joint",), "tokens is 'characters,words', expected one kind where joint"),
        (("--tokens", "words,bytes,bpe"), "or two of pairs, such as characters,words"),
        (("--model", "window"), "--model: window is not for pairs, expected rnn, lstm, gru"),
        (("--measure", "rouge"), "measure is 'rouge', expected one of bleu, wer"),
        (("--stop-on", "bleu"), "--stop-on is bleu, expected loss, wer or per with --measure wer"),
        (("--stop-on", "rouge"), "measure is 'rouge', expected one of loss, bleu"),
        (("--measure", "bleu", "--tokenize", "klingon"), "tokenize is 'klingon', expected one of"),
        (("--window", 8), "--window is for series and text, and"),
        (("--head", "normal"), "--head is for series, and"),
        (("--encoder", "window"), "encoder is 'window', expected one of"),
        (("--attention", "some"), "attention is 'some', expected one of"),
        (("--model", "transformer", "--attention", "none"), "--attention is for a recurrent model"),
        (("--smoothing", 1), "smoothing is 1.0, expected a probability in [0, 1)"),
        (("--scheduled", 2), "scheduled is 2.0, expected at most 1"),
        (("--schedule", "inverse_root"), "warmup is 0, expected at least 1 with schedule inverse"),
        (("--average", 0), "average is 0, expected at least 1"),
        (("--longest", 0), "longest is 0, expected at least 1 token"),
        (("--form", "NFX"), "NFX"),
        (("--heads", 2), "--heads is for a transformer, and none is asked for"),
        (("--task", "forecast"), "pairs.tsv"),
    ],
)
def test_options_that_cannot_be(fit, options, said):
    assert said in fit(None, *options)


def test_a_recipe_is_for_its_own_data(pairs, tmp_path):
    out = ("--quiet", "--out", tmp_path / "run", "--tokens", "words")
    said = refusal("fit", pairs, *out, "--recipe", "ptb-small-lstm")
    assert said == "ptb-small-lstm is for text cut into words: --tokens words"
    said = refusal("fit", pairs, *out, "--recipe", "ptb-small-lstm", "--encoder-layers", 2)
    assert said.endswith("says what the model is: no --encoder-layers")


def test_compare_without_a_model_of_pairs(pairs):
    said = refusal("compare", pairs, "--models", "lstm,window", "--tokens", "words", "--quiet")
    assert said == "--models: window is not for pairs, expected rnn, lstm, gru, transformer"


def test_bleu_without_sacrebleu(pairs, tmp_path, monkeypatch):
    really = builtins.__import__

    def without(name, *args, **options):
        if name.partition(".")[0] == "sacrebleu":
            raise ImportError(name)
        return really(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    for more in ((), ("--stop-on", "bleu")):
        said = refusal("fit", pairs, *TINY, "--measure", "bleu", *more, "--out", tmp_path / "run")
        assert said == "bleu needs sacrebleu: pip install 'throughtime[translate]'"
        assert not (tmp_path / "run").exists()  # before anything was trained


# -- runs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--beams", 0), "--beams is 0, expected at least 1"),
        (("--beams", 10**12), "--beams is 1000000000000, expected at most 1,000"),
        (("--max-length", 10**15), "--max-length is 1000000000000000, expected at most 100,000"),
        (("--batch", 10**20), f"--batch is {10**20}, expected at most 1,000,000"),
        (("--n-best", 6), "--n-best is 6, expected at most --beams 5"),
        (("--max-length", 0), "--max-length is 0, expected at least 1"),
        (("--no-repeat", -1), "--no-repeat is -1, expected at least 0"),
        (("--batch", 0), "--batch is 0, expected at least 1"),
        (("--length-penalty", 9), "--length-penalty is 9.0, expected -5 to 5"),
        (("--alignment",), "--alignment is part of JSON, expected --json beside it"),
        (("--require", "Haus"), "--require is 'Haus', which has tokens that no target of the"),
        (("--require", " "), "--require is '', expected text"),
        (("--prefix", "Haus"), "--prefix is 'Haus', which has tokens that no target"),
        (
            ("--prefix", "eins zwei", "--max-length", 1),
            "--max-length is 1, expected at least",
        ),
        (("--temperature", 0.5), "predict: a run on pairs takes no --temperature"),
        (("--greedy",), "predict: a run on pairs takes no --greedy; give --beams 1"),
        (("--prompt", "12"), "takes no --prompt; give sources on standard input, or --prefix"),
        (("--horizon", 3), "predict: a run on pairs takes no --horizon"),
        (("--seed", 3), "predict: a run on pairs takes no --seed"),
    ],
)
def test_options_of_answers_that_cannot_be(run, options, said):
    assert said in refusal("predict", run, *options, stdin="12\n")


def test_sources_that_are_not_there(run, folder):
    gone = refusal("predict", run, folder / "gone.txt")
    assert gone == f"predict: {folder / 'gone.txt'}: there is no such file of one source per line"
    assert "is a folder, expected a text file" in refusal("predict", run, folder)
    (folder / "latin.txt").write_bytes("12\nfünf\n".encode("latin-1"))
    said = refusal("predict", run, folder / "latin.txt")
    assert said == f"predict: line 2 of {folder / 'latin.txt'} is not utf-8"


def test_sources_that_are_not_whole(run, tmp_path):
    asked = tmp_path / "asked.gz"
    whole = gzip.compress(lines(sources()).encode())
    for data in (whole[:-9], whole[:40], whole[:20] + b"\xff" * 30, b"12\n"):
        asked.write_bytes(data)
        said = refusal("predict", run, asked, "--max-length", 2)
        assert said.startswith(f"predict: {asked} is not whole gzip (")


def test_answers_into_the_file_of_the_sources(run, tmp_path):
    asked, link = tmp_path / "asked", tmp_path / "link"
    asked.write_text("12\n")
    link.symlink_to(asked)
    for out in (asked, link):
        said = refusal("predict", run, asked, "--out", out)
        assert said == f"--out {out} is the file of the sources, expected another one"
    assert asked.read_text() == "12\n"


def test_options_of_pairs_on_other_runs(runs):
    for name in ("text", "series"):
        said = refusal("predict", runs[name], "--beams", 3)
        assert said == f"predict: a run on {name} takes no --beams"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"joint": 3', "vocabulary.json: damaged, it is not JSON of a vocabulary"),
        ('{"joint": true}', "PairVocabulary: the JSON text does not hold vocabularies of pairs"),
        ('{"format": 99, "joint": true}', "comes from a newer version"),
        ('{"format": 1, "kind": "characters", "tokens": ["a"]}', "of a text"),
    ],
)
def test_a_damaged_vocabulary(run, tmp_path, text, said):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "vocabulary.json").write_text(text)
    assert said in refusal("fit", "--resume", tmp_path / "run")
    if said != "of a text":
        assert said in refusal("predict", tmp_path / "run", stdin="12\n")
