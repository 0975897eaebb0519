import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from throughtime.data.sources import (
    ArraySource,
    ConcatenatedSource,
    FileSource,
    SlicedSource,
    StepSource,
    cut_points,
    split_source,
)
from throughtime.data.streams import Streams
from throughtime.errors import InputError


@pytest.fixture
def ramp(tmp_path):
    """A file of a thousand rows [i, -i]."""
    path = tmp_path / "ramp.npy"
    np.save(path, np.stack([np.arange(1000), -np.arange(1000)], axis=1).astype(np.float32))
    return path


def read_in_child(source, start, queue):
    queue.put([source.read(start + i, start + i + 5)[:, 0].tolist() for i in range(200)])


class TestFileSource:
    def test_reads_a_stretch(self, ramp):
        source = FileSource(ramp)
        assert isinstance(source, StepSource)
        assert len(source) == 1000
        assert source.read(990, 993).tolist() == [[990, -990], [991, -991], [992, -992]]
        assert source.read(0, 1000).shape == (1000, 2)
        assert source.read(7, 7).shape == (0, 2)
        assert source.read(1000, 1000).shape == (0, 2)

    def test_gives_memory_of_its_own(self, ramp):
        source = FileSource(ramp)
        source.read(0, 5)[:] = 0
        assert source.read(3, 4).tolist() == [[3, -3]]

    @pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
    @pytest.mark.parametrize("dtype", ["<f8", ">f4", "uint8", "<i2", "bool"])
    def test_reads_what_numpy_writes(self, tmp_path, version, dtype):
        array = (np.arange(30) % 7).astype(dtype)
        with open(tmp_path / "a.npy", "wb") as file:
            np.lib.format.write_array(file, array, version)
        read = FileSource(tmp_path / "a.npy").read(4, 30)
        assert read.dtype == array.dtype
        assert np.array_equal(read, array[4:])

    def test_streams_a_file_of_other_byte_order(self, tmp_path):
        np.save(tmp_path / "a.npy", np.arange(5).astype(">i4"))
        batch = Streams(FileSource(tmp_path / "a.npy"), 1, begin=5).epoch(0)[0][0]
        assert batch.targets.tolist() == [[0, 1, 2, 3, 4]]

    def test_raw(self, tmp_path):
        path = tmp_path / "raw.bin"
        np.arange(12, dtype=np.uint16).tofile(path)
        assert FileSource(path, "uint16").read(10, 12).tolist() == [10, 11]
        assert FileSource(path, "uint16", [6, 2]).read(5, 6).tolist() == [[10, 11]]
        assert len(FileSource(path, "uint16", [5])) == 5

    def test_memory_is_that_of_the_window(self, tmp_path):
        path = tmp_path / "long.npy"
        np.save(path, np.zeros(4_000_000, dtype=np.float32))  # 16 MB
        [windows] = Streams(FileSource(path), 4, 100, shift=True).epoch(1)
        windows[0]
        tracemalloc.start()
        try:
            for index in range(0, len(windows), 50):
                windows[index]
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 100_000

    def test_resident_memory_stays_flat(self, tmp_path):
        # tracemalloc does not see mapped files; the process's resident memory does.
        path = tmp_path / "long.npy"
        np.save(path, np.zeros(16_000_000, dtype=np.float32))  # 64 MB
        script = f"""
import json, resource
from throughtime.data import FileSource, Streams
[windows] = Streams(FileSource({str(path)!r}), 8, 20_000).epoch(0)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
windows[0], windows[1]
before = peak()
steps = sum(windows[index].steps for index in range(len(windows)))
print(json.dumps([steps, peak() - before]))
"""
        answer = subprocess.run(
            [sys.executable, "-c", script], check=True, capture_output=True, text=True
        )
        steps, grown = json.loads(answer.stdout)
        assert steps == 16_000_000
        assert grown < 16  # MiB, of the file's 61

    @pytest.mark.skipif(
        "fork" not in multiprocessing.get_all_start_methods(), reason="there is no fork here"
    )
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_forked_workers_do_not_disturb_each_other(self, ramp):
        source = FileSource(ramp)
        source.read(0, 1)  # the handle is open before the fork
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        starts = (0, 300, 600)
        workers = [
            context.Process(target=read_in_child, args=(source, start, queue)) for start in starts
        ]
        for worker in workers:
            worker.start()
        found = [queue.get() for _ in workers]
        for worker in workers:
            worker.join()
        expected = [[list(range(start + i, start + i + 5)) for i in range(200)] for start in starts]
        assert sorted(found) == expected

    def test_reads_where_there_is_no_preadv(self, ramp, monkeypatch):
        monkeypatch.delattr("os.preadv", raising=False)
        assert FileSource(ramp).read(990, 991).tolist() == [[990, -990]]

    def test_closes_its_file(self, ramp):
        source = FileSource(ramp)
        source.read(0, 1)
        handle = source._handle
        assert handle is not None
        os.fstat(handle)
        del source
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(handle)

    def test_can_be_sent_to_another_process(self, ramp):
        source = FileSource(ramp)
        source.read(0, 1)
        other = pickle.loads(pickle.dumps(source))
        del source
        assert other.read(1, 2).tolist() == [[1, -1]]

    def test_refuses_what_is_not_there(self, tmp_path, ramp):
        with pytest.raises(InputError, match="there is no file"):
            FileSource(tmp_path / "none.npy")
        with pytest.raises(InputError, match="steps 999 to 1001 do not lie within 0 to 1000"):
            FileSource(ramp).read(999, 1001)

    def test_refuses_files_it_cannot_read(self, tmp_path):
        (tmp_path / "text.npy").write_text("no numbers, but enough of them")
        with pytest.raises(InputError, match="is not a"):
            FileSource(tmp_path / "text.npy")
        (tmp_path / "empty.npy").write_bytes(b"")
        with pytest.raises(InputError, match="is not a"):
            FileSource(tmp_path / "empty.npy")
        np.save(tmp_path / "cube.npy", np.zeros((2, 2, 2)))
        with pytest.raises(InputError, match=r"has shape \[2, 2, 2\], expected \[time\]"):
            FileSource(tmp_path / "cube.npy")
        np.save(tmp_path / "columns.npy", np.asfortranarray(np.zeros((3, 2))))
        with pytest.raises(InputError, match="column by column"):
            FileSource(tmp_path / "columns.npy")
        np.save(tmp_path / "objects.npy", np.array([{}, {}]), allow_pickle=True)
        with pytest.raises(InputError, match="Python objects"):
            FileSource(tmp_path / "objects.npy")

    def test_refuses_a_file_that_ends_early(self, tmp_path, ramp):
        source = FileSource(ramp)
        ramp.write_bytes(ramp.read_bytes()[:-100])
        with pytest.raises(InputError, match="ends early"):
            source.read(990, 1000)
        with pytest.raises(InputError, match="ends early"):
            FileSource(ramp)
        (tmp_path / "raw.bin").write_bytes(b"123")
        with pytest.raises(InputError, match="ends early, expected 4 bytes"):
            FileSource(tmp_path / "raw.bin", "uint8", [4])

    def test_refuses_a_form_that_is_missing_or_twice(self, tmp_path, ramp):
        (tmp_path / "raw.bin").write_bytes(b"123")
        with pytest.raises(InputError, match="its dtype is needed"):
            FileSource(tmp_path / "raw.bin")
        with pytest.raises(InputError, match="for raw files"):
            FileSource(ramp, "float32")


