"""Text on the command line: how it is cut into tokens, and how it is written on."""

import json

import pytest

from tests.commands.conftest import BRIEF, SMALL, call, fine, refusal

BOOK = "the cat sat on the mat é 😀, and 고양이 ran.\n" * 40


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    path = tmp_path_factory.mktemp("book") / "book.txt"
    path.write_text(BOOK, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def pieces(book):
    """A run on pieces of words."""
    out = book.parent / "run"
    done = call("fit", book, *SMALL, "--tokens", "bpe", "--vocabulary", 280, "--out", out, "--json")
    assert done.code in (0, None), done
    return out, json.loads(done.out)


def test_fit_on_pieces_of_words(pieces):
    run, found = pieces
    assert json.loads((run / "vocabulary.json").read_text())["kind"] == "bpe"
    config = json.loads((run / "config.json").read_text())
    assert (config["data"]["tokens"], config["data"]["vocabulary"]) == ("bpe", 280)
    assert config["model"]["tokens"] == 280
    for name, measured in found["metrics"].items():
        assert 0 < measured["bits_per_character"] < measured["bits"], name
    assert {"lstm", "1-gram"} <= set(found["metrics"])
    page = (run / "report.html").read_text()
    assert "per character" in page
    assert "bits per token" in page
    assert "book.txt, tokens" in page


def test_compare_and_data_on_pieces_of_words(book, tmp_path):
    found = json.loads(fine(
        "compare", book, *BRIEF, "--models", "rnn", "--seeds", 1, "--parameters", 3000,
        "--tokens", "bpe", "--vocabulary", 270, "--out", tmp_path / "out", "--json",
    ))  # fmt: skip
    assert all("bits_per_character" in one["metrics"][0] for one in found["models"].values())
    counted = json.loads(fine("data", book, "--tokens", "bpe", "--vocabulary", 270, "--json"))
    assert counted["unit"] == "tokens"
    assert sum(counted["parts"].values()) < len(BOOK.encode())


def test_what_is_kept_is_read_again(pieces):
    run, _ = pieces
    text = fine("predict", run, "--prompt", "the cat 😀 nie gesehen", "--steps", 5, "--greedy")
    assert text.startswith("the cat 😀 nie gesehen")
    answer = json.loads(fine("stream", run, stdin="the cat sat 한\n"))
    assert 4 <= answer["tokens"] < len("the cat sat 한".encode())
    assert len(answer["next"]) == 5
    again = fine("fit", "--resume", run, "--quiet")
    assert "1-gram" in again


def test_characters_have_one_measure_of_bits(runs, files, tmp_path):
    found = json.loads(fine(
        "fit", files.text, *SMALL, "--json", "--out", tmp_path / "run"
    ))  # fmt: skip
    assert "bits_per_character" not in found["metrics"]["lstm"]
    assert "vocabularies can be compared" not in (runs["text"] / "report.html").read_text()


def test_sizes_of_a_vocabulary_that_cannot_be(book):
    said = refusal("data", book, "--tokens", "bpe", "--vocabulary", 99)
    assert "bpe with max_size 99" in said
    assert "expected at least 257 tokens" in said


# -- writing ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def parrot(files, tmp_path_factory):
    """An n-gram that knows the text by heart."""
    out = tmp_path_factory.mktemp("parrot") / "out"
    fine("compare", files.text, *BRIEF, "--models", "rnn", "--seeds", 1, "--parameters", 300,
         "--out", out)  # fmt: skip
    return next(path for path in out.iterdir() if path.name in ("8-gram", "ngram"))


def test_the_likeliest_text(parrot):
    text = fine("predict", parrot, "--prompt", "the cat", "--steps", 24, "--greedy")
    assert text == "the cat sat on the mat and the \n"
    several = json.loads(fine("predict", parrot, "--prompt", "the cat s", "--steps", 9, "--greedy",
                              "--samples", 3, "--json"))  # fmt: skip
    assert several == ["the cat sat on the"] * 3


def test_a_text_ends_behind_a_stop(parrot):
    stops = ("--stop", "unheard", "--stop", "the m")
    text = fine("predict", parrot, "--prompt", "the cat sat", "--steps", 99, "--greedy", *stops)
    assert text == "the cat sat on the m\n"


def test_ways_of_choosing_reach_the_text(parrot):
    def written(*options):
        return fine("predict", parrot, "--prompt", "the ", "--steps", 40, "--seed", 2,
                    "--temperature", 3, *options)  # fmt: skip

    likeliest = fine("predict", parrot, "--prompt", "the ", "--steps", 40, "--greedy")
    free = written()
    assert free != likeliest
    assert written() == free
    for narrow in (("--top-k", 1), ("--top-p", 0.0001), ("--min-p", 1)):
        assert written(*narrow) == likeliest
    assert written("--repetition-penalty", 1.5) != free


def test_each_sample_has_its_own_chance(runs):
    once, other = (json.loads(fine("predict", runs["text"], "--samples", 4, "--steps", 20, "--seed",
                                   seed, "--json")) for seed in (0, 1))  # fmt: skip
    assert len({*once, *other}) == 8


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--top-k", 0), "top_k is 0, expected at least 1"),
        (("--top-p", 2), "top_p is 2.0, expected a probability above 0, up to 1"),
        (("--min-p", -1), "min_p is -1.0, expected a share from 0 to 1"),
        (("--repetition-penalty", 0), "repetition_penalty is 0.0, expected a number above 0"),
        (("--greedy", "--top-k", 3), "top_k is 3, expected none: greedy leaves nothing to chance"),
        (("--stop", ""), "stop is '', expected some text to stop at"),
    ],
)
def test_ways_of_choosing_that_cannot_be(runs, options, said):
    assert refusal("predict", runs["text"], *options) == said


def test_a_forecast_stops_by_itself(runs):
    said = refusal("predict", runs["series"], "--stop", "x")
    assert said == "predict: a run on series takes no --stop; give DATA"
