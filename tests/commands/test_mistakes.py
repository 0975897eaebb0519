"""What beginners get wrong: one line that says so, exit status 2, and never a traceback."""

import json
import shutil

import pytest
import torch

from tests.commands.conftest import BRIEF, SMALL, call, hours, one_line, refusal, run_alone, wave

NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")


def fit(path, *more, stdin=""):
    return refusal("fit", path, *SMALL, "--out", path.parent / "run-bad", *more, stdin=stdin)


@pytest.fixture
def write(tmp_path):
    def write(rows, name="bad.csv", header="date,y", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes("\n".join([header, *rows]).encode(encoding))
        return path

    return write


def good(count=120):
    return [f"{time},{y:.4f}" for time, y in zip(hours(count), wave(count), strict=True)]


# -- tables ----------------------------------------------------------------------------------------


def test_a_missing_file(tmp_path):
    for command in ("fit", "compare", "data"):
        said = refusal(command, tmp_path / "gone.csv")
        assert "gone.csv: there is no such file; built-in data are nyc-temperature" in said


def test_a_folder_for_a_file(tmp_path):
    assert "is a folder, expected a file" in refusal("fit", tmp_path)


@pytest.mark.parametrize(
    ("option", "what"),
    [("--target", "target"), ("--time", "time"), ("--id", "id"), ("--known", "known"),
     ("--past", "past"), ("--static", "static")],
)  # fmt: skip
def test_a_missing_column_and_the_names_there_are(files, option, what):
    said = fit(files.series, option, "Y2")
    assert f"hours.csv: there is no {what} column 'Y2'" in said
    assert said.endswith("it has date, y")


def test_a_misspelt_column_is_suggested(files):
    assert "did you mean 'date'?" in fit(files.series, "--time", "Date")


def test_a_target_that_is_no_number(write):
    rows = good()
    rows[49] = rows[49].split(",")[0] + ",oops"
    assert fit(write(rows)) == "bad.csv: target column 'y' must hold numbers, row 50 has 'oops'"
    commas = write([f"{time};3,{at}" for at, time in enumerate(hours(50))], header="date;y")
    assert "write a point, not a comma" in fit(commas, "--target", "y")


def test_a_column_of_words_only(write):
    said = fit(write([f"{time},w" for time in hours(50)]))
    assert "no column of numbers is left for a target among date, y" in said


def test_unsorted_time_stamps(write):
    rows = good()
    rows[4], rows[5] = rows[5], rows[4]
    said = fit(write(rows))
    assert "time column 'date' is not sorted, row 6 has 2020-01-01 04:00 after" in said
    assert call("data", write(rows), "--sort").code in (0, None)


def test_the_same_time_stamp_twice(write):
    rows = good()
    rows.insert(6, rows[5])
    assert "time column 'date' has 2020-01-01 05:00 twice, in rows 6 and 7" in fit(write(rows))


def test_dates_nobody_can_read(write):
    assert "does not look like dates" in fit(write([f"day {at},{at}" for at in range(40)]))


def test_empty_files(tmp_path, write):
    for name in ("empty.csv", "empty.txt"):
        (tmp_path / name).write_bytes(b"")
        assert "empty" in fit(tmp_path / name)
    assert "the file has a header but no rows" in fit(write([]))


def test_a_series_shorter_than_window_plus_horizon(write):
    said = fit(write(good(6)))
    assert "series 'bad' has 4 steps before" in said
    assert "window 1 plus horizon 4, 5" in said


def test_a_constant_series(write):
    path = write([f"{time},5" for time in hours(120)])
    for command in ("fit", "compare", "data"):
        assert "target 'y' has no value but 5 in the training part" in refusal(command, path)


@pytest.mark.parametrize("value", ["inf", "-inf"])
def test_infinite_values(write, value):
    rows = good()
    rows[9] = rows[9].split(",")[0] + f",{value}"
    assert f"must hold finite numbers, row 10 has {value}" in fit(write(rows))


def test_nothing_but_missing_values(write):
    assert "no column of numbers is left" in fit(write([f"{time},nan" for time in hours(60)]))
    rows = [f"{time}," for time in hours(100)] + good(120)[100:]
    assert "target 'y' has no value in the training part" in fit(write(rows))


def test_another_encoding(write, tmp_path):
    rows = write(good(), header="date,größe", encoding="latin-1")
    assert "bad.csv: line 1 is not utf-8 (byte 0xf6); give its encoding" in fit(rows)
    assert call("data", rows, "--encoding", "latin-1").code in (0, None)
    text = tmp_path / "bad.txt"
    text.write_bytes("Größe und Höhe ".encode("latin-1") * 30)
    assert "is not utf-8, at byte 2 stands 0xF6" in fit(text)
    assert "'klingon'" in fit(text, "--encoding", "klingon")
    assert "'klingon'" in fit(rows, "--encoding", "klingon")


def test_a_file_that_is_not_what_its_name_says(tmp_path):
    for name, said in {
        "bad.parquet": "bad.parquet: not a Parquet file",
        "bad.npy": "bad.npy: not an array of numbers",
        "bad.csv.gz": "bad.csv.gz: not a whole gzip file",
        "bad.txt.gz": "bad.txt.gz is not whole gzip",
        "bad.xyz": "bad.xyz: its name does not say what it is; add --task forecast or --task lang",
    }.items():
        (tmp_path / name).write_text("a,b\n1,2\n")
        assert said in fit(tmp_path / name)


def test_rows_of_unequal_length(write):
    assert "bad.csv: not a table" in fit(write(["2020-01-01,1,2,3", "2020-01-02,2"]))


def test_a_frequency_that_does_not_fit(files):
    assert "off its grid of 1d" in fit(files.series, "--frequency", "1d")
    assert "expected a count and a unit" in fit(files.series, "--frequency", "fortnight")


def test_a_horizon_longer_than_the_test_part(files):
    for command in ("fit", "compare"):
        said = refusal(command, files.series, "--horizon", 41)
        assert "the test part has 40 steps from 2020-01-07 16:00 on, expected at least" in said


def test_what_is_said_of_the_other_kind_of_data(files):
    assert "cat.txt is text, and targets is for series" in fit(files.text, "--target", "y")
    assert "hours.csv is a table of series, and tokens is for text" in fit(
        files.series, "--tokens", "words"
    )
    assert "words is text, it cannot be used for --task forecast" in refusal(
        "fit", "words", "--task", "forecast"
    )
    assert "no column of numbers" in fit(files.text, "--task", "forecast")


@pytest.mark.parametrize(
    ("split", "said"),
    [("0.7", "expected three fractions"), ("a,b,c", "expected three fractions"),
     ("0.7,0.2,0.2", "fractions must not exceed 1 together, got 1.1"),
     ("0,0.5,0.5", "some training"), ("0.9,0.1,0", "the test part has 0 steps"),
     ("500,100,100", "700 rows asked for, the table has 200"),
     ("2030-01-01,2030-02-01", "the test part has 0 steps"),
     ("2020-01-05,2020-01-03", "the first of two moments to be earlier")],
)  # fmt: skip
def test_splits_that_cannot_be(files, split, said):
    assert said in fit(files.series, "--split", split)


# -- text ------------------------------------------------------------------------------------------


def test_a_text_too_short_for_its_parts(tmp_path):
    (tmp_path / "a.txt").write_text("ab")
    assert "2 steps are too few for parts" in fit(tmp_path / "a.txt")


def test_splits_of_text(files):
    assert "expected three shares" in fit(files.text, "--split", "2020-01-01,2020-02-01")
    assert "expected three shares" in fit(files.text, "--split", "0.5,0.5")
    assert "expected positive numbers that sum to 1" in fit(files.text, "--split", "1,0,0")


def test_tokens_nobody_knows(files):
    assert "expected one of characters, bytes, words" in fit(files.text, "--tokens", "syllables")
    assert "max_size is 1" in fit(files.text, "--tokens", "words", "--vocabulary", 1)


def test_an_unknown_character_at_prediction(runs):
    for said in (
        refusal("predict", runs["text"], "--prompt", "the Ω"),
        refusal("stream", runs["text"], stdin="the Ω\n"),
    ):
        assert "character 'Ω' at position 4 (counted from 0) was not in the training text" in said


# -- options ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--model", "mamba"), "--model is 'mamba', expected one of window, rnn"),
        (("--lr", 0), "learning_rate is 0.0, expected more than 0"),
        (("--lr", "nan"), "learning_rate is nan"),
        (("--epochs", 0), "epochs is 0, expected at least 1"),
        (("--batch-size", 0), "batch_size is 0, expected at least 1"),
        (("--window", 0), "window is 0, expected at least 1"),
        (("--seconds", 0), "max_seconds is 0.0, expected more than 0"),
        (("--depth", 2), "depth is 2, expected at least the window's 8"),
        (("--truncation", "random"), "depth is None, expected more than the window's 8"),
        (("--truncation", "some"), "expected one of full, truncated, random, unbiased"),
        (("--schedule", "some"), "expected one of constant, cosine, inverse_root, plateau"),
        (("--optimizer", "adam"), "expected one of adamw, sgd"),
        (("--patience", 0), "patience is 0, expected at least 1"),
        (("--dropout", 1), "dropout is 1.0, expected a probability in [0, 1)"),
        (("--head", "some"), "head is 'some', expected one of"),
        (("--head", "categorical"), "head is 'categorical', which is not for a model of numbers"),
        (("--head", "negative_binomial"), "expected whole numbers of at least 0"),
        (("--scaling", "some"), "scaling is 'some', expected one of"),
        (("--season", 0), "season: expected at least 1 step, got 0"),
        (("--task", "cluster"), "task is 'cluster', expected one of forecast, language"),
        (("--dtype", "float16"), "--dtype is 'float16', expected float32 or float64"),
        (("--precision", "float16"), "precision is 'float16', expected full or bfloat16 on cpu"),
        (("--device", "toaster"), "--device toaster cannot be used here"),
        (("--lr", 1e30), "learning rate 1e+30 is too high; try a tenth of it"),
    ],
)
def test_options_that_cannot_be(files, tmp_path, options, said):
    # A folder of its own: training that diverges leaves one.
    assert said in refusal("fit", files.series, *SMALL, "--out", tmp_path / "run", *options)


