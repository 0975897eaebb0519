"""Steps, or pieces of text, are judged as the whole sequence up to them is."""

import json
import math

import numpy as np
import pytest
import torch

from tests.serving.class_runs import make_class_run, series_data, some_series, text_data
from throughtime.data.images import load_digits
from throughtime.data.labels import Labels
from throughtime.errors import InputError
from throughtime.serving import ClassSession, open_session, verdict
from throughtime.tasks.data_config import DataConfig

KINDS = ["window", "rnn", "lstm", "gru", "transformer"]


def whole(run, x):
    """Probabilities after every step, by one call of the model that knows nothing of sessions."""
    with torch.no_grad():
        logits = run.model(x[None])[0][0]
    shares = logits.sigmoid() if run.labels.kind == "several" else logits.softmax(-1)
    return shares.double().numpy()


def given(answers):
    return np.array([list(answer["probabilities"].values()) for answer in answers])


@pytest.fixture
def series():
    return some_series(4, seed=5)[3][0]


@pytest.fixture
def gru(tmp_path):
    return make_class_run(tmp_path / "run", series_data(tmp_path))


class TestSeries:
    @pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_steps_are_the_whole(self, tmp_path, series, kind, pooling):
        run = make_class_run(tmp_path / "run", series_data(tmp_path), kind, pooling=pooling)
        series[1, 0] = math.nan
        expected = whole(run, torch.from_numpy(series))
        session = ClassSession(run)
        answers = [session.observe([None if math.isnan(v) else v for v in row]) for row in series]
        np.testing.assert_allclose(given(answers), expected, atol=1e-9)
        assert np.ptp(expected, axis=0).max() > 0.01  # the steps do tell different things
        assert [answer["step"] for answer in answers] == [*range(1, len(series) + 1)]
        for answer in answers:
            shares = answer["probabilities"]
            assert answer["label"] == max(shares, key=shares.__getitem__)
            assert answer["probability"] == max(shares.values())

    def test_in_float32_too(self, tmp_path, series):
        run = make_class_run(tmp_path / "run", series_data(tmp_path), dtype="float32")
        session = ClassSession(run)
        answers = [session.observe(row.tolist()) for row in series]
        expected = whole(run, torch.from_numpy(series).float())
        np.testing.assert_allclose(given(answers), expected, atol=1e-5)

    def test_forms_of_an_observation(self, gru):
        def answer(observation):
            session = ClassSession(gru)
            session.observe([0.5, 1])
            return session.observe(observation)

        expected = answer([1.5, None])
        for same in (
            {"x": 1.5}, {"x": 1.5, "y": None}, {"y": "NaN", "x": "1.5"}, [1.5, math.nan],
            (1.5, ""), {"y": "?", "x": 1.5},
        ):  # fmt: skip
            assert answer(same) == expected, same
        assert answer([1.5, 0]) != expected
        assert answer({}) == answer([None, None])

    def test_a_bare_number_where_there_is_one_feature(self, tmp_path):
        run = make_class_run(tmp_path / "run", series_data(tmp_path, ("x",)))
        answers = [ClassSession(run).observe(one) for one in (2.5, [2.5], {"x": 2.5}, "2.5")]
        assert all(answer == answers[0] for answer in answers)
        assert ClassSession(run).observe(None) == ClassSession(run).observe({"x": None})

    @pytest.mark.parametrize(
        ("observation", "said"),
        [
            ({"x": 1, "z": 2}, "unknown feature 'z', expected x, y"),
            ({"x": "much"}, "x is 'much', expected a number"),
            ([1, "inf"], "y is 'inf', expected a finite number"),
            ([1], r"expected 2 numbers \(x, y\), got 1"),
            ([1, 2, 3], r"expected 2 numbers \(x, y\), got 3"),
            (1.5, "expected an object or a list with x, y, got 1.5"),
            ("1.5", "expected an object or a list with x, y, got '1.5'"),
            ([1, [2]], r"y is \[2\], expected a number"),
        ],
    )
    def test_a_bad_observation_leaves_the_session_as_it_was(self, gru, observation, said):
        session, same = ClassSession(gru), ClassSession(gru)
        session.observe([1, 2])
        same.observe([1, 2])
        with pytest.raises(InputError, match=said) as caught:
            session.observe(observation)
        assert "\n" not in str(caught.value)
        assert (session.observed, session.step) == (1, 1)
        assert session.observe([3, 4]) == same.observe([3, 4])

    def test_a_number_beyond_the_type(self, tmp_path):
        run = make_class_run(tmp_path / "run", series_data(tmp_path), dtype="float32")
        with pytest.raises(InputError, match=r"y is 1e\+300, which is beyond torch\.float32"):
            ClassSession(run).observe([1, 1e300])

    def test_the_next_sequence_knows_nothing_of_the_last(self, gru):
        session, fresh = ClassSession(gru), ClassSession(gru)
        session.observe([9, -9])
        session.begin()
        assert session.observe([1, 2]) == fresh.observe([1, 2])
        assert (session.step, session.observed) == (1, 2)


