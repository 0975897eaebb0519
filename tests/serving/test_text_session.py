"""Text in pieces is judged as text in one."""

import math

import pytest
import torch

from tests.serving.runs import make_run
from throughtime.data.text import Vocabulary
from throughtime.errors import InputError
from throughtime.serving import TextSession, open_session
from throughtime.tasks.data_config import DataConfig
from throughtime.training.run import read_vocabulary

TEXT = "the cat sat on the mat and the dog ran.\n" * 12


def run_of(folder, kind="lstm", tokens="characters", text=TEXT):
    path = folder / "book.txt"
    path.write_text(text)
    return make_run(folder / "run", DataConfig(str(path), tokens=tokens), kind)


def bits_of(run, text):
    ids = torch.from_numpy(run.vocabulary.encode(text))[None]
    with torch.no_grad():
        return -run.model.log_prob(ids)[0] / math.log(2)


@pytest.mark.parametrize("kind", ["window", "rnn", "lstm", "gru", "ngram"])
@pytest.mark.parametrize("size", [1, 7, 100])
def test_pieces_are_the_whole(tmp_path, kind, size):
    run = run_of(tmp_path, kind)
    text = TEXT[3:123]
    expected = bits_of(run, text)
    session = TextSession(run)
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    at = 0
    for piece in pieces:
        answer = session.observe(piece)
        assert answer["tokens"] == len(piece)
        here = expected[at : at + len(piece)]
        # Counts have whole numbers only, from which bits follow in float32.
        near = 1e-6 if kind == "ngram" else 1e-9
        assert answer["bits"] == pytest.approx(float(here.sum()), rel=near)
        at += len(piece)
    assert session.observed == len(text)


@pytest.mark.parametrize("kind", ["gru", "ngram"])
def test_the_likeliest_tokens_are_those_of_the_model(tmp_path, kind):
    run = run_of(tmp_path, kind)
    following = TextSession(run).observe("the c")["next"]
    assert len(following) == 5
    assert list(following.values()) == sorted(following.values(), reverse=True)
    for token, share in following.items():
        assert -math.log2(share) == pytest.approx(float(bits_of(run, "the c" + token)[-1]))


def test_words_are_pieces_too(tmp_path):
    run = run_of(tmp_path, tokens="words")
    text = "the cat ran on and on\nthe mouse ran\n"
    session = TextSession(run)
    answers = [
        session.observe(piece) for piece in ("the cat ran ", "on and on\nthe", " mouse ran\n")
    ]
    assert [answer["tokens"] for answer in answers] == [3, 5, 3]
    total = sum(answer["bits"] for answer in answers)
    assert total == pytest.approx(float(bits_of(run, text).sum()), rel=1e-9)


def test_the_end_of_a_line_is_a_word(tmp_path):
    run = run_of(tmp_path, "ngram", "words")
    following = TextSession(run).observe("and the dog ran.")["next"]
    assert next(iter(following)) == "\n"


def test_bytes_that_are_no_character_have_names(tmp_path):
    run = run_of(tmp_path, "ngram", "bytes", "é" * 200)
    following = TextSession(run).observe("éé")["next"]
    assert following["\\xc3"] > 0.5
    assert len(following) == 5
    whole = sum(TextSession(run).observe("éé")["next"].values())
    assert whole <= 1 + 1e-9


def test_no_text_changes_nothing(tmp_path):
    run = run_of(tmp_path)
    session, other = TextSession(run), TextSession(run)
    nothing = session.observe("")
    assert (nothing["tokens"], nothing["bits"]) == (0, 0.0)
    first, second = session.observe("the"), other.observe("the")
    assert first == second
    assert session.observe("")["next"] == first["next"]
    assert session.observe(" cat") == other.observe(" cat")


@pytest.mark.parametrize("kind", ["lstm", "ngram"])
def test_pieces_of_words_are_the_whole(tmp_path, kind):
    run = run_of(tmp_path, kind, "bpe")
    pieces = ("the cat ran", " on and on\nthe", " mouse 😀 ran", "\n")
    session = TextSession(run)
    answers = [session.observe(piece) for piece in pieces]
    expected = bits_of(run, "".join(pieces))
    assert sum(answer["tokens"] for answer in answers) == len(expected)
    total = sum(answer["bits"] for answer in answers)
    assert total == pytest.approx(float(expected.sum()), rel=1e-6 if kind == "ngram" else 1e-9)


def test_a_piece_that_is_no_character_has_a_name(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("aaaa é\n" * 200)
    # One pair only, and "aa" is more frequent than the two bytes of é.
    run = make_run(tmp_path / "run", DataConfig(str(path), tokens="bpe", vocabulary=257), "ngram")
    following = TextSession(run).observe("aaaa ")["next"]
    assert next(iter(following)) == "\\xc3"
    assert next(iter(TextSession(run).observe("aaaa é\n")["next"])) == "aa"


@pytest.mark.parametrize("kind", ["lstm", "ngram"])
def test_a_pause_changes_nothing(tmp_path, kind):
    run = run_of(tmp_path, kind)
    whole, first, second = (TextSession(run) for _ in range(3))
    whole.observe("the cat s")
    first.observe("the cat s")
    first.save(tmp_path / "state")
    second.restore(tmp_path / "state")
    assert second.observed == 9
    assert second.observe("at on") == whole.observe("at on")


def test_a_bad_observation_leaves_the_session_as_it_was(tmp_path):
    run = run_of(tmp_path)
    session, same = TextSession(run), TextSession(run)
    session.observe("the")
    same.observe("the")
    with pytest.raises(InputError, match="character 'Ω' at position 4"):
        session.observe(" catΩ")
    with pytest.raises(InputError, match="expected text, got 5"):
        session.observe(5)
    assert session.observed == 3
    assert session.observe(" cat") == same.observe(" cat")


def test_the_state_of_another_model_is_refused(tmp_path):
    (tmp_path / "other").mkdir()
    run, other = run_of(tmp_path), run_of(tmp_path / "other", "gru")
    session = TextSession(run)
    session.observe("the")
    session.save(tmp_path / "state")
    with pytest.raises(InputError, match="is the state of a session of another model"):
        TextSession(other).restore(tmp_path / "state")


def test_a_run_on_text_opens_a_session_on_text(tmp_path):
    run = run_of(tmp_path)
    assert isinstance(open_session(run), TextSession)
    with pytest.raises(InputError, match="start is '2020', expected none: this run is about text"):
        open_session(run, start="2020")


def test_a_vocabulary_with_the_word_joint_is_one_of_text(tmp_path):
    """What a vocabulary is of is told by its form, and not by its words."""
    words = Vocabulary.fit("joint knee joint", "words")
    (tmp_path / "vocabulary.json").write_text(words.to_json())
    assert read_vocabulary(tmp_path) == words