def test_a_recipe_says_what_the_model_is(files, tmp_path):
    def said(*options):
        recipe = ("--recipe", "ptb-small-lstm", *options)
        return refusal("fit", files.text, *BRIEF, "--out", tmp_path / "run", *recipe)

    assert said("--layers", 1) == "--recipe ptb-small-lstm says what the model is: no --layers"
    assert said("--model", "lstm").endswith("no --model")
    assert said() == "ptb-small-lstm is for text cut into words: --tokens words"
    unknown = refusal("fit", files.text, *BRIEF, "--recipe", "ptb")
    assert unknown.startswith("--recipe is 'ptb', expected one of ptb-small-lstm, shakespeare-")


def test_what_is_for_a_transformer(files):
    for option in (("--heads", 2), ("--reach", 7), ("--position", "none")):
        for command in (("fit", files.text), ("compare", files.text, "--models", "lstm,gru")):
            said = refusal(*command, *BRIEF, *option)
            assert said == f"{option[0]} is for a transformer, and none is asked for"
    both = refusal("fit", files.text, *BRIEF, "--width", 8, "--parameters", 9)
    assert both == "fit: got --width and --parameters, expected one: the other follows"
    told = ("--model", "transformer", "--width", 9, "--heads", 3, "--quiet")
    odd = refusal("fit", files.text, *told)
    assert odd == "width is 9, expected a multiple of 6, twice the heads"


