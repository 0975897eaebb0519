import json
import os
import random

import numpy as np
import pytest
import torch

from throughtime import state
from throughtime.errors import InputError
from throughtime.state import save_tree
from throughtime.training import Place, checkpoint, has_checkpoint
from throughtime.training.checkpoint import (
    FORMAT,
    LATEST,
    METRICS,
    PREVIOUS,
    Metrics,
    load_checkpoint,
    random_states,
    restore_random_states,
    save_checkpoint,
)


def content(number):
    return {"number": number, "weights": torch.full((50,), float(number)), "place": Place(number)}


def number_in(folder):
    found = load_checkpoint(folder)
    assert found["weights"].tolist() == [found["number"]] * 50
    assert found["place"] == Place(found["number"])
    return found["number"]


def test_the_newest_is_read_and_the_previous_kept(tmp_path):
    assert not has_checkpoint(tmp_path)
    for number in range(3):
        save_checkpoint(tmp_path, content(number))
        assert number_in(tmp_path) == number
    assert has_checkpoint(tmp_path)
    (tmp_path / LATEST).rename(tmp_path / "away")
    assert number_in(tmp_path) == 1
    assert sorted(p.name for p in (tmp_path / "checkpoint").iterdir()) == [PREVIOUS.name]


def test_a_crash_while_writing_loses_nothing(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, content(1))
    save_checkpoint(tmp_path, content(2))

    class Crash(BaseException):
        """As if the machine stopped: nothing is cleaned up by what catches errors."""

    # In the middle of the temporary file.
    half = (tmp_path / LATEST).read_bytes()[:100]
    (tmp_path / "checkpoint" / f".{LATEST.name}.abc123").write_bytes(half)
    assert number_in(tmp_path) == 2

    # Before any rename, and between the renames.
    rename, calls = os.replace, []

    def crash_at(which):
        def replace(source, target):
            calls.append(target)
            if len(calls) == which:
                raise Crash
            rename(source, target)

        calls.clear()
        monkeypatch.setattr(os, "replace", replace)

    for which in (1, 2):
        crash_at(which)
        with pytest.raises(Crash):
            save_checkpoint(tmp_path, content(3))
        assert len(calls) == which
        assert number_in(tmp_path) == 2
    monkeypatch.setattr(os, "replace", rename)

    # While the bytes are brought to the disk.
    def no_disk(handle):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_disk)
        with pytest.raises(OSError, match="disk full"):
            save_checkpoint(tmp_path, content(3))
    assert number_in(tmp_path) == 2

    save_checkpoint(tmp_path, content(4))
    assert number_in(tmp_path) == 4
    left = sorted(p.name for p in (tmp_path / "checkpoint").iterdir())
    assert left == [LATEST.name, PREVIOUS.name]  # the litter of the crashes is gone


def test_without_hard_links(tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError("not supported")

    monkeypatch.setattr(os, "link", refuse)
    for number in range(3):
        save_checkpoint(tmp_path, content(number))
    (tmp_path / LATEST).unlink()
    assert number_in(tmp_path) == 1


@pytest.mark.parametrize("keep", [0, 5, 60, -1])
def test_a_damaged_newest_falls_back_to_the_previous(tmp_path, keep):
    save_checkpoint(tmp_path, content(1))
    save_checkpoint(tmp_path, content(2))
    path = tmp_path / LATEST
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.warns(UserWarning, match="is damaged"):
        assert number_in(tmp_path) == 1
    (tmp_path / PREVIOUS).write_bytes(b"")
    with pytest.warns(UserWarning, match="is damaged"), pytest.raises(InputError, match="is whole"):
        load_checkpoint(tmp_path)


def test_a_newer_format_is_refused_in_one_line(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, content(1))
    # A newer one may hold what this version cannot even read.
    monkeypatch.setattr(checkpoint, "FORMAT", FORMAT + 1)
    save_checkpoint(tmp_path, content(2))
    monkeypatch.setattr(checkpoint, "FORMAT", FORMAT)
    monkeypatch.delitem(state._NAMED, "Place")
    with pytest.raises(InputError, match=f"has format {FORMAT + 1}, .* up to {FORMAT}") as error:
        load_checkpoint(tmp_path)
    assert "\n" not in str(error.value)


def test_nothing_there_and_something_else(tmp_path):
    with pytest.raises(InputError, match="there is no checkpoint in"):
        load_checkpoint(tmp_path)
    save_tree({"a": torch.ones(2)}, tmp_path / LATEST)
    with pytest.raises(InputError, match="is not a checkpoint"):
        load_checkpoint(tmp_path)


def test_all_random_generators_come_back(tmp_path):
    def numbers():
        return torch.rand(3).tolist(), random.gauss(0, 1), np.random.normal(size=3).tolist()

    numbers()  # the gaussians of python and numpy keep one in hand
    save_checkpoint(tmp_path, {"random": random_states()})
    expected = numbers(), numbers()
    restore_random_states(load_checkpoint(tmp_path)["random"])
    assert (numbers(), numbers()) == expected


def test_metrics_are_cut_back(tmp_path):
    metrics = Metrics(tmp_path)
    for step in range(5):
        metrics.add({"step": step, "loss": float("nan") if step == 1 else 0.5})
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"step": 5, "lo')  # killed in mid-line
    again = Metrics(tmp_path, keep=3)
    assert [record["step"] for record in again.records] == [0, 1, 2]
    again.add({"step": 99})
    again.sync()
    lines = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 2, 99]
    assert lines[1]["loss"] is None  # JSON has no NaN