@settings(deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.data())
def test_concatenated_reads_as_one(lengths, data):
    ends = np.cumsum(lengths)
    arrays = [np.arange(end - length, end) for length, end in zip(lengths, ends, strict=True)]
    source = ConcatenatedSource([ArraySource(array) for array in arrays])
    start = data.draw(st.integers(0, len(source)))
    stop = data.draw(st.integers(start, len(source)))
    assert source.read(start, stop).tolist() == list(range(start, stop))
    assert source.starts.tolist() == [0, *ends[:-1].tolist()]


def test_concatenated_keeps_the_starts_inside():
    parts = [ArraySource(np.zeros(4), starts=[0, 3]), ArraySource(np.zeros(5), starts=[2])]
    assert ConcatenatedSource(parts).starts.tolist() == [0, 3, 4, 6]


def test_concatenated_refuses_other_features():
    source = ConcatenatedSource([ArraySource(np.zeros((2, 1))), ArraySource(np.zeros((2, 3)))])
    with pytest.raises(InputError, match=r"a step of source 1 has shape \[3\]"):
        source.read(1, 3)


@pytest.mark.parametrize("starts", [[0, 0], [3, 2], [0, 5], [-1]])
def test_refuses_starts(starts):
    with pytest.raises(InputError, match="starts are not ascending steps within 0 to 4"):
        ArraySource(np.zeros(5), starts)


def test_refuses_arrays_of_other_form():
    with pytest.raises(InputError, match=r"has shape \[\], expected \[time\]"):
        ArraySource(np.zeros(()))


@settings(deadline=None)
@given(st.integers(1, 200), st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_cut_points_divide_the_whole(length, weights):
    fractions = [weight / sum(weights) for weight in weights]
    assume(all(length * fraction >= 1 for fraction in fractions))
    cuts = cut_points("split", length, fractions)
    assert (cuts[0], cuts[-1]) == (0, length)
    for share, size in zip(fractions, np.diff(cuts), strict=True):
        assert size >= 1
        assert abs(size - share * length) <= 1


@pytest.mark.parametrize(("length", "parts"), [(0, 1), (1, 2), (2, 3), (8, 9)])
def test_refuses_empty_parts(length, parts):
    with pytest.raises(InputError, match="one would be empty"):
        cut_points("split", length, [1 / parts] * parts)


@pytest.mark.parametrize("fractions", [(), (0.5, 0.6), (1.1, -0.1), (0.5, 0.4)])
def test_refuses_fractions(fractions):
    with pytest.raises(InputError, match="positive numbers that sum to 1"):
        cut_points("split", 100, fractions)


def test_split_source():
    source = ArraySource(np.arange(10), starts=[0, 3, 8])
    train, test = split_source(source, (0.8, 0.2))
    assert train.read(0, 8).tolist() == list(range(8))
    assert test.read(0, 2).tolist() == [8, 9]
    assert train.starts.tolist() == [0, 3]
    assert test.starts.tolist() == [0]
    with pytest.raises(InputError, match="do not lie within"):
        train.read(7, 9)  # the test part is out of reach
    with pytest.raises(InputError, match="steps 5 to 11 do not lie within 0 to 10"):
        SlicedSource(source, 5, 11)