def test_too_few_parameters(files):
    for command in ("fit", "compare"):
        said = refusal(command, files.series, "--parameters", 3, "--quiet")
        assert "parameters: 3 are too few" in said


def test_models_of_a_comparison(files):
    assert "--models: 'foo' is not one of window" in refusal(
        "compare", files.series, "--models", "lstm,foo"
    )
    assert "--models is empty" in refusal("compare", files.series, "--models", ",")


@NO_GPU
@pytest.mark.parametrize("command", ["fit", "compare", "predict", "stream", "doctor"])
def test_a_device_that_is_not_there(files, runs, command):
    what = {"fit": [files.series], "compare": [files.series], "doctor": []}
    said = refusal(command, *what.get(command, [runs["plain"]]), "--device", "cuda", stdin="1\n")
    assert said.startswith("--device cuda cannot be used here: ")


def test_a_folder_that_is_not_empty(files, runs, tmp_path):
    for command in ("fit", "compare"):
        said = refusal(command, files.series, "--out", runs["plain"])
        assert said.endswith("is not empty; choose a new folder")
        said = refusal(command, files.series, "--out", files.text)
        assert said.endswith("is a file; choose a new folder")
        said = refusal(command, files.series, "--out", files.text / "run")
        assert said.endswith("is a file, it can hold no folder")
    assert "is a folder, expected the name of a file" in refusal(
        "predict", runs["plain"], "--out", tmp_path
    )


