import os
import subprocess
import sys
from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from throughtime import state
from throughtime.errors import InputError
from throughtime.layers import GRU, LSTM, LSTMState, Stack, Window


def example(batch=2, history=False):
    layer = Stack(LSTM(3, 4), Window(2, 4), GRU(8, 2))
    x = torch.randn(batch, 5, 3, requires_grad=history)
    return layer(x)[1]


def test_detach_cuts_history_and_keeps_values():
    before = example(history=True)
    after = state.detach(before)
    assert all(part.requires_grad for part in state.tensors(before))
    assert not any(part.requires_grad for part in state.tensors(after))
    assert state.structure(after) == state.structure(before)
    for a, b in zip(state.tensors(after), state.tensors(before), strict=True):
        assert torch.equal(a, b)


def test_select_and_concatenate_are_inverse():
    whole = example(3)
    parts = [state.select(whole, [row]) for row in range(3)]
    again = state.concatenate(parts)
    for a, b in zip(state.tensors(again), state.tensors(whole), strict=True):
        assert torch.equal(a, b)


def test_select_repeats_rows_and_passes_gradients():
    start = LSTMState(torch.randn(2, 3, requires_grad=True), torch.randn(2, 3, requires_grad=True))
    beams = state.select(start, torch.tensor([1, 1, 0]))
    beams.hidden.sum().backward()
    assert start.hidden.grad is not None
    assert start.hidden.grad[:, 0].tolist() == [1.0, 2.0]


def test_concatenate_refuses_nothing_and_other_structures():
    with pytest.raises(InputError, match="concatenate: expected at least one state, got none"):
        state.concatenate([])
    with pytest.raises(InputError, match="structures differ"):
        state.concatenate([example(), example()[:2]])


def test_map_refuses_what_is_no_state():
    with pytest.raises(InputError, match="state: expected tensors in tuples, got list"):
        state.detach([torch.zeros(1)])


def test_to_leaves_whole_numbers_alone():
    moved = state.to((torch.zeros(1, 2), torch.tensor([3])), dtype=torch.float64)
    assert [part.dtype for part in moved] == [torch.float64, torch.int64]


def test_nbytes():
    assert state.nbytes(LSTMState(torch.zeros(2, 3), torch.zeros(2, 3))) == 2 * 2 * 3 * 4
    assert state.nbytes(()) == 0


def test_save_and_load_keep_structure(tmp_path):
    before = (example(), (), torch.tensor([True, False]))
    state.save(before, tmp_path / "state.safetensors")
    after = state.load(tmp_path / "state.safetensors")
    assert state.structure(after) == state.structure(before)
    assert isinstance(after[0][0], LSTMState)
    for a, b in zip(state.tensors(after), state.tensors(before), strict=True):
        assert torch.equal(a, b)


TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3) | st.floats(-1, 1)
    | st.integers(0, 3).map(lambda n: torch.arange(n)),
    lambda part: st.lists(part, max_size=3)
    | st.lists(part, max_size=3).map(tuple)
    | st.dictionaries(st.text(max_size=3) | st.integers(0, 3), part, max_size=3),
    max_leaves=8,
)  # fmt: skip


def same(a, b):
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@given(TREES)
def test_trees_survive(tmp_path_factory, tree):
    path = tmp_path_factory.getbasetemp() / "tree.safetensors"
    state.save_tree(tree, path)
    assert same(state.load_tree(path), tree)


def test_shared_memory_is_stored_once_each(tmp_path):
    x = torch.arange(6.0).view(2, 3)
    state.save_tree({"a": x, "b": x.T, "c": x[:, 1]}, tmp_path / "t")
    read = state.load_tree(tmp_path / "t")
    assert torch.equal(read["b"], x.T)
    assert torch.equal(read["c"], x[:, 1])


def test_load_says_what_is_wrong(tmp_path):
    with pytest.raises(InputError, match="load: there is no file"):
        state.load(tmp_path / "none")
    (tmp_path / "text").write_text("not a state at all, but long enough to look like one")
    with pytest.raises(InputError, match="is not a safetensors file"):
        state.load(tmp_path / "text")
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "plain")
    with pytest.raises(InputError, match="holds tensors but no state"):
        state.load(tmp_path / "plain")


def test_load_names_an_unknown_state(tmp_path):
    class Nobody(NamedTuple):
        hidden: torch.Tensor

    state.save(Nobody(torch.zeros(1)), tmp_path / "s")
    with pytest.raises(InputError, match="unknown state Nobody; import the module"):
        state.load(tmp_path / "s")
    state.register(Nobody)
    assert isinstance(state.load(tmp_path / "s"), Nobody)


def test_register_refuses_a_second_class_of_that_name():
    class LSTMState(NamedTuple):
        other: torch.Tensor

    with pytest.raises(InputError, match="a state named LSTMState exists already"):
        state.register(LSTMState)


def test_a_crash_in_mid_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "s"
    state.save((torch.zeros(3),), path)

    def crash(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(OSError, match="disk full"):
        state.save((torch.ones(3),), path)
    assert torch.equal(state.load(path)[0], torch.zeros(3))
    assert [file.name for file in tmp_path.iterdir()] == ["s"]


def test_import_needs_torch_numpy_and_safetensors_only():
    code = """
import sys
before = set(sys.modules)
import throughtime
new = {name.split('.')[0] for name in set(sys.modules) - before}
heavy = {'polars', 'matplotlib', 'typer', 'rich', 'jinja2', 'pandas', 'statsmodels', 'hypothesis'}
print(sorted(new & heavy))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
