"""A long series in a `.npy` file: as good as the same array in memory, and never in memory."""

import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tasks.tables import model_of, steady, task_of
from throughtime.data import table as tables
from throughtime.data.calendar import extend
from throughtime.data.report import data_report
from throughtime.data.series import from_array, read_series
from throughtime.data.sources import FileArray
from throughtime.data.splits import check_lengths, check_scale, split
from throughtime.errors import InputError
from throughtime.tasks.forecasting import future

STEPS = 200
ARRAYS = {
    "one": np.random.default_rng(0).standard_normal(STEPS),
    "several": np.random.default_rng(1).standard_normal((STEPS, 3)),
    "single precision": np.random.default_rng(2).standard_normal((STEPS, 2)).astype(np.float32),
    "whole numbers": np.random.default_rng(3).integers(0, 100, STEPS, dtype=np.int16),
    "the other byte order": np.random.default_rng(4).standard_normal(STEPS).astype(">f8"),
    "true and false": np.random.default_rng(5).standard_normal((STEPS, 2)) > 0,
}


@pytest.fixture(params=ARRAYS)
def array(request):
    return ARRAYS[request.param].copy()


@pytest.fixture
def save(tmp_path):
    def save(array):
        np.save(tmp_path / "x.npy", array)
        return tmp_path / "x.npy"

    return save


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(tables, "BLOCK", 7)  # so that blocks end within these short series


def both(save, array):
    """The table of a file, and that of the same array in memory."""
    return read_series(save(array), season=12), from_array(array, source="x.npy", season=12)


# The array in a file.


def test_a_file_is_indexed_like_the_array_in_it(save, array):
    whole = array.reshape(STEPS, -1).astype(np.float64)
    found = FileArray(save(array))
    assert (len(found), found.shape, found.ndim, found.dtype) == (
        STEPS, whole.shape, 2, np.float64,
    )  # fmt: skip
    for rows in (
        slice(None), slice(3, 9), slice(-5, None), slice(190, 500), slice(7, 7), slice(9, 3),
    ):  # fmt: skip
        for index in (rows, (rows, 0), (rows, -1), (rows, slice(0, 1)), (rows, slice(1, 9))):
            np.testing.assert_array_equal(found[index], whole[index], strict=True)
    np.testing.assert_array_equal(np.asarray(found), whole)
    np.testing.assert_array_equal(np.array(found, np.float32), whole.astype(np.float32))


def test_what_was_read_belongs_to_the_reader(save):
    found = FileArray(save(ARRAYS["several"]))
    found[:5][:] = 0
    np.testing.assert_array_equal(found[:], ARRAYS["several"])


@pytest.mark.parametrize("index", [3, slice(0, 10, 2), slice(None, None, -1), (3, 0), None])
def test_rows_are_read_in_order_only(save, index):
    with pytest.raises(InputError, match="expected a slice of rows"):
        FileArray(save(ARRAYS["several"]))[index]


def test_nobody_gets_the_file_itself(save):
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(FileArray(save(ARRAYS["one"])), copy=False)


# Numbered times.


@pytest.mark.parametrize(
    "parts",
    ["0.7,0.1,0.2", "0.5,0.2,0.1", "120,40,40", "100,50,20", "150,180", "0.3,0,0.7", "7,500"],
)
def test_numbered_times_are_split_as_written_ones(parts):
    table = from_array(ARRAYS["one"])
    (series,) = table.series
    assert series.times == range(STEPS)
    written = replace(table, series=(replace(series, times=np.arange(STEPS)),))
    assert split(table, parts) == split(written, parts)


def test_numbered_times_go_on():
    for times in (range(5), range(3, 20, 4)):
        expected = extend(np.array(times), 3)
        np.testing.assert_array_equal(extend(times, 3), expected, strict=True)


def test_wide_series_share_their_times(save):
    array = ARRAYS["several"]
    wide = read_series(save(array), wide=True)
    assert wide.lengths == (STEPS,) * 3
    assert split(wide).stops == split(from_array(array[:, 0])).stops * 3


# From file to table, split, report and batches, as from memory.


def test_reports_are_the_same(save, array, small_blocks):
    if array.dtype.kind == "f":
        array[5:30] = np.nan
    file, memory = both(save, array)
    assert isinstance(file.series[0].values, FileArray)
    parts = split(file)
    assert parts == split(memory)
    check_lengths(file, parts, 20, 4)
    assert check_scale(file, parts) == check_scale(memory, parts) == ()
    report = data_report(file, parts).to_json()
    assert report == data_report(memory, parts).to_json()
    columns = array.reshape(STEPS, -1).astype(np.float64).T
    for found, column in zip(report["targets"].values(), columns, strict=True):
        there = column[~np.isnan(column)]
        expected = {"min": there.min(), "mean": there.mean(), "max": there.max()}
        assert found == pytest.approx({**expected, "missing": STEPS - len(there)})