def test_options_nobody_knows_are_typers(files):
    outcome = call("fit", files.series, "--colour", "red")
    assert outcome.code == 2
    assert "No such option: --colour" in outcome.err
    assert "Traceback" not in outcome.err


def test_fit_without_anything():
    assert "expected DATA, a file or the name of built-in data, or --resume" in refusal("fit")


# -- run folders -----------------------------------------------------------------------------------


def copy(run, folder, **changes):
    """A run with parts of its configuration changed, by `part__field`."""
    shutil.copytree(run, folder)
    config = json.loads((folder / "config.json").read_text())
    for name, value in changes.items():
        part, _, field = name.partition("__")
        if field:
            config[part][field] = value
        else:
            config[part] = value
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_folders_that_are_no_run(files, tmp_path):
    for command in (("predict",), ("stream",), ("fit", "--resume")):
        assert "does not exist; throughtime fit makes one" in refusal(*command, tmp_path / "gone")
        assert "is a file, expected the folder of a run" in refusal(*command, files.series)
        assert "is no run folder (config.json is missing)" in refusal(*command, tmp_path)


def test_a_run_from_a_newer_version(runs, tmp_path):
    newer = copy(runs["plain"], tmp_path / "newer", format=99, throughtime="9.0")
    for command in (("predict",), ("stream",), ("fit", "--resume")):
        said = refusal(*command, newer)
        assert "format 99 was written by throughtime 9.0" in said
        assert "upgrade with pip install --upgrade throughtime" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "x"}, "not the configuration of a run (it has no format)"),
        ({"model__kind": "mamba"}, "kind is 'mamba', expected one of"),
        ({"model__kind": "transformer", "model__width": 9}, "width is 9, expected a multiple of"),
        ({"model__width": 5}, "the weights do not fit config.json (size mismatch"),
        ({"model__width": "5"}, "width is '5'"),
        ({"model__colour": "red"}, "unknown fields ['colour']"),
        ({"model": 3}, "expected fields"),
        ({"data__colour": "red"}, "unknown field 'colour'"),
        ({"data__source": "gone.csv"}, "gone.csv: there is no such file"),
        ({"training__dtype": "float12"}, "dtype is 'float12', expected one of float32, float64"),
        ({"training__colour": "red"}, "unknown field 'colour'"),
    ],
)
def test_a_configuration_that_was_changed(runs, tmp_path, changes, said):
    assert said in refusal("predict", copy(runs["plain"], tmp_path / "run", **changes))


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"{oops", "not JSON"), (b"", "not JSON"), (b"\xff\xfe", "not JSON"),
     (b"[1]", "not the configuration of a run"), (b"{}", "it has no format"),
     (b'{"format": 1}', "'data' is missing")],
)  # fmt: skip
def test_a_damaged_configuration(runs, tmp_path, content, said):
    run = copy(runs["plain"], tmp_path / "run")
    (run / "config.json").write_bytes(content)
    assert said in refusal("predict", run)
    assert "config.json" in refusal("stream", run)