class TestTexts:
    TEXT = "a film , quite bad and not fine"

    @pytest.mark.parametrize("kind", ["gru", "transformer"])
    @pytest.mark.parametrize("size", [1, 7, 100])
    def test_pieces_are_the_whole(self, tmp_path, kind, size):
        run = make_class_run(tmp_path / "run", text_data(tmp_path, tokens="characters"), kind)
        expected = whole(run, torch.from_numpy(run.vocabulary.encode(self.TEXT)))
        session = ClassSession(run)
        starts = range(0, len(self.TEXT), size)
        answers = [session.observe(self.TEXT[at : at + size]) for at in starts]
        ends = [min(at + size, len(self.TEXT)) for at in starts]
        assert [answer["step"] for answer in answers] == ends
        np.testing.assert_allclose(given(answers), expected[np.array(ends) - 1], atol=1e-9)

    @pytest.mark.parametrize("tokens", ["words", "bpe", "bytes"])
    def test_pieces_end_where_tokens_do(self, tmp_path, tokens):
        run = make_class_run(tmp_path / "run", text_data(tmp_path, tokens=tokens))
        pieces = ("a film", " , quite", " unheard 😀", " bad")
        whole_ids = run.vocabulary.encode("".join(pieces))
        session = ClassSession(run)
        last = [session.observe(piece) for piece in pieces][-1]
        assert last["step"] == len(whole_ids)
        expected = whole(run, torch.from_numpy(whole_ids))[-1]
        np.testing.assert_allclose(given([last])[0], expected, atol=1e-9)

    def test_no_text_changes_nothing(self, tmp_path):
        run = make_class_run(tmp_path / "run", text_data(tmp_path, tokens="words"))
        session, other = ClassSession(run), ClassSession(run)
        nothing = session.observe("")
        begin = torch.tensor([run.vocabulary.begin])
        np.testing.assert_allclose(given([nothing])[0], whole(run, begin)[0], atol=1e-9)
        assert nothing["step"] == session.observed == 0
        first = session.observe("a film")
        assert first == other.observe("a film")
        assert session.observe("  ") == first
        assert session.observe(" bad") == other.observe(" bad")

    def test_refuses_what_is_no_text(self, tmp_path):
        run = make_class_run(tmp_path / "run", text_data(tmp_path, tokens="words"))
        with pytest.raises(InputError, match="expected text, got 5"):
            ClassSession(run).observe(5)

    def test_is_not_cut(self, tmp_path):
        run = make_class_run(tmp_path / "run", text_data(tmp_path, tokens="words", longest=3))
        session = ClassSession(run)
        assert session.observe("a fine film quite good")["step"] == 5