@pytest.mark.parametrize("value", [np.nan, 3.0])
def test_what_never_changes_is_found_in_all_blocks(save, value, small_blocks):
    array = np.full((STEPS, 2), value)
    array[:, 1] = np.arange(STEPS)
    array[139, 0], array[140:, 0] = value, 8.0  # changes after training only
    for table in both(save, array):
        said = "no value but 3 in" if value == 3 else "no value in"
        with pytest.raises(InputError, match=f"x.npy: target 'value_1' has {said} the training"):
            check_scale(table, split(table))
    array[138:140, 0] = 4.0, 5.0  # the last steps of training
    for table in both(save, array):
        assert check_scale(table, split(table)) == ()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("row", [0, 6, 7, 150, STEPS - 1])
def test_infinity_is_found_in_any_block(save, row, dtype, small_blocks):
    array = ARRAYS["several"].astype(dtype)
    array[row, 2] = -np.inf
    messages = []
    for read in (lambda: read_series(save(array)), lambda: from_array(array, source="x.npy")):
        with pytest.raises(InputError, match=rf"x.npy: expected finite .*, row {row + 1} has"):
            read()
        with pytest.raises(InputError) as caught:
            read()
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert "\n" not in messages[0]


def test_files_in_another_order_are_read(save):
    array = np.asfortranarray(ARRAYS["several"])
    np.testing.assert_array_equal(np.asarray(read_series(save(array)).series[0].values), array)


@pytest.mark.parametrize("name", ["one", "several", "single precision"])
def test_training_and_forecasts_are_the_same(save, name):
    tasks = [task_of(table) for table in both(save, ARRAYS[name])]
    models = [steady(model_of(task)) for task in tasks]
    for first, second in zip(*(model.state_dict().items() for model in models), strict=True):
        assert first[0] == second[0]
        torch.testing.assert_close(first[1], second[1], rtol=0, atol=0)
    epochs = [task.source(batch_size=3, window=10, seed=0).epoch(1) for task in tasks]
    first, second = (windows for [windows] in epochs)
    assert len(first) == len(second)
    for ours, theirs in ((first[at], second[at]) for at in range(len(first))):
        torch.testing.assert_close(ours.inputs, theirs.inputs, rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(ours.targets, theirs.targets, rtol=0, atol=0, equal_nan=True)
    tests = [t.backtest(m, origins=5, paths=5) for t, m in zip(tasks, models, strict=True)]
    for part in ("actual", "samples", "naive", "spread", "mean"):
        np.testing.assert_array_equal(*(getattr(each, part) for each in tests))
    ahead = [future(m, t.table, 4, paths=5) for t, m in zip(tasks, models, strict=True)]
    np.testing.assert_array_equal(ahead[0].samples, ahead[1].samples)
    assert [list(each.times[0]) for each in ahead] == [list(range(STEPS, STEPS + 4))] * 2


# Memory.


def write_long(path, steps, width):
    """A file of float64, written a block at a time."""
    random = np.random.default_rng(0)
    block = np.sin(np.arange(50_000)[:, None]) + 0.1 * random.standard_normal((50_000, width))
    with open(path, "wb") as file:
        header = {"descr": "<f8", "fortran_order": False, "shape": (steps, width)}
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(steps // len(block)):
            file.write(block.tobytes())
    return path


def test_opening_takes_the_memory_of_a_block(tmp_path):
    path = write_long(tmp_path / "x.npy", 2_000_000, 2)
    tracemalloc.start()
    try:
        table = read_series(path)
        parts = split(table)
        check_scale(table, parts)
        report = data_report(table, parts)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report.to_json()["steps"] == 2_000_000
    assert peak < 0.5 * path.stat().st_size, f"{peak:,} bytes for {path.stat().st_size:,}"
    assert peak < 6 * 8 * tables.BLOCK


TRAINING = """
import sys
from pathlib import Path
import torch
from throughtime import recipes
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.opening import open_data
from throughtime.training.fitting import fit

def most():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

def train(path):
    opened = open_data(DataConfig(path))
    training = {"batch_size": 512, "window": 50, "epochs": 1, "schedule": "constant"}
    made = recipes.forecast(opened, "gru", model={"width": 4}, training=training)
    assert fit(made, opened).result.stopped == "epochs"

torch.set_num_threads(1)
for path in sys.argv[1:]:
    train(path)
    print(most())
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_training_on_a_long_file_takes_no_more_memory(tmp_path):
    short = write_long(tmp_path / "short.npy", 200_000, 16)
    long = write_long(tmp_path / "long.npy", 1_000_000, 16)
    done = subprocess.run(
        [sys.executable, "-c", TRAINING, str(short), str(long)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second = map(float, done.stdout.split())
    more = (long.stat().st_size - short.stat().st_size) / 2**20
    assert second - first < more / 2, f"{second - first:.0f} MiB for {more:.0f} MiB more of file"