def test_weights_that_are_missing_or_damaged(runs, tmp_path):
    run = copy(runs["plain"], tmp_path / "run")
    (run / "model.safetensors").write_bytes(b"xx")
    assert "model.safetensors: the file is damaged" in refusal("predict", run)
    (run / "model.safetensors").unlink()
    for command in ("predict", "stream"):
        said = refusal(command, run)
        assert f"has no weights yet; finish it with throughtime fit --resume {run}" in said


def test_a_vocabulary_that_is_missing_or_damaged(runs, tmp_path):
    run = copy(runs["text"], tmp_path / "run")
    (run / "vocabulary.json").write_text("{}")
    assert "vocabulary.json: Vocabulary: the JSON text does not hold" in refusal("predict", run)
    (run / "vocabulary.json").write_bytes(b"\xff\xfe")
    assert "vocabulary.json: damaged" in refusal("stream", run)
    (run / "vocabulary.json").unlink()
    for command in ("predict", "stream"):
        said = refusal(command, run, stdin="the\n")
        assert said.endswith("tokens, vocabulary.json is missing")


def test_a_checkpoint_that_is_missing_or_damaged(runs, tmp_path):
    run = copy(runs["plain"], tmp_path / "run")
    for path in (run / "checkpoint").iterdir():
        path.write_bytes(b"xx")
    done = run_alone("fit", "--resume", run, "--quiet")
    assert done.code == 2
    *warned, last = done.err.splitlines()
    assert all(line.startswith("throughtime: ") for line in warned)
    assert all("is damaged" in line for line in warned)
    assert last == f"throughtime: resume: no checkpoint in {run} is whole"
    shutil.rmtree(run / "checkpoint")
    assert "resume: there is no checkpoint" in refusal("fit", "--resume", run, "--quiet")


def test_data_for_a_run_that_knows_its_own(files, runs):
    assert "takes no DATA" in refusal("fit", files.series, "--resume", runs["series"])
    for option in (("--epochs", 9), ("--heads", 2), ("--out", "elsewhere"), ("--seed", 3)):
        said = refusal("fit", "--resume", runs["series"], *option)
        assert said == f"fit --resume goes on with a run as it was begun: no {option[0]}"


# -- predict and stream ----------------------------------------------------------------------------


def test_data_of_the_wrong_task(files, runs):
    assert "a run on text takes no DATA; give --prompt" in refusal(
        "predict", runs["text"], files.series
    )
    assert "a run on series takes no --prompt; give DATA" in refusal(
        "predict", runs["series"], "--prompt", "the"
    )
    assert "there is no time column 'date'" in refusal("predict", runs["series"], files.text)
    assert "words is text" in refusal("predict", runs["series"], "words")


def test_other_columns_than_those_of_the_run(runs, write):
    other = write(["2020-01-01,1", "2020-01-02,2"], header="when,z")
    assert refusal("predict", runs["series"], other) == (
        "bad.csv: there is no time column 'date'; it has when, z"
    )


@pytest.mark.parametrize("levels", ["2", "a", "nan", "0.5,1", ""])
def test_levels_that_cannot_be(runs, levels):
    for command in ("predict", "stream"):
        said = refusal(command, runs["plain"], "--levels", levels, stdin="1\n")
        assert "expected numbers between 0 and 1" in said