class TestPause:
    @pytest.mark.parametrize("kind", KINDS)
    def test_changes_nothing(self, tmp_path, series, kind):
        run = make_class_run(tmp_path / "run", series_data(tmp_path), kind, pooling="attention")
        rows = series.tolist()
        one, first, second = (ClassSession(run) for _ in range(3))
        for row in rows[:2]:
            one.observe(row)
            first.observe(row)
        first.save(tmp_path / "state")
        second.restore(tmp_path / "state")
        assert (second.step, second.observed) == (2, 2)
        for row in rows[2:]:
            assert second.observe(row) == one.observe(row)

    def test_between_two_sequences(self, tmp_path, gru):
        session, other = ClassSession(gru), ClassSession(gru)
        session.observe([1, 2])
        session.begin()
        session.save(tmp_path / "state")
        other.observe([7, 7])
        other.restore(tmp_path / "state")
        assert (other.step, other.observed) == (0, 1)
        assert other.observe([3, 4]) == session.observe([3, 4])

    def test_of_another_model(self, tmp_path, gru):
        other = make_class_run(tmp_path / "other", series_data(tmp_path), "lstm")
        session = ClassSession(gru)
        session.observe([1, 2])
        session.save(tmp_path / "state")
        with pytest.raises(InputError, match="is the state of a session of another model"):
            ClassSession(other).restore(tmp_path / "state")


class TestForms:
    def test_several_classes(self, tmp_path, series):
        run = make_class_run(tmp_path / "run", series_data(tmp_path, several=True))
        assert run.labels == Labels(("a", "b"), "several")
        session = ClassSession(run)
        answers = [session.observe(row) for row in series.tolist()]
        expected = whole(run, torch.from_numpy(series))
        np.testing.assert_allclose(given(answers), expected, atol=1e-9)
        for answer, shares in zip(answers, expected, strict=True):
            assert answer["label"] == [n for n, p in zip("ab", shares, strict=True) if p >= 0.5]
            sure = min(max(share, 1 - share) for share in shares)
            assert answer["probability"] == pytest.approx(sure)

    def test_a_class_for_each_step(self, tmp_path, series):
        run = make_class_run(tmp_path / "run", series_data(tmp_path, steps=True))
        session = ClassSession(run)
        answers = [session.observe(row) for row in series.tolist()]
        expected = whole(run, torch.from_numpy(series))
        np.testing.assert_allclose(given(answers), expected, atol=1e-9)

    def test_verdict_of_no_class_at_all(self):
        found = verdict(np.array([0.2, 0.3]), Labels(("a", "b"), "several"))
        assert found == {"label": [], "probability": 0.7, "probabilities": {"a": 0.2, "b": 0.3}}
        assert json.loads(json.dumps(found)) == found


class TestOpening:
    def test_a_run_on_classes(self, tmp_path, gru):
        assert isinstance(open_session(gru), ClassSession)
        with pytest.raises(InputError, match=r"start is '2020', .* this run is about classes"):
            open_session(gru, start="2020")

    def test_refuses_a_model_that_sees_all(self, tmp_path):
        run = make_class_run(tmp_path / "run", series_data(tmp_path), around=True)
        with pytest.raises(InputError, match=r"cannot answer before its end; throughtime fit .* "
                                             "--causal makes one that can") as caught:  # fmt: skip
            open_session(run)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("around", [True, False])
    def test_refuses_images(self, tmp_path, around):
        digits = load_digits().take(range(40))
        np.savez(
            tmp_path / "few.npz", x=digits.values[:, 0], y=[int(d) % 2 for d in digits.labels or []]
        )
        data = DataConfig(str(tmp_path / "few.npz"), task="classify")
        run = make_class_run(tmp_path / "run", data, rows=True, around=around)
        with pytest.raises(InputError, match=r"is a run on images, .* have no session") as caught:
            open_session(run)
        assert "\n" not in str(caught.value)