@pytest.mark.parametrize("temperature", ["0", "-1", "nan"])
def test_temperatures_that_cannot_be(runs, temperature):
    said = refusal("predict", runs["text"], "--temperature", temperature)
    assert "expected a number above 0" in said


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("{oops\n", "line 1: not JSON"),
        ('{"y": "many"}\n', "line 1: y is 'many', expected a number"),
        ('{"z": 1}\n', "line 1: unknown column 'z', expected y"),
        ("1\nInfinity\n", "line 2: y is inf, expected a finite number"),
        ("y,z\n1\n", "line 2: 1 values under 2 columns (y, z)"),
        ("y\nabc\n", "line 2: y is 'abc', expected a number"),
        ("1.5,3\n", "line 1: the header has no column 'y', expected y among 1.5, 3"),
        ("[1, 2]\n", "line 1: y is [1, 2], expected a number"),
    ],
)
def test_lines_that_cannot_be(runs, lines, said):
    outcome = call("stream", runs["plain"], stdin=lines)
    assert outcome.code == 2
    assert one_line(outcome.err).startswith(said)


def test_times_that_are_missing(runs):
    said = refusal("stream", runs["series"], stdin="1.5\n")
    assert "the model uses the calendar (hour); give each observation a 'date', or" in said


def test_forms_that_cannot_be(runs):
    assert "expected json, csv or text" in refusal("stream", runs["plain"], "--format", "xml")
    assert "the run is about series" in refusal("stream", runs["plain"], "--format", "text")
    assert "the run is about text" in refusal("stream", runs["text"], "--format", "csv")
    assert "this run is about text" in refusal("stream", runs["text"], "--start", "2020-01-01")
    assert "expected text, got 5" in refusal("stream", runs["text"], "--format", "json",
                                             stdin="5\n")  # fmt: skip


def test_states_that_are_none(runs, files):
    for state, said in (
        (files.series, "is not a safetensors file"),
        (runs["plain"] / "model.safetensors", "holds tensors but no state"),
        (runs["plain"] / "checkpoint" / "latest.safetensors", "is not the state of a session"),
        (files.folder, "is no file, expected the state of a session"),
    ):
        assert said in refusal("stream", runs["plain"], "--state", state, stdin="1\n")


def test_the_state_of_another_run(runs, tmp_path):
    state = tmp_path / "state"
    assert call("stream", runs["plain"], "--state", state, stdin="1\n").code in (0, None)
    said = refusal("stream", runs["text"], "--state", state, stdin="the\n")
    assert "is the state of a session of another model" in said


# -- in processes of their own ---------------------------------------------------------------------


def test_a_mistake_ends_the_process_with_2_and_one_line(tmp_path):
    done = run_alone("fit", tmp_path / "gone.csv")
    assert (done.code, done.out) == (2, "")
    assert one_line(done.err).endswith("reversal, copy, numerals, digits")


def test_input_in_another_encoding(runs):
    done = run_alone("stream", runs["text"], stdin="the cat\xe9\n".encode("latin-1"),
                     encoding="utf-8:strict")  # fmt: skip
    assert done.code == 2
    assert one_line(done.err) == "after line 0: the input is not utf-8"


def test_values_of_another_type_in_a_configuration(runs, tmp_path):
    """In a process without checks of annotations, which are no part of the package."""
    done = run_alone("predict", copy(runs["plain"], tmp_path / "run", data__horizon="a"))
    assert done.code == 2
    assert "config.json: horizon is 'a', expected a whole number" in one_line(done.err)


def test_a_run_stopped_before_its_first_checkpoint_begins_again(runs, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(runs["plain"] / "config.json", run)
    done = run_alone("fit", "--resume", run, "--quiet")
    assert done.code == 0, done.err
    assert (run / "model.safetensors").read_bytes() == (
        runs["plain"] / "model.safetensors"
    ).read_bytes()
